"""`doubledraft benchmark` on tiny models: every experiment is there, figures add up, a wrong file is refused by key."""

import csv
import json
import re
from pathlib import Path

import pytest
import yaml
from huggingface_hub import constants

from doubledraft.cli.main import main
from doubledraft.evaluation import experiments
from doubledraft.inference import bandwidth
from tests.helpers.commands import run, run_unread
from tests.helpers.write_router import write_router

DOMAINS = {"code": "HumanEval.jsonl", "chat": "chat.jsonl", "reasoning": "gsm8k.jsonl"}
ROOT = Path(__file__).parents[2]
ROWS = [
    {"question": "Nina has 4 boxes with 6 pencils each.", "answer": "4 * 6 = 24\n#### 24"},
    {"question": "5 + 8 = ?", "answer": "13"},
]
CODE = {
    "task_id": "HumanEval/0",
    "prompt": "def add(a, b):\n",
    "entry_point": "add",
    "test": "def check(candidate):\n    assert candidate(2, 3) == 5\n",
}
EXPECTED = ["baseline", "near, K = 3", "ngram, K = 3", "near, K = 1", "near, adaptive"]


def write(folder: Path, **changes: object) -> Path:
    """Write a file of experiments, with changes; a change to None leaves a key out."""
    (folder / "gsm8k.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    (folder / "HumanEval.jsonl").write_text(json.dumps(CODE) + "\n")
    (folder / "prompt.yaml").write_text("system: Solve.\nshots: []\n")
    config = {
        "target": "none",
        "drafts": {"near": "none"},
        "ngram": True,
        "draft_length": 3,
        "ablation_K": {"draft": "near", "lengths": [1, 3, "adaptive"]},
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


@pytest.mark.slow
def test_every_experiment_is_timed_on_every_data_set_and_written_three_ways(tiny_model, tiny_draft, tmp_path, capsys):
    path = write(tmp_path, target=str(tiny_model), drafts={"near": str(tiny_draft)})
    status, out, err = run(capsys, "benchmark", "--config", path)
    assert status == 0, err
    report = json.loads((tmp_path / "out" / "results.json").read_text())
    decodings = {file.suffix for file in (tmp_path / "out" / "decodings").iterdir()}
    assert decodings == {".jsonl", ".html"}, "token by token"
    assert list(report["data"]) == ["gsm8k", "code"]
    for rows, n in zip(report["data"].values(), (2, 1), strict=True):
        assert [row["arm"] for row in rows] == EXPECTED
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
    near = next(row for row in report["data"]["gsm8k"] if row["arm"] == "near, K = 3")
    own = [row for row in samples if (row["data"], row["arm"]) == ("gsm8k", "near, K = 3")]
    emitted, steps, drafted, accepted = (
        sum(int(row[key]) for row in own) for key in ("emitted", "steps", "drafted", "accepted")
    )
    assert 0 < accepted < drafted, "nothing was kept, or nothing refused"
    assert near["acceptance_rate"]["value"] == pytest.approx(accepted / drafted)
    assert near["tokens_per_step"]["value"] == pytest.approx(emitted / steps)
    assert (tmp_path / "out" / "table.txt").read_text() == out
    assert all(name in out for name in EXPECTED)


@pytest.fixture(scope="module")
def by_domain(tiny_model, tiny_draft, tmp_path_factory) -> Path:
    """Return the folder of a benchmark of specialised drafts over two domains and a chat, with a profile."""
    folder = tmp_path_factory.mktemp("domains")
    (folder / "chat.jsonl").write_text(json.dumps({"prompt": "Hello there."}) + "\n")
    data = {name: {"file": f"{folder}/{file}", "domain": name, "max_tokens": 8} for name, file in DOMAINS.items()}
    path = write(
        folder,
        target=str(tiny_model),
        drafts={"all": str(tiny_draft), "coder": str(tiny_draft), "talker": str(tiny_model)},
        specialized_drafts={"code": "coder", "chat": "talker", "reasoning": "all"},
        experiments=["specialized_drafts", "adaptive_routing"],
        adaptive_routing=str(write_router(folder / "router", ["all", "coder", "talker"])),
        profile={"max_tokens": 4},
        ablation_K=None,
        data=data,
        repeats=1,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bandwidth, "ARRAY_BYTES", 2**20)
        assert main(["benchmark", "--config", str(path)]) == 0
    return folder / "out"


@pytest.mark.slow
def test_each_specialised_draft_meets_each_domain_and_quality_is_what_the_domain_allows(by_domain):
    report = json.loads((by_domain / "results.json").read_text())
    assert report["experiments"] == {
        "baseline": ["baseline"],
        "specialized_drafts": ["coder, K = 3", "talker, K = 3", "all, K = 3"],
        "adaptive_routing": ["adaptive_routing, K = 3"],
    }
    routed = report["routed"]
    assert [sum(counts.values()) for counts in routed.values()] == [1, 1, 2] and list(routed) == list(DOMAINS)
    assert {draft for counts in routed.values() for draft in counts} <= {"all", "coder", "talker"}
    quality = {name: [row["quality"]["lenient"] for row in rows] for name, rows in report["data"].items()}
    assert quality["chat"] == [None] * 5 and "only speed" in report["judged"]["chat"]
    assert [share["value"] for share in quality["code"]] == [0] * 5, "a random model writes no program"
    assert "pass@1" in report["judged"]["code"] and all(share["n"] == 2 for share in quality["reasoning"])
    rows = [row for rows in report["data"].values() for row in rows]
    assert all(row["latency"]["p90"] is None and "p90 takes 64 values" in row["latency"]["reason"] for row in rows)
    assert set(report["profile"]["arms"]) == {"baseline", "coder, K = 3"}


@pytest.mark.slow
def test_the_page_has_every_experiment_and_loads_nothing(by_domain):
    page = (by_domain / "report.html").read_text()
    assert (
        "Specialised drafts" in page
        and "Adaptive routing" in page
        and "own domain" in page
        and "Draft length" not in page
    )
    assert page.count("<svg ") == 3 and "Where the time of a step goes" in page and "not judged" in page
    assert "://" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", page) and "<script" not in page
    assert {file.name for file in (by_domain / "charts").iterdir()} == {
        "speedup.svg",
        "tokens_per_step.svg",
        "acceptance.svg",
    }


def test_a_draft_that_the_router_chooses_and_the_config_lacks_is_named(tiny_model, tiny_draft, tmp_path, capsys):
    router = write_router(tmp_path / "router", ["near", "far"])
    path = write(tmp_path, target=str(tiny_model), drafts={"near": str(tiny_draft)}, adaptive_routing=str(router))
    status, _, err = run(capsys, "benchmark", "--config", path)
    assert status == 2 and "config key drafts.far is missing: the router of " in err and "near, far" in err


@pytest.mark.slow
def test_only_the_experiments_that_are_asked_for_are_run(tiny_model, tiny_draft, tmp_path, capsys):
    path = write(tmp_path, target=str(tiny_model), drafts={"near": str(tiny_draft)}, repeats=1)
    status, out, err = run(capsys, "benchmark", "--config", path, "--experiments", "baseline,ablation_K")
    assert status == 0, err
    report = json.loads((tmp_path / "out" / "results.json").read_text())
    assert list(report["experiments"]) == ["baseline", "ablation_K"]
    assert "ngram" not in out and (tmp_path / "out" / "charts" / "draft_length.svg").exists()
    status, _, err = run(capsys, "benchmark", "--config", path, "--experiments", "all")
    assert status == 2 and "experiment 'all' is unknown: expected baseline, generic_draft" in err


@pytest.mark.slow
def test_a_pipe_that_nobody_reads_loses_no_measurement(tiny_model, tmp_path):
    data = {"code": {"file": f"{tmp_path}/HumanEval.jsonl", "max_tokens": 8}}
    path = write(tmp_path, target=str(tiny_model), drafts=None, ablation_K=None, data=data, repeats=1)
    assert run_unread("benchmark", "--config", path) == 0
    made = {"results.json", "samples.csv", "table.txt", "report.html", "charts", "decodings"}
    assert {file.name for file in (tmp_path / "out").iterdir()} == made


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": None}, "config key target is missing"),
        ({"repeat": 3}, "config key repeat is unknown: did you mean repeats?"),
        (
            {"experiments": ["routing"]},
            "config key experiments.0 is 'routing': expected one of baseline or generic_draft",
        ),
        ({"experiments": ["specialized_drafts"]}, "experiment specialized_drafts needs config key specialized_drafts"),
        ({"specialized_drafts": {"code": "far"}}, "config key specialized_drafts.code is 'far': expected one of near"),
        (
            {"specialized_drafts": {"code": "near"}, "data": {"a": {"file": "x", "domain": "chat"}}},
            "config key data.a.domain is 'chat': expected one of code",
        ),
        ({"draft_length": 17}, "config key draft_length is 17: expected one of adaptive or 1 or"),
        ({"draft_length": True}, "config key draft_length is True"),
        (
            {"ablation_K": {"draft": "far", "lengths": [1]}},
            "config key ablation_K.draft is 'far': expected one of near, ngram",
        ),
        ({"data": {"a": {"file": "x", "limit": 0}}}, "config key data.a.limit is 0: expected at least 1"),
        ({"seed": -1}, "config key seed is -1: expected at least 0"),
        ({"draft_length": "adaptive"}, "config key draft_length is 'adaptive' beside `ngram: true`"),
        (
            {"ablation_K": {"draft": "ngram", "lengths": [2, "adaptive"]}},
            "config key ablation_K.lengths has 'adaptive' for ngram",
        ),
        (
            {"data": {"a": {"file": "x", "few_shot": True}}},
            "config key data.a.few_shot is true: prompt_file",
        ),
        ({"drafts": None, "ngram": None, "ablation_K": None}, "config key drafts is missing: expected a draft"),
        ({"drafts": {"ngram": "x"}, "ablation_K": None}, "config key drafts.ngram is not allowed"),
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
        ("a: 1\na: 2", ":2: key 'a' occurs twice"),
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
    assert status == 2 and "HumanEval.jsonl: the prompt of question 'HumanEval/0' has " in err
    assert "has 1024 positions" in err


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_measured(tiny_model, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    path = write(tmp_path, target=str(tiny_model), out=f"{tmp_path}/file")
    status, out, err = run(capsys, "benchmark", "--config", path)
    assert status == 2 and out == "" and f"config key out {tmp_path}/file: no file can be written there" in err


def test_the_shipped_file_can_be_read_and_names_what_the_default_study_makes():
    config = experiments.read_config(ROOT / "benchmarks" / "default_study.yaml")
    assert all((ROOT / entry["prompt_file"]).exists() for entry in config["data"].values())
    assert config["target"].endswith("_merged")
