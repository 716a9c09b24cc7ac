"""`doubledraft benchmark` on tiny models: every experiment is there, figures add up, a wrong file is refused by key."""

import csv
import json
from pathlib import Path

import pytest
import yaml
from huggingface_hub import constants

from doubledraft.evaluation import experiments
from tests.helpers.commands import run, run_unread

ROOT = Path(__file__).parents[2]
ROWS = [
    {"question": "Nina has 4 boxes with 6 pencils each.", "answer": "4 * 6 = 24\n#### 24"},
    {"question": "5 + 8 = ?"},
]
EXPECTED = ["baseline", "near, K = 3", "near, K = 1", "near, adaptive", "ngram, K = 3"]


def write(folder: Path, **changes: object) -> Path:
    """Write a file of experiments, with changes; a change to None leaves a key out."""
    (folder / "gsm8k.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    (folder / "HumanEval.jsonl").write_text(json.dumps({"task_id": "HumanEval/0", "prompt": "def add(a, b):\n"}) + "\n")
    (folder / "prompt.yaml").write_text("system: Solve.\nshots: []\n")
    config = {
        "target": "none",
        "drafts": {"near": "none"},
        "ngram": True,
        "draft_length": 3,
        "ablation": {"draft": "near", "lengths": [1, 3, "adaptive"]},
        "data": {
            "gsm8k": {"file": f"{folder}/gsm8k.jsonl", "prompt_file": f"{folder}/prompt.yaml", "max_tokens": 24},
            "code": {"file": f"{folder}/HumanEval.jsonl", "max_tokens": 12},
        },
        "repeats": 2,
        "dtype": "float32",
        "device": "cpu",
        "out": f"{folder}/out",
    }
    path = folder / "experiments.yaml"
    said = {key: value for key, value in (config | changes).items() if value is not None}
    path.write_text(yaml.safe_dump(said, sort_keys=False))
    return path


def test_every_experiment_is_timed_on_every_data_set_and_written_three_ways(tiny_model, tiny_draft, tmp_path, capsys):
    path = write(tmp_path, target=str(tiny_model), drafts={"near": str(tiny_draft)})
    status, out, err = run(capsys, "benchmark", "--config", path)
    assert status == 0, err
    report = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(report["data"]) == ["gsm8k", "code"]
    for rows, n in zip(report["data"].values(), (2, 1), strict=True):
        assert [row["experiment"] for row in rows] == EXPECTED
        baseline, near, *_ = rows
        assert all(row["n"] == n and row["repeats"] == 2 for row in rows)
        assert all(row["identical_rate"]["value"] == 1 for row in rows), "float32 is exact"
        assert baseline["speedup"]["value"] == 1 and baseline["acceptance_rate"] is None
        assert near["tokens_per_step"]["value"] >= 1
        assert near["acceptance_rate"]["value"] <= near["order_independent_agreement"]["value"]
        assert near["speedup_of_repeats"]["min"] <= near["speedup"]["value"] <= near["speedup_of_repeats"]["max"]
    with open(tmp_path / "out" / "samples.csv") as file:
        samples = list(csv.DictReader(file))
    assert len(samples) == 2 * len(EXPECTED) * 3
    near = next(row for row in report["data"]["gsm8k"] if row["experiment"] == "near, K = 3")
    own = [row for row in samples if (row["data"], row["experiment"]) == ("gsm8k", "near, K = 3")]
    emitted, steps, drafted, accepted = (
        sum(int(row[key]) for row in own) for key in ("emitted", "steps", "drafted", "accepted")
    )
    assert 0 < accepted < drafted, "nothing was kept, or nothing refused"
    assert near["acceptance_rate"]["value"] == pytest.approx(accepted / drafted)
    assert near["tokens_per_step"]["value"] == pytest.approx(emitted / steps)
    assert (tmp_path / "out" / "table.txt").read_text() == out
    assert all(name in out for name in EXPECTED)


def test_a_pipe_that_nobody_reads_loses_no_measurement(tiny_model, tmp_path):
    data = {"code": {"file": f"{tmp_path}/HumanEval.jsonl", "max_tokens": 8}}
    path = write(tmp_path, target=str(tiny_model), drafts=None, ablation=None, data=data, repeats=1)
    assert run_unread("benchmark", "--config", path) == 0
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"results.json", "samples.csv", "table.txt"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": None}, "config key target is missing"),
        ({"repeat": 3}, "config key repeat is unknown: did you mean repeats?"),
        ({"draft_length": 17}, "config key draft_length is 17: expected one of adaptive or 1 or"),
        ({"draft_length": True}, "config key draft_length is True"),
        (
            {"ablation": {"draft": "far", "lengths": [1]}},
            "config key ablation.draft is 'far': expected one of near, ngram",
        ),
        ({"data": {"a": {"file": "x", "limit": 0}}}, "config key data.a.limit is 0: expected at least 1"),
        ({"seed": -1}, "config key seed is -1: expected at least 0"),
        ({"draft_length": "adaptive"}, "config key draft_length is 'adaptive' beside `ngram: true`"),
        (
            {"ablation": {"draft": "ngram", "lengths": [2, "adaptive"]}},
            "config key ablation.lengths has 'adaptive' for ngram",
        ),
        (
            {"data": {"a": {"file": "x", "few_shot": True}}},
            "config key data.a.few_shot is true without prompt_file",
        ),
        ({"drafts": None, "ngram": None, "ablation": None}, "config key drafts is missing: expected a draft"),
        ({"drafts": {"ngram": "x"}, "ablation": None}, "config key drafts.ngram cannot be"),
        ({"data": {"a": {"file": "/nowhere.jsonl"}}}, "/nowhere.jsonl: cannot be read"),
        ({}, "none: no such folder"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused_by_its_key(changes, message, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    status, out, err = run(capsys, "benchmark", "--config", write(tmp_path, **changes))
    assert status == 2 and out == "" and message in err and "Traceback" not in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", ": not YAML of plain values"),
        ("a: 1\na: 2", ":2: key 'a' stands twice"),
        ("just text", "expected keys and values"),
    ],
)
def test_a_file_that_is_no_config_is_refused_by_its_name(text, message, tmp_path, capsys):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    status, _, err = run(capsys, "benchmark", "--config", path)
    assert status == 2 and f"{path}" in err and message in err
    status, _, err = run(capsys, "benchmark", "--config", tmp_path / "none.yaml")
    assert status == 2 and "none.yaml: cannot be read" in err


def test_a_prompt_that_does_not_fit_is_refused_before_anything_is_measured(tiny_model, tmp_path, capsys):
    long = {"code": {"file": f"{tmp_path}/HumanEval.jsonl", "max_tokens": 5000}}
    status, _, err = run(capsys, "benchmark", "--config", write(tmp_path, target=str(tiny_model), data=long))
    assert status == 2 and "has 1024 positions" in err


def test_the_shipped_file_can_be_read_and_names_what_the_default_study_makes():
    config = experiments.read_config(ROOT / "benchmarks" / "default_study.yaml")
    assert all((ROOT / entry["prompt_file"]).exists() for entry in config["data"].values())
    assert config["target"].endswith("_merged")
