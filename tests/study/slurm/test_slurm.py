"""`profiles/slurm` on a real SLURM of two nodes; needs root and the packages that cluster.sh names.  make test-slurm

Two studies go through the profile. A cell of the default study with stand-ins for its steps (tests/helpers/running.py)
meets what happens on clusters: one job is cancelled, one loses its node. The miniature study is real, questions to a
trained adapter on a tiny random model, and is held against a run on this machine alone.
"""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers import miniature
from tests.helpers.faults import PATIENCE, differences
from tests.helpers.running import ROOT, copy_workflow, put_stand_ins
from tests.helpers.tiny_models import build_model

pytestmark = pytest.mark.slurm
PROFILE = (  # SLURM has no accounting here, and need not be asked so rarely
    *("--workflow-profile", str(ROOT / "profiles/slurm"), "--slurm-status-command", "squeue"),
    *("--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5"),
)
CELL = ("results/cod_hard/metrics.json", "results/report/report.html")
MINIATURE = (
    *("data/cot/apples/audit.json", "data/cod/apples/audit.json", "results/analysis/analysis.md"),
    *("results/pair.json", "results/cod_apples/target_adapter"),
)


def submit(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen:
    """Start Snakemake on the login node, in a folder, with all it prints in `snakemake.log` there."""
    command = [sys.executable, "-m", "snakemake", *arguments]
    with open(folder / "snakemake.log", "w") as log:
        return subprocess.Popen(command, cwd=folder, env=os.environ | environment, stdout=log, stderr=subprocess.STDOUT)


def finish(process: subprocess.Popen, folder: Path) -> str:
    """Wait for a run to end well; give what it printed."""
    code = process.wait(timeout=PATIENCE)
    text = (folder / "snakemake.log").read_text()
    assert code == 0, text[-6000:]
    return text


def scontrol(*arguments: str) -> str:
    """Ask or tell the controller something."""
    return subprocess.run(["scontrol", *arguments], check=True, capture_output=True, text=True).stdout


def jobs(folder: Path) -> list[dict[str, str]]:
    """Return all that SLURM knows of the jobs of a folder, oldest first."""
    lines = scontrol("show", "job", "--oneliner").splitlines()
    known = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in lines]
    mine = [job for job in known if job.get("WorkDir") == str(folder)]
    return sorted(mine, key=lambda job: int(job["JobId"]))


def rule(job: dict[str, str]) -> str:
    """Return the rule that a job was submitted for."""
    return re.match(r"rule_(.+?)(?:_wildcards_|$)", job["Comment"])[1]


@dataclass(frozen=True)
class Login:
    """A run of Snakemake on the login node, and its folder."""

    process: subprocess.Popen
    folder: Path

    def running(self, name: str, *, other_than: dict[str, str], key: str) -> dict[str, str]:
        """Wait until a rule's job runs that has another value of a key than an earlier one, and give it.

        A controller that is too busy to answer is asked again.
        """
        ends = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < ends:
            with suppress(subprocess.CalledProcessError):
                for job in jobs(self.folder):
                    if rule(job) == name and job["JobState"] == "RUNNING" and job[key] != other_than.get(key):
                        return job
            time.sleep(0.3)
        said = (self.folder / "snakemake.log").read_text()[-3000:]
        known = scontrol("show", "job", "--oneliner")
        raise AssertionError(f"no job of {name} ran with another {key} than {other_than.get(key)}:\n{known}\n{said}")


def megabytes(job: dict[str, str]) -> float:
    """Return the memory that a job asked for."""
    number, unit = re.fullmatch(r"([\d.]+)([MG])", job["MinMemoryNode"]).groups()
    return float(number) * {"M": 1, "G": 1024}[unit]


# what happens on clusters


@pytest.fixture(scope="module")
def cell(tmp_path_factory) -> Path:
    """Return the folder of a cell whose first training was cancelled and whose distillation lost its node."""
    folder = copy_workflow(tmp_path_factory.mktemp("cell"))
    put_stand_ins(folder)
    step = "echo gpu ${{CUDA_VISIBLE_DEVICES-}} > {log}; while test -e hold.{rule}; do sleep 0.2; done"
    for file in (folder / "rules").glob("*.smk"):  # a step says its GPU, and lasts while its file is there
        file.write_text(file.read_text().replace("test ! -e {log}.fail", step))
    for name in ("train_target", "distill"):
        (folder / f"hold.{name}").touch()
    login = Login(submit(folder, *PROFILE, *CELL), folder)
    cancelled = login.running("train_target", other_than={}, key="JobId")
    subprocess.run(["scancel", cancelled["JobId"]], check=True)
    login.running("train_target", other_than=cancelled, key="JobId")
    (folder / "hold.train_target").unlink()
    lost = login.running("distill", other_than={}, key="JobId")
    scontrol("update", f"NodeName={lost['NodeList']}", "State=DOWN", "Reason=test")
    login.running("distill", other_than=lost, key="NodeList")
    (folder / "hold.distill").unlink()
    scontrol("update", f"NodeName={lost['NodeList']}", "State=RESUME")
    finish(login.process, folder)
    return folder


