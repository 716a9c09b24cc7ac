"""Training learns the completion and nothing else, and survives being killed.

The real unsloth and TRL train the tiny model, each run in a process of its own (about half a minute in all).
"""

import csv
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from doubledraft.prompts import Prompt
from doubledraft.records import Generation, Question, Trace
from doubledraft.training import finetune
from doubledraft.training.checkpoints import folder_of_run, newest_whole_checkpoint
from doubledraft.training.rows import (
    IGNORED,
    TrainingError,
    encode,
    encode_all,
    rows_from_generations,
    rows_from_traces,
)
from tests.helpers.tiny_models import CHATML, build_tokenizer

PROMPT = Prompt("Solve the problem.", ())
SETTINGS = {"learning_rate": 5e-3, "epochs": 3, "rank": 8, "alpha": 8, "batch": 4, "accumulate": 1, "max_length": 256}
STEPS = 12  # 16 rows, 4 a step, 3 epochs; a checkpoint every 3
KILLED_AT = 8


def trace(number: int) -> Trace:
    text = f"{number} + 2 = {number + 2}\n#### {number + 2}"
    question = f"What is {number} + 2?"
    return Trace(
        id=f"q{number}", scenario="s", type="cot", question=question, answer=str(number + 2), text=text, teacher="t"
    )


ROWS = rows_from_traces([trace(number) for number in range(16)], PROMPT)


def test_only_the_completion_counts_and_it_ends_with_the_end_of_turn():
    tokenizer = build_tokenizer()
    row = encode(tokenizer, ROWS[3])
    counted = [label for label in row["labels"] if label != IGNORED]
    assert tokenizer.decode(counted) == "3 + 2 = 5\n#### 5<|im_end|>"
    assert row["labels"] == [IGNORED] * (len(row["input_ids"]) - len(counted)) + row["input_ids"][-len(counted) :]


def test_the_prompt_is_what_the_engine_will_be_given():
    tokenizer = build_tokenizer()
    row = encode(tokenizer, ROWS[3])
    prompt = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label == IGNORED]
    asked = tokenizer.apply_chat_template(ROWS[3]["prompt"], add_generation_prompt=True, return_dict=True)["input_ids"]
    assert prompt == asked
    assert tokenizer.decode(prompt).count("system") == 1, "a template with a default system prompt would add a second"


def test_a_template_that_rewrites_the_prompt_is_refused():
    template = "{{ messages | length }}" + CHATML
    with pytest.raises(TrainingError, match="changes the prompt"):
        encode(build_tokenizer(template=template), ROWS[0])


def test_a_template_that_never_ends_a_turn_is_refused():
    template = CHATML.replace("<|im_end|>", "<|endoftext|>")
    with pytest.raises(TrainingError, match="does not end a turn with '<|im_end|>'"):
        encode(build_tokenizer(template=template), ROWS[0])


def test_rows_that_do_not_fit_are_dropped_whole_and_counted(caplog):
    long = rows_from_traces([trace(10**40)], PROMPT)
    tokenizer = build_tokenizer()
    limit = len(encode(tokenizer, ROWS[0])["input_ids"]) + 4
    kept, facts = encode_all(tokenizer, ROWS + long, limit)
    assert kept == [encode(tokenizer, row) for row in ROWS]
    assert (facts["rows"], facts["rows_too_long"]) == (16, 1) and facts["longest_row"] > limit
    assert "dropped 1 rows longer" in caplog.text
    with pytest.raises(TrainingError, match="none of 1 training rows fits in max_length = 5"):
        encode_all(tokenizer, long, 5)


def generation(name: str) -> Generation:
    fields = {"prompt_tokens": 1, "token_ids": [5], "finish_reason": "stop", "batch": 0, "batch_seconds": 1.0}
    return Generation(id=name, text="#### 3", **fields)


def test_the_drafts_rows_are_the_targets_answers_to_the_same_prompts():
    question = Question(id="q1", scenario="s", split="train", question="What is 1 + 2?", answer="3", steps=[])
    (row,) = rows_from_generations([generation("q1")], [question], PROMPT)
    assert row == {"prompt": ROWS[1]["prompt"], "completion": [{"role": "assistant", "content": "#### 3"}]}
    with pytest.raises(TrainingError, match="'q2' answers a question that is not in the question file"):
        rows_from_generations([generation("q2")], [question], PROMPT)


