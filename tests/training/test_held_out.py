"""The checkpoint of a draft is chosen by decoding held-out training questions; test questions are never opened."""

import json
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from doubledraft.records import Generation, Question, write_records
from doubledraft.summaries.training_summary import DraftEvaluation
from doubledraft.training import finetune, held_out
from doubledraft.training.label_logits import padded
from doubledraft.training.rows import TrainingError, encode_all
from tests.helpers.tiny_models import build_model
from tests.helpers.training_runs import ROWS, SETTINGS, die_at, run, trace

HELD_OUT = 4
TRACES = [trace(number) for number in range(16)]
KILLED_AT, STEPS = 8, 9  # 12 rows, 4 a step, 3 epochs; a checkpoint every 3


def evaluation(step: int, value: float, other: float = 0.5) -> DraftEvaluation:
    return DraftEvaluation(
        step=step, tokens_per_step=value, overlap=other, agreement=value / 8, simulated_tokens_per_step=-value
    )


def encoded(prompt: list[int], answer: list[int]) -> dict:
    return {"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer}


def test_rows_of_one_question_stay_on_one_side_and_the_seed_decides():
    rows = [encoded([1, question], [answer]) for question in range(10) for answer in (5, 6)]
    learned, judged = held_out.split(rows, 3, seed=1)
    assert len(judged) == 6 and len(learned) == 14
    assert not {row["input_ids"][1] for row in learned} & {row["input_ids"][1] for row in judged}
    assert held_out.split(rows, 3, seed=1) == (learned, judged)
    assert any(held_out.split(rows, 3, seed=seed)[1] != judged for seed in range(2, 5))


def test_more_rows_are_learned_than_held_out():
    with pytest.raises(TrainingError, match="held_out is 3, but there are only 5 different questions"):
        held_out.split([encoded([1, question], [2]) for question in range(5)], 3, seed=1)


def test_proxies_are_correlated_with_what_was_measured():
    found = held_out.correlation([evaluation(1, 2.0, 0.5), evaluation(2, 3.0, 0.7), evaluation(3, 4.0, 0.6)])
    assert (found.agreement, found.simulated_tokens_per_step, found.overlap) == (1, -1, 0.5)
    assert held_out.correlation([evaluation(1, 2.0), evaluation(2, 3.0)]) is None, "the overlap never changed"


def test_of_equal_tokens_per_step_the_greater_overlap_decides():
    """A draft that starts well may emit as much at every checkpoint; the first one has learned nearly nothing."""
    judge = held_out.Judge("target", None, "start", [], "float32", None)
    assert judge.best is None
    judge.evaluations = [evaluation(1, 4.0, 0.40), evaluation(2, 4.0, 0.43), evaluation(3, 4.0, 0.41)]
    assert judge.best.step == 2
    judge.evaluations.append(evaluation(4, 4.1, 0.1))
    assert judge.best.step == 4


def write_files(folder: Path) -> None:
    """Write the files of a draft's training, and a test file beside the questions."""
    questions = [
        Question(id=one.id, scenario="s", split="train", question=one.question, answer=one.answer, steps=[])
        for one in TRACES
    ]
    write_records(folder / "train.jsonl", questions)
    write_records(folder / "test.jsonl", [replace(question, id=f"t{question.id}") for question in questions])
    (folder / "prompt.yaml").write_text("system: Solve the problem.\nshots: []\n")
    answers = [
        Generation(
            id=one.id, prompt_tokens=1, token_ids=[1], text=one.text, finish_reason="stop", batch=0, batch_seconds=1.0
        )
        for one in TRACES
    ]
    write_records(folder / "distilled.jsonl", answers)


def train(models: list[str], files: Path, folder: Path) -> None:
    target, draft = models
    finetune.train_draft(
        **SETTINGS | {"learning_rate": 0.03, "held_out": HELD_OUT, "update": "full"},
        base=draft,
        target=target,
        distilled=files / "distilled.jsonl",
        questions=files / "train.jsonl",
        prompt=files / "prompt.yaml",
        out=folder / "adapter",
        checkpoints=folder / "checkpoints",
        loss_csv=folder / "loss.csv",
    )


@pytest.fixture(scope="module")
def taught_pair(tmp_path_factory) -> tuple[Path, Path]:
    """Return a target that says nearly what the rows say, and a random draft of one layer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("pair")
    target, draft = build_model(folder / "target"), build_model(folder / "draft", layers=1, seed=1)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(target), AutoTokenizer.from_pretrained(target)
    batch = padded([(row["input_ids"], row["labels"]) for row in encode_all(tokenizer, ROWS, 256)[0]], "cpu")
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(target)
    return target, draft


@pytest.fixture(scope="module")
def trained(taught_pair, tmp_path_factory) -> tuple[Path, Path, Path]:
    """Return the files, a run left alone, and the same run killed and run again."""
    files, straight, killed = (tmp_path_factory.mktemp(name) for name in ("files", "straight", "killed"))
    write_files(files)
    what = {"models": list(map(str, taught_pair)), "files": str(files), "folders": [str(straight), str(killed)]}
    first = run(Path(__file__), json.dumps(what | {"die_at": KILLED_AT}))
    assert first.returncode == -signal.SIGKILL, first.stderr[-3000:]
    second = run(Path(__file__), json.dumps(what | {"folders": [str(killed)], "die_at": 0}))
    assert second.returncode == 0, second.stderr[-3000:]
    return files, straight, killed


def summary(folder: Path) -> dict:
    return json.loads((folder / "adapter/training.json").read_text())


@pytest.mark.slow
def test_the_best_checkpoint_by_real_decoding_is_what_is_written(trained):
    found = summary(trained[1])
    evaluations = found["evaluations"]
    assert [one["step"] for one in evaluations] == [3, 6, STEPS] and found["rows"] == len(TRACES) - HELD_OUT
    best = max(evaluations, key=lambda one: (one["tokens_per_step"], one["overlap"]))
    assert found["best_step"] == best["step"] and best["tokens_per_step"] > 1.2, evaluations
    for one in evaluations:
        assert 0 <= one["agreement"] <= 1 and 0 < one["overlap"] <= 1


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_evaluations_and_weights(trained):
    _, straight, killed = trained
    assert summary(straight)["evaluations"] == summary(killed)["evaluations"]
    a, b = (load_file(folder / "adapter/adapter_model.safetensors") for folder in (straight, killed))
    assert a.keys() == b.keys() and all(a[name].equal(b[name]) for name in a)
    assert not (killed / "checkpoints").exists()


@pytest.mark.slow
def test_training_opens_no_test_file(trained):
    files, straight, _ = trained
    opened = (straight / "opened.txt").read_text().splitlines()
    assert str(files / "train.jsonl") in opened, "the hook sees what is opened"
    assert not [path for path in opened if Path(path).name == "test.jsonl"]


if __name__ == "__main__":
    import logging

    logging.basicConfig(level=logging.INFO)
    what = json.loads(sys.argv[1])
    opened: list[str] = []
    sys.addaudithook(lambda event, values: opened.append(str(values[0])) if event == "open" else None)
    for folder in map(Path, what["folders"]):
        if what["die_at"] and folder == Path(what["folders"][-1]):
            die_at(what["die_at"])
        train(what["models"], Path(what["files"]), folder)
        (folder / "opened.txt").write_text("\n".join(opened))
