"""The profiles: what every rule asks a machine or a cluster for, and which jobs run beside which."""

import json
import os
import re
import subprocess
import sys
from itertools import combinations

import pytest
import yaml

from tests.helpers.running import ROOT, copy_workflow, put_stand_ins, snakemake

TEXT = "\n\n\n".join(file.read_text() for file in sorted((ROOT / "rules").glob("*.smk")))
RULES = dict(re.findall(r"^rule (\w+):\n((?:(?:    .*)?\n)+)", TEXT, re.MULTILINE))
RULES |= {name: RULES[base] for base, name in re.findall(r"^use rule (\w+) as (\w+) with:", TEXT, re.MULTILINE)}
LOCAL = {name for name, text in RULES.items() if "    localrule: True\n" in text}
ALL_CORES = {name for name, text in RULES.items() if "    threads: ALL_CORES\n" in text}
ON_GPU = {name for name, text in RULES.items() if re.search(r"^        gpu=", text, re.MULTILINE)}
TIMED = {"time_arms", "time_other_draft", "load_grid", "served_load", "collect_matrix", "compare_adapters"}
SMALL = {  # rules for which the defaults of profiles/slurm are meant: an hour, 8 GB, one core, no GPU
    "fetch_questions",
    "fetch_more_questions",
    "compare_drafts",
    "score_other_draft",
    "estimate_traces",
    "audit_traces",
    "analyze_traces",
    "check_pair",
    "draw_loss",
    "score",
    "score_untrained",
    "acceptance_matrix",
    "split_domain",
    "train_routers",
    "score_routers",
    "view_cell",
}
# rules for which a config must name something: choices of layers, recipes of a draft, drafts of others
ASKED_FOR = {
    "prune_start",
    "merge_compared_target",
    "prune_compared_start",
    "train_recipe",
    "measure_recipe",
    "compare_drafts",
    "time_other_draft",
    "score_other_draft",
}
GPU_STEP = """
import json, os, sys, time
from pathlib import Path
from doubledraft.workflow.gpus import take_gpus
take_gpus(int(sys.argv[2]))
began = time.time()
time.sleep(0.3)
if sys.argv[1] == "train_target":  # waits for the other training, which may have to wait for its traces
    Path(f"training.{os.getpid()}").touch()
    while len(list(Path().glob("training.*"))) < 2 and time.time() < began + 120:
        time.sleep(0.1)
ran = {"rule": sys.argv[1], "gpus": os.environ["CUDA_VISIBLE_DEVICES"], "began": began, "ended": time.time()}
with open("ran.jsonl", "a") as file:
    file.write(json.dumps(ran) + "\\n")
"""


def profile(name: str) -> dict:
    """Return a profile as it is written."""
    return yaml.safe_load((ROOT / f"profiles/{name}/profile.yaml").read_text())


SLURM = profile("slurm")


EVERYTHING = (
    "all",
    "results/cod_hard/cross_check.json",
    "results/cod_hard/load_grid.json",
    "results/cod_hard/served_load.json",
    "results/routing/report.html",
    "results/routing/adapters.html",
)  # and those on demand
VLLM = "benchmark={engine: vllm, draft_vocabulary: null}"  # served_load and several GPUs need it


def planned(name: str, *arguments: str) -> dict[str, dict[str, str]]:
    """Return the resources of every rule in a dry run with a profile."""
    outcome = snakemake("-n", "--workflow-profile", f"profiles/{name}", *arguments, folder=ROOT)
    assert outcome.code == 0, outcome.text
    blocks = re.findall(r"^( *)(?:local)?rule (\w+):\n((?:\1 +.*\n)+)", outcome.text, re.MULTILINE)
    lines = {rule: re.search(r"resources: (.*)", block)[1] for _, rule, block in blocks}
    return {rule: dict(part.split("=", 1) for part in line.split(", ")) for rule, line in lines.items()}


# names


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "profiles").iterdir()))
def test_a_profile_speaks_of_rules_that_there_are(name):
    written = profile(name)
    for key in ("set-threads", "set-resources", "groups"):
        assert set(written.get(key, {})) <= set(RULES), f"profiles/{name}: {key} names a rule that is none"


def test_every_rule_has_its_request_to_slurm_or_is_meant_to_take_the_defaults():
    assert set(RULES) - LOCAL - set(SLURM["set-resources"]) == SMALL, "give the rule an entry, or name it above"


def test_every_rule_that_takes_a_whole_workstation_says_how_many_cores_of_a_node():
    assert set(SLURM["set-threads"]) == ALL_CORES, "without it a job asks SLURM for 1024 cores"


def test_the_timed_rules_take_a_whole_workstation():
    assert not TIMED & set(profile("gpu")["set-threads"])
    assert ALL_CORES >= TIMED