def test_what_cannot_work_here_is_said_before_anything_starts(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(TrainingError, match="train.load_in_4bit needs a GPU"):
        train(tiny_model, tmp_path, load_in_4bit=True)
    assert not list(tmp_path.iterdir())


def test_where_losses_are_sent_takes_no_checkpoint_from_a_run(tiny_model):
    settings = {"base": tiny_model, "rank": 4, "report_to": "none", "run_name": "a"}
    identity = finetune._identity(settings, ROWS)
    assert finetune._identity(settings | {"report_to": "wandb", "run_name": "b"}, ROWS) == identity
    assert finetune._identity(settings | {"rank": 8}, ROWS) != identity
    assert finetune._identity(settings, ROWS[:1]) != identity


def test_checkpoints_of_other_settings_are_removed_and_never_continued(tmp_path):
    old = folder_of_run(tmp_path, {"learning_rate": 1e-3})
    (old / "checkpoint-3").mkdir()
    new = folder_of_run(tmp_path, {"learning_rate": 2e-3})
    assert newest_whole_checkpoint(new) is None
    assert [path for path in tmp_path.iterdir()] == [new]


def train(model: Path, folder: Path, **changes) -> None:
    arguments = {**SETTINGS, "seed": 7, "dtype": "float32", **changes}
    files = {"checkpoints": folder / "checkpoints", "loss_csv": folder / "loss.csv"}
    finetune.train(model, ROWS, folder / "adapter", **files, **arguments)


class DieAt(logging.Handler):
    """Kill the process with no chance to tidy up when training logs a step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.message = f"step {step} of"

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith(self.message):
            os.kill(os.getpid(), signal.SIGKILL)


def in_process(model: Path, *folders: Path, die_at: int | None = None) -> subprocess.CompletedProcess:
    """Train once a folder in one new process, which dies at a step of the last one when told."""
    command = [sys.executable, __file__, str(model), str(die_at or 0), *map(str, folders)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def trained(tiny_model, tmp_path_factory) -> tuple[Path, Path, str]:
    """Give a run left alone, and the same run killed, its newest checkpoint torn and run again, with that log."""
    straight, killed = (tmp_path_factory.mktemp(name) for name in ("straight", "killed"))
    first = in_process(tiny_model, straight, killed, die_at=KILLED_AT)
    assert first.returncode == -signal.SIGKILL, first.stderr[-3000:]
    assert not (killed / "adapter").exists() and not (killed / "loss.csv").exists(), "a killed run left results"
    (run,) = (killed / "checkpoints").iterdir()
    assert sorted(path.name for path in run.glob("checkpoint-*")) == ["checkpoint-3", "checkpoint-6"]
    weights = run / "checkpoint-6" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100] + bytes(100))  # the right length, the wrong content
    second = in_process(tiny_model, killed)
    assert second.returncode == 0, second.stderr[-3000:]
    return straight, killed, second.stderr


def losses(folder: Path) -> list[dict[str, str]]:
    with open(folder / "loss.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_training_lowers_the_loss_and_leaves_an_adapter(trained):
    straight, _, _ = trained
    curve = [float(row["loss"]) for row in losses(straight)]
    assert curve[-1] < 0.8 * curve[0], curve
    facts = json.loads((straight / "adapter/training.json").read_text())
    assert facts["steps"] == STEPS and facts["rows"] == 16 and facts["rows_too_long"] == 0
    assert facts["final_loss"] == curve[-1] and facts["settings"]["learning_rate"] == SETTINGS["learning_rate"]
    moved = [name for name, weight in load_file(straight / "adapter/adapter_model.safetensors").items() if weight.any()]
    assert any("lora_B" in name for name in moved), "B starts at zero, so training has moved nothing"
    modules = json.loads((straight / "adapter/adapter_config.json").read_text())["target_modules"]
    assert modules == sorted(modules), "two trainings alike should leave the same bytes"


def test_a_killed_run_ends_with_the_very_weights_of_one_left_alone(trained):
    straight, killed, log = trained
    a, b = (load_file(folder / "adapter/adapter_model.safetensors") for folder in (straight, killed))
    assert a.keys() == b.keys() and all(a[name].equal(b[name]) for name in a)
    assert "checkpoint-6 is torn" in log and "continuing from" in log and f"step 4 of {STEPS}" in log
    assert f"step 3 of {STEPS}" not in log, "the run began anew instead of going on from checkpoint-3"


def test_the_loss_curve_of_a_killed_run_has_every_step_once(trained):
    straight, killed, _ = trained
    assert [row["step"] for row in losses(killed)] == [str(step) for step in range(1, STEPS + 1)]
    assert losses(killed) == losses(straight)


def test_a_finished_run_leaves_no_checkpoints(trained):
    assert not any((folder / "checkpoints").exists() for folder in trained[:2])


def test_the_switches_of_the_training_are_logged(trained):
    assert "UNSLOTH_COMPILE_LOCATION" in trained[2] and "'HF_HUB_OFFLINE': '1'" in trained[2]


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    *before, last = sys.argv[3:]
    for folder in before:
        train(Path(sys.argv[1]), Path(folder))
    if int(sys.argv[2]):
        finetune.log.addHandler(DieAt(int(sys.argv[2])))
    train(Path(sys.argv[1]), Path(last))
