"""`doubledraft evaluate` on tiny models: grades and counters are right, and rows without gold are refused."""

import csv
import json
from pathlib import Path

import pytest
import yaml
from transformers import AutoTokenizer

from doubledraft.engine.decode import decode
from doubledraft.engine.load import create_backend
from doubledraft.grading.extract import extract_lenient
from doubledraft.inference import bandwidth
from doubledraft.inference.tokenizing import prompt_ids, stop_ids
from tests.helpers.commands import run, run_unread

QUESTIONS = ["Nina has 4 boxes with 6 pencils each.", "5 + 8 = ?", "How many pencils are left?", "9 - 7 = ?"]
TOKENS = 40


@pytest.fixture(autouse=True)
def small_array(monkeypatch):
    monkeypatch.setattr(bandwidth, "ARRAY_BYTES", 2**20)


@pytest.fixture(scope="module")
def said(tiny_model) -> list[str | None]:
    """Return what the target answers: a lenient answer to each question, where it has one."""
    target, tokenizer = create_backend(tiny_model, "float32", "cpu"), AutoTokenizer.from_pretrained(tiny_model)
    stop = stop_ids(tiny_model, tokenizer)
    asked = [prompt_ids(tokenizer, [{"role": "user", "content": question}]) for question in QUESTIONS]
    answers = [decode(target, [ids], TOKENS, stop_ids=stop)[0][0] for ids in asked]
    return [extract_lenient(tokenizer.decode(ids, skip_special_tokens=True)) for ids in answers]


