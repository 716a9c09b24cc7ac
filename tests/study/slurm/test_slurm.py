"""`profiles/slurm` on a real SLURM of two nodes; needs root and the packages that cluster.sh names.  make test-slurm

The miniature study goes through the profile with all its real steps, from questions to metrics and report. On the way
one job is cancelled when it has a checkpoint, and one loses its node. What comes out is held against a run on this
machine alone.
"""

import csv
import json
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
from tests.helpers.faults import HOOK, PATIENCE, VOLATILE, differences
from tests.helpers.running import ROOT

pytestmark = pytest.mark.slurm
PROFILE = (  # SLURM has no accounting here, and need not be asked so rarely
    *("--workflow-profile", str(ROOT / "profiles/slurm"), "--slurm-status-command", "squeue"),
    *("--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "5"),
)
CELL = f"results/{miniature.CELL}"
REPORT = "results/report/report.html"
TARGETS = (f"{CELL}/metrics.json", "data/cod/apples/audit.json", REPORT)
ON_GPU = {"train_target", "distill", "train_draft", "time_arms", "audit_draft"}
JOBS = Counter(  # of each rule; what the login node does itself is not among them
    [*ON_GPU, "fetch_questions", "fetch_more_questions", "fetch_model", "prune_model", "check_pair"]
    + ["write_cot", "summarize_cod", "audit_traces", "merge_draft", "score", *["merge_target"] * 3]
)
FROM_TIMES = {  # keys of metrics.json whose values follow from times
    *("speedup", "timing", "bandwidth", "cost", "time_per_token", "tokens_per_second"),
    *("bound_tokens_per_second", "share_of_bound"),
}


@dataclass(frozen=True)
class Login:
    """A run of Snakemake on the login node, in a folder, with all it prints in `snakemake.log` there."""

    process: subprocess.Popen
    folder: Path

    @classmethod
    def submit(cls, folder: Path, *arguments: str, **environment: str) -> "Login":
        """Start a run."""
        command = [sys.executable, "-m", "snakemake", *arguments]
        given = os.environ | environment
        with open(folder / "snakemake.log", "w") as log:
            return cls(subprocess.Popen(command, cwd=folder, env=given, stdout=log, stderr=subprocess.STDOUT), folder)

    @property
    def said(self) -> str:
        """What the run has printed."""
        return (self.folder / "snakemake.log").read_text()

    def finish(self) -> str:
        """Wait for the run to end well; return what it printed."""
        assert self.process.wait(timeout=PATIENCE) == 0, self.said[-6000:]
        return self.said

    def wait_for(self, what: str, found):
        """Return the first true result of `found`, which is called again and again while the run goes on."""
        ends = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < ends:
            with suppress(subprocess.CalledProcessError):  # a controller that is too busy is asked again
                if result := found():
                    return result
            time.sleep(0.3)
        raise AssertionError(f"{what} never came:\n{scontrol('show', 'job', '--oneliner')}\n{self.said[-3000:]}")

    def running(self, name: str, *, other_than: dict[str, str], key: str) -> dict[str, str]:
        """Wait until a rule's job runs that has another value of a key than an earlier one, and return it."""

        def found() -> dict[str, str] | None:
            running = (job for job in jobs(self.folder) if rule(job) == name and job["JobState"] == "RUNNING")
            return next((job for job in running if job[key] != other_than.get(key)), None)

        return self.wait_for(f"a job of {name} with another {key} than {other_than.get(key)}", found)


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


def megabytes(job: dict[str, str]) -> float:
    """Return the memory that a job asked for."""
    number, unit = re.fullmatch(r"([\d.]+)([MG])", job["MinMemoryNode"]).groups()
    return float(number) * {"M": 1, "G": 1024}[unit]


@dataclass(frozen=True)
class Study:
    """The miniature study, made by SLURM and made here, and how to ask for it again."""

    options: tuple[str, ...]
    path: str
    by_slurm: Path
    here: Path

    def submit(self, folder: Path, *machine: str, **environment: str) -> Login:
        """Start to make the study in a folder."""
        return Login.submit(folder, *machine, *self.options, PATH=self.path, **environment)


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    """Return the study after both runs; SLURM's had a training cancelled, and lost the node that distilled."""
    inputs, bin, *folders = map(tmp_path_factory.mktemp, ("inputs", "bin", "slurm", "here"))
    smi = bin / "nvidia-smi"  # lists the GPU of slurm.conf, as a driver would; torch finds none and works without
    smi.write_text("#!/bin/sh\necho 0, GPU-made-up\n")
    smi.chmod(0o755)
    config = miniature.build(inputs)
    miniature.build_taught_model(inputs / "model")
    options = ("--snakefile", str(ROOT / "Snakefile"), "--configfile", str(config), "--", *TARGETS)
    study = Study(options, f"{bin}:{os.environ['PATH']}", *folders)
    login = study.submit(study.by_slurm, *PROFILE, **_hold_at_checkpoint(study.by_slurm))
    _cancel_a_training(login)
    _lose_a_node(login)
    login.finish()
    study.submit(study.here, "--cores", "1").finish()
    return study


def _hold_at_checkpoint(folder: Path) -> dict[str, str]:
    """Return the environment in which a target's training waits when its second checkpoint is complete."""
    seal = folder / CELL / "checkpoints/target/*/checkpoint-2/sealed.json"
    path = os.pathsep.join(filter(None, [str(HOOK), os.environ.get("PYTHONPATH")]))
    return {"PYTHONPATH": path, "FAULT": f"done {seal}", "FAULT_SIGN": str(folder / "held")}


def _cancel_a_training(login: Login) -> None:
    login.wait_for("a checkpoint", (login.folder / "held").exists)
    cancelled = login.running("train_target", other_than={}, key="JobId")
    subprocess.run(["scancel", cancelled["JobId"]], check=True)
    login.running("train_target", other_than=cancelled, key="JobId")


def _lose_a_node(login: Login) -> None:
    lost = login.running("distill", other_than={}, key="JobId")
    scontrol("update", f"NodeName={lost['NodeList']}", "State=DOWN", "Reason=test")
    login.running("distill", other_than=lost, key="NodeList")
    scontrol("update", f"NodeName={lost['NodeList']}", "State=RESUME")


def test_every_step_but_those_of_the_login_node_ran_under_slurm(study):
    completed = Counter(rule(job) for job in jobs(study.by_slurm) if job["JobState"] == "COMPLETED")
    assert completed == JOBS
    assert (study.by_slurm / REPORT).exists() and (study.by_slurm / "results/study.json").exists()


def test_both_nodes_had_work(study):
    assert {job["NodeList"] for job in jobs(study.by_slurm)} == {"n1", "n2"}


def test_steps_with_a_model_asked_for_the_gpu_partition_and_worked_on_the_gpu_they_got(study):
    for job in jobs(study.by_slurm):
        on_gpu = rule(job) in ON_GPU
        assert job["Partition"] == ("gpu" if on_gpu else "cpu"), job
        assert (job.get("TresPerJob") == "gres:gpu:1") == on_gpu, job
    logs = {path.stem: path.read_text() for path in (study.by_slurm / CELL / "logs").glob("*.log")}
    assert {name for name, text in logs.items() if "on GPU 0 of 0" in text} == ON_GPU


def test_what_is_timed_had_a_node_for_itself(study):
    alone = [job for job in jobs(study.by_slurm) if job["OverSubscribe"] == "NO"]
    assert [rule(job) for job in alone] == ["time_arms"]
    timing = json.loads((study.by_slurm / CELL / "timing.json").read_text())
    arms = {turn["arm"] for attempt in timing["attempts"] for turn in attempt["turns"]}
    assert arms == {"baseline", "speculative", "control"}, "in turns, in one job"


def test_a_cancelled_training_was_submitted_again_with_more_memory_and_continued(study):
    first, second = (job for job in jobs(study.by_slurm) if rule(job) == "train_target")
    assert [first["JobState"], second["JobState"]] == ["CANCELLED", "COMPLETED"]
    assert [megabytes(first), megabytes(second)] == [64000, 128000]
    log = (study.by_slurm / CELL / "logs/train_target.log").read_text()
    assert re.search(r"continuing from \S+/checkpoint-2\n", log)


def test_a_job_that_lost_its_node_ran_again_on_the_other(study):
    (job,) = (job for job in jobs(study.by_slurm) if rule(job) == "distill")
    assert [job["JobState"], job["Restarts"]] == ["COMPLETED", "1"]


def test_slurm_makes_what_a_local_run_makes_but_for_times(study):
    differ = differences(study.by_slurm, study.here, VOLATILE | FROM_TIMES)
    pages = {f"{CELL}/comparison.txt", f"{CELL}/samples.csv"}
    assert {path for path in differ if not path.startswith("results/report/")} <= pages
    assert samples(study.by_slurm) == samples(study.here)


def samples(folder: Path) -> list[dict[str, str]]:
    """Return the answers to every question, without their times."""
    with open(folder / CELL / "samples.csv", newline="") as file:
        return [{key: row[key] for key in row if not key.endswith("_latency")} for row in csv.DictReader(file)]


def test_a_second_run_has_nothing_to_do_and_the_report_needs_no_job(study):
    before = len(jobs(study.by_slurm))
    assert "Nothing to be done" in study.submit(study.by_slurm, *PROFILE).finish()
    study.submit(study.by_slurm, *PROFILE, "--forcerun", "report").finish()
    assert len(jobs(study.by_slurm)) == before
