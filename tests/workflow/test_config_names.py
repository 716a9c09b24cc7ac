"""Files of config/ by the names that SpecDecode's users know: each fits its schema, and runs at miniature scale."""

import json
from pathlib import Path

import pytest
import yaml

from doubledraft.evaluation import experiments
from doubledraft.inference import bandwidth
from doubledraft.workflow import config as study
from tests.helpers.commands import run
from tests.helpers.running import ROOT, snakemake
from tests.helpers.write_router import write_router

BENCHMARKS = ("benchmark", "benchmark_profile", "eval_full")
STUDIES = {  # and the target that the first lines of the file name
    "train_code": "results/domains/code/draft_adapter",
    "distill_code": "results/domains/code/draft_adapter",
    "router_collect": "results/routing/matrix.csv",
    "router_train": "results/routing/report.html",
}
PROGRAM = {"prompt": "def add(a, b):\n", "entry_point": "add", "test": "def check(f):\n    assert f(1, 2) == 3\n"}
ROWS = {"humaneval": PROGRAM, "gsm8k": {"question": "5 + 8 = ?", "answer": "13"}, "chat": {"prompt": "Hello."}}


@pytest.fixture(autouse=True)
def small_array(monkeypatch):
    monkeypatch.setattr(bandwidth, "ARRAY_BYTES", 2**20)


def miniature(name: str, folder: Path, target: Path, draft: Path) -> Path:
    """Write a benchmark file of config/ with tiny models and one question a data set; return its path."""
    config = yaml.safe_load((ROOT / f"config/{name}.yaml").read_text())
    config |= {"target": str(target), "drafts": dict.fromkeys(config["drafts"], str(draft)), "out": str(folder / "out")}
    config |= {"dtype": "float32", "device": "cpu", "repeats": 1}
    for key, entry in config["data"].items():
        row = ROWS.get(key) or ROWS["gsm8k" if key in ("math", "reasoning", "easy") else "chat"]
        (folder / f"{key}.jsonl").write_text(json.dumps(row) + "\n")
        entry |= {"file": str(folder / f"{key}.jsonl"), "max_tokens": 6}
        entry.pop("prompt_file", None)
    if "adaptive_routing" in config:
        config["adaptive_routing"] = str(write_router(folder / "router", list(config["drafts"])))
    if "profile" in config:
        config["profile"]["max_tokens"] = 6
    (folder / "file.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return folder / "file.yaml"


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_file_runs_all_its_experiments(name, tiny_model, tiny_draft, tmp_path, capsys):
    described = experiments.chosen(experiments.read_config(ROOT / f"config/{name}.yaml"))
    assert name != "benchmark" or described == list(experiments.EXPERIMENTS), "all five"
    path = miniature(name, tmp_path, tiny_model, tiny_draft)
    status, _, err = run(capsys, "benchmark", "--config", path)
    assert status == 0, err
    assert list(json.loads((tmp_path / "out/results.json").read_text())["experiments"]) == described


@pytest.mark.slow
def test_the_study_makes_all_that_the_benchmark_file_names(tmp_path):
    config = experiments.read_config(ROOT / "config/benchmark.yaml")
    named = [config["target"], *config["drafts"].values(), config["adaptive_routing"]]
    named += [entry["file"] for entry in config["data"].values()]
    result = snakemake("-s", str(ROOT / "Snakefile"), "--cores", "1", "-n", "--", *set(named), folder=tmp_path)
    assert result.code == 0, result.text[-3000:]
    counts = {entry["limit"] for entry in config["data"].values()}
    assert counts <= set(range(1, 25)), "the default study has 24 test prompts a domain"


def test_prompt_files_that_a_benchmark_file_names_are_there():
    for name in BENCHMARKS:
        data = experiments.read_config(ROOT / f"config/{name}.yaml")["data"].values()
        assert all((ROOT / entry["prompt_file"]).exists() for entry in data if entry["prompt_file"])


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_fits_the_schema_and_its_first_lines_name_its_target(name):
    base, own = (yaml.safe_load((ROOT / f"config/{file}.yaml").read_text()) for file in ("config", name))
    assert STUDIES[name] in (ROOT / f"config/{name}.yaml").read_text()
    study.check_config(_merged(base, own), ROOT / "config/schema.yaml", [ROOT / f"config/{name}.yaml"])


def _merged(base: dict, own: dict) -> dict:
    merged = dict(base)
    for key, value in own.items():
        within = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merged(base[key], value) if within else value
    return merged


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_snakemake_plans_the_target_of_a_study(name, tmp_path):
    files = ("-s", str(ROOT / "Snakefile"), "--configfile", str(ROOT / f"config/{name}.yaml"))
    result = snakemake(*files, "--cores", "1", "-n", "--", STUDIES[name], folder=tmp_path)
    assert result.code == 0 and "train_domain_draft" in result.text, result.text[-3000:]