def test_every_step_but_those_of_the_login_node_ran_under_slurm(cell):
    completed = Counter(rule(job) for job in jobs(cell) if job["JobState"] == "COMPLETED")
    once = ("fetch_questions", "fetch_model", "prune_model", "write_cot", "summarize_cod", "check_pair", "train_target")
    after = ("distill", "train_draft", "merge_draft", "time_arms", "score")
    assert completed == Counter([*once, *after, "merge_target", "merge_target"])
    assert (cell / "results/report/report.html").exists() and (cell / "results/study.json").exists()


def test_both_nodes_had_work(cell):
    assert {job["NodeList"] for job in jobs(cell)} == {"n1", "n2"}


def test_steps_with_a_model_asked_for_the_gpu_partition_and_saw_the_gpu_they_got(cell):
    for job in jobs(cell):
        on_gpu = rule(job) in {"train_target", "train_draft", "distill", "time_arms"}
        assert job["Partition"] == ("gpu" if on_gpu else "cpu"), job
        assert (job.get("TresPerJob") == "gres:gpu:1") == on_gpu, job
    logs = {path.stem: path.read_text() for path in (cell / "results/cod_hard/logs").glob("*.log")}
    assert {name for name, text in logs.items() if text == "gpu 0\n"} == {
        *("train_target", "train_draft", "distill"),
        "time_arms",
    }


def test_what_is_timed_had_a_node_for_itself(cell):
    alone = [job for job in jobs(cell) if job["OverSubscribe"] == "NO"]
    assert [rule(job) for job in alone] == ["time_arms"]
    assert {"baseline.jsonl", "speculative.jsonl"} <= {path.name for path in (cell / "results/cod_hard").iterdir()}


def test_a_cancelled_job_was_submitted_again_with_more_memory(cell):
    first, second = (job for job in jobs(cell) if rule(job) == "train_target")
    assert [first["JobState"], second["JobState"]] == ["CANCELLED", "COMPLETED"]
    assert [megabytes(first), megabytes(second)] == [64000, 128000]


def test_a_job_that_lost_its_node_ran_again_on_the_other(cell):
    (job,) = (job for job in jobs(cell) if rule(job) == "distill")
    assert [job["JobState"], job["Restarts"]] == ["COMPLETED", "1"]


def test_a_second_run_has_nothing_to_do_and_the_report_needs_no_job(cell):
    before = len(jobs(cell))
    assert "Nothing to be done" in finish(submit(cell, *PROFILE, *CELL), cell)
    finish(submit(cell, *PROFILE, "--forcerun", "report", "--", "results/report/report.html"), cell)
    assert len(jobs(cell)) == before


# the same artifacts


@dataclass(frozen=True)
class Miniature:
    """The miniature study, made by SLURM and made here, and how to make it again."""

    options: tuple[str, ...]
    path: str
    by_slurm: Path
    here: Path

    def make(self, folder: Path, *machine: str) -> str:
        """Make the study in a folder; give what Snakemake printed."""
        return finish(submit(folder, *machine, *self.options, PATH=self.path), folder)


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Miniature:
    """Return the miniature study, after both runs."""
    inputs, bin, *folders = map(tmp_path_factory.mktemp, ("inputs", "bin", "slurm", "here"))
    smi = bin / "nvidia-smi"  # lists the GPU of slurm.conf, as a driver would; torch finds none and trains without
    smi.write_text("#!/bin/sh\necho 0, GPU-made-up\n")
    smi.chmod(0o755)
    config = miniature.build(inputs)
    build_model(inputs / "model")
    options = ("--snakefile", str(ROOT / "Snakefile"), "--configfile", str(config), "--", *MINIATURE)
    study = Miniature(options, f"{bin}:{os.environ['PATH']}", *folders)
    study.make(study.by_slurm, *PROFILE)
    study.make(study.here, "--cores", "2")
    return study


def test_slurm_makes_the_artifacts_of_a_local_run_the_weights_too(study):
    assert (study.by_slurm / "results/cod_apples/target_adapter/adapter_model.safetensors").exists()
    assert differences(study.by_slurm, study.here) == []


def test_the_training_worked_on_the_gpu_that_slurm_gave_it(study):
    assert "on GPU 0 of 0" in (study.by_slurm / "results/cod_apples/logs/train_target.log").read_text()


def test_every_step_of_the_miniature_was_a_slurm_job_and_a_second_run_has_none(study):
    models = ("fetch_model", "prune_model", "check_pair", "train_target")
    traces = ("fetch_questions", "write_cot", "summarize_cod", "audit_traces", "audit_traces", "analyze_traces")
    assert Counter(map(rule, jobs(study.by_slurm))) == Counter([*models, *traces])
    assert {job["JobState"] for job in jobs(study.by_slurm)} == {"COMPLETED"}
    assert "Nothing to be done" in study.make(study.by_slurm, *PROFILE)
    assert len(jobs(study.by_slurm)) == len([*models, *traces])