# dry runs


@pytest.mark.slow
@pytest.mark.parametrize("config", ["config.yaml", "qwen3.yaml", "qwen2.5.yaml"])
def test_slurm_gets_a_whole_request_for_every_rule_of_a_study(config, tmp_path):
    study = ("--config", VLLM, "--configfile", f"config/{config}", "--directory", str(tmp_path))
    resources = planned("slurm", *EVERYTHING, *study)
    assert set(resources) >= set(RULES) - {"estimate_traces", "prune_model"} - ASKED_FOR
    for rule in resources.keys() - LOCAL - {"all"}:
        asked = resources[rule]
        assert asked["slurm_partition"] == ("gpu" if rule in ON_GPU else "cpu"), rule
        assert ("gpu" in asked) == (rule in ON_GPU), rule
        assert int(asked["mem_mb"]) >= 8000 and int(asked["runtime"]) >= 60, rule
        assert (asked.get("slurm_extra") == "--exclusive") == (rule in TIMED), rule


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpu", "slurm"])
def test_a_model_over_several_gpus_asks_for_so_many_and_a_training_for_one(name, tmp_path):
    spread = ("--config", VLLM, "engine={tensor_parallel: 2}", "--directory", str(tmp_path))
    more = ("--resources", "gpu=2") if name == "gpu" else ()
    resources = planned(name, *EVERYTHING, *spread, *more)
    gpus = {rule: asked.get("gpu") for rule, asked in resources.items() if rule in ON_GPU}
    # peft, transformers and the native engine, which do not spread a model
    one = (
        "train_",
        "audit_draft",
        "cross_acceptance",
        "write_prompts",
        "answer_domain",
        "collect_matrix",
        "compare_adapters",
    )
    assert gpus == {rule: "1" if rule.startswith(one) else "2" for rule in ON_GPU - ASKED_FOR}


@pytest.mark.slow
def test_a_model_over_more_gpus_than_there_are_is_refused_before_any_job(tmp_path):
    spread = ("--config", VLLM, "engine={tensor_parallel: 2}", "--directory", str(tmp_path))
    outcome = snakemake("-n", "--workflow-profile", "profiles/gpu", *spread, folder=ROOT)
    assert outcome.code != 0 and not outcome.jobs
    assert "engine.tensor_parallel is 2" in outcome.text and "--resources gpu=" in outcome.text


# several GPUs


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> list[dict]:
    """Return what two cells ran, and when, on a made-up machine of two GPUs; jobs on a GPU only hold it for a while."""
    folder = copy_workflow(tmp_path_factory.mktemp("gpus"))
    put_stand_ins(folder)
    (folder / "gpu_step.py").write_text(GPU_STEP)
    for file in (folder / "rules").glob("*.smk"):
        step = r"\1        " + f"{sys.executable} gpu_step.py {{rule}} {{resources.gpu}}"
        stand_in = re.compile(r"(^        gpu=(?:.*\n)+?)        test ! -e {log}.fail", re.MULTILINE)
        file.write_text(stand_in.sub(step, file.read_text()))
    program = folder / "bin/nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nprintf '0, GPU-a\\n1, GPU-b\\n'\n")
    program.chmod(0o755)
    (folder / "tmp").mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    environment |= {"PATH": f"{program.parent}:{os.environ['PATH']}", "TMPDIR": str(folder / "tmp")}
    machine = ("--workflow-profile", "profiles/gpu", "--cores", "8", "--resources", "gpu=2")
    targets = ("results/cot_hard/metrics.json", "results/cod_hard/metrics.json")
    command = [sys.executable, "-m", "snakemake", *machine, "--", *targets]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-4000:]
    return [json.loads(line) for line in (folder / "ran.jsonl").read_text().splitlines()]


def overlapping(ran: list[dict]) -> list[tuple[dict, dict]]:
    """Return the pairs of jobs that ran at the same time."""
    return [(a, b) for a, b in combinations(ran, 2) if a["began"] < b["ended"] and b["began"] < a["ended"]]


@pytest.mark.slow
def test_independent_cells_use_several_gpus_at_once_and_each_job_its_own(ran):
    together = overlapping(ran)
    assert [{a["rule"], b["rule"]} for a, b in together].count({"train_target"}) == 1, (
        "the two trainings should run side by side"
    )
    assert all({a["gpus"], b["gpus"]} == {"0", "1"} for a, b in together)


@pytest.mark.slow
def test_nothing_runs_beside_a_timed_job(ran):
    assert [job["rule"] for job in ran if job["rule"] in TIMED] == ["time_arms", "time_arms"]
    assert not [pair for pair in overlapping(ran) if {job["rule"] for job in pair} & TIMED]