def write(folder: Path, golds: list[str]) -> Path:
    path = folder / "questions.jsonl"
    rows = [{"question": question, "answer": gold} for question, gold in zip(QUESTIONS, golds, strict=True)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def evaluate(capsys, model: Path, data: Path, *arguments: object) -> tuple[int, str, str]:
    common = ("--max-tokens", TOKENS, "--dtype", "float32", "--device", "cpu", "--out", data.parent / "out")
    return run(capsys, "evaluate", "--model", model, "--data", data, *common, *arguments)


@pytest.mark.slow
@pytest.mark.parametrize("length", [3, "adaptive"])
def test_right_answers_are_counted_and_the_draft_changes_none(length, said, tiny_model, tiny_draft, tmp_path, capsys):
    right = [answer for answer in said if answer]
    assert right, "the tiny model said no number, so nothing would be right"
    data = write(tmp_path, [f"{answer}" if answer else "no number" for answer in said])
    status, out, err = evaluate(capsys, tiny_model, data, "--draft", tiny_draft, "--draft-length", length)
    assert status == 0, err
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    for mode in ("baseline", "speculative"):
        accuracy = metrics[mode]["accuracy"]
        assert accuracy["lenient"]["value"] == len(right) / len(QUESTIONS)
        assert accuracy["lenient"]["low"] < accuracy["lenient"]["value"] <= accuracy["lenient"]["high"]
    assert metrics["lossless"]["identical_rate"]["value"] == 1, "float32 is exact"
    speculation = metrics["speculation"]
    assert 0 < speculation["accepted"] < speculation["drafted"] and speculation["tokens_per_step"]["value"] > 1
    assert 0 <= speculation["self_check"]["excess"] <= speculation["self_check"]["trimmable"]
    assert (speculation["per_token_acceptance"] is None) == (length == "adaptive")
    assert metrics["speedup"]["n"] == len(QUESTIONS) and metrics["speedup"]["value"] > 0
    assert metrics["options"]["draft_length"] == length
    assert (tmp_path / "out" / "comparison.txt").read_text() == out and "accuracy, lenient" in out
    with open(tmp_path / "out" / "samples.csv") as file:
        assert [row["identical"] for row in csv.DictReader(file)] == ["True"] * len(QUESTIONS)


@pytest.mark.slow
def test_without_a_draft_the_target_is_graded_alone(tiny_model, tmp_path, capsys):
    data = write(tmp_path, ["24"] * len(QUESTIONS))
    status, out, _ = evaluate(capsys, tiny_model, data, "--limit", 2)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert status == 0 and metrics["n"] == 2 and metrics["speculation"] is None and "speculative" not in out


@pytest.mark.slow
def test_programs_are_run_and_of_chats_only_speed_is_measured(tiny_model, tmp_path, capsys):
    task = {"prompt": "def add(a, b):\n", "entry_point": "add", "test": "def check(f):\n    f(1, 2)\n"}
    code = {"task_id": "HumanEval/0", **task}
    for name, row, judged in (("code", code, "pass@1"), ("chat", {"prompt": "Hello there."}, "only speed is measured")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
        status, out, err = evaluate(capsys, tiny_model, tmp_path / f"{name}.jsonl")
        assert status == 0 and judged in out, err
        accuracy = json.loads((tmp_path / "out" / "metrics.json").read_text())["baseline"]["accuracy"]["strict"]
        assert (accuracy is None) == (name == "chat") and (accuracy is None or accuracy["value"] == 0)


@pytest.mark.slow
def test_a_config_of_the_benchmark_names_models_and_data_sets_and_an_option_wins(
    tiny_model, tiny_draft, tmp_path, capsys
):
    data = {"sums": {"file": str(write(tmp_path, ["24"] * 4)), "limit": 2, "max_tokens": 8}}
    drafts = {"near": str(tiny_draft), "other": "none"}
    config = {"target": str(tiny_model), "drafts": drafts, "draft_length": 3, "dtype": "float32", "data": data}
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    asked = ("evaluate", "--config", tmp_path / "b.yaml", "--dataset", "sums", "--K", 2, "--out", tmp_path / "out")
    status, _, err = run(capsys, *asked)
    assert status == 0, err
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    options = metrics["options"]
    assert metrics["n"] == 2 and metrics["speculation"]["draft_length"] == 2
    assert (options["draft"], options["dtype"], options["max_tokens"]) == (str(tiny_draft), "float32", 8)
    status, _, err = run(capsys, "evaluate", "--config", tmp_path / "b.yaml", "--dataset", "code")
    assert status == 2 and "--dataset code: " in err and "has only sums" in err
    assert "--model is missing" in run(capsys, "evaluate", "--dataset", data["sums"]["file"])[2]
    assert "--dataset is missing" in run(capsys, "evaluate", "--model", "none")[2]


@pytest.mark.slow
def test_a_pipe_that_nobody_reads_loses_no_measurement(tiny_model, tmp_path):
    data = write(tmp_path, ["24"] * len(QUESTIONS))
    settings = ("--limit", 2, "--max-tokens", 8, "--dtype", "float32", "--device", "cpu", "--out", tmp_path / "out")
    assert run_unread("evaluate", "--model", tiny_model, "--data", data, *settings) == 0
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"metrics.json", "samples.csv", "comparison.txt"}


@pytest.mark.parametrize("command", ["evaluate", "profile"])
def test_a_prompt_that_does_not_fit_is_named_by_its_file_and_id(command, tiny_model, tmp_path, capsys):
    rows = [{"id": "short", "question": "5 + 8 = ?", "answer": "13"}, {"question": "9 " * 1000, "answer": "2"}]
    path = tmp_path / "q.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    status, out, err = run(capsys, command, "--model", tiny_model, "--data", path, "--limit", 2, "--device", "cpu")
    assert status == 2 and out == "" and f"{path}: the prompt of question 'q-2' has " in err, "the second row, unnamed"


def test_a_seed_that_no_generator_takes_is_refused_before_a_model_is_loaded(tmp_path, capsys):
    data = write(tmp_path, ["24"] * len(QUESTIONS))
    status, _, err = evaluate(capsys, tmp_path / "none", data, "--seed=-1")
    assert status == 2 and "argument --seed: expected 0 or more, found '-1'" in err


def test_a_row_without_gold_is_refused_by_its_line_before_a_model_is_loaded(tmp_path, capsys):
    data = write(tmp_path, ["24", "13", "", "2"])
    status, out, err = evaluate(capsys, tmp_path / "none", data)
    assert status == 2 and out == "" and "questions.jsonl:3: field 'answer'" in err
    assert not (tmp_path / "out").exists()
