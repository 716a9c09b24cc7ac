"""Training learns, and survives being killed.

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
import torch
from safetensors.torch import load_file

from doubledraft.prompts import Prompt
from doubledraft.records import Trace
from doubledraft.training import finetune
from doubledraft.training.rows import TrainingError, rows_from_traces

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
    """Return a run left alone, and the same run killed, its newest checkpoint torn and run again, with that log."""
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_killed_run_ends_with_the_very_weights_of_one_left_alone(trained):
    straight, killed, log = trained
    a, b = (load_file(folder / "adapter/adapter_model.safetensors") for folder in (straight, killed))
    assert a.keys() == b.keys() and all(a[name].equal(b[name]) for name in a)
    assert "checkpoint-6 is incomplete" in log and "continuing from" in log and f"step 4 of {STEPS}" in log
    assert f"step 3 of {STEPS}" not in log, "the run began anew instead of going on from checkpoint-3"


@pytest.mark.slow
def test_the_loss_curve_of_a_killed_run_has_every_step_once(trained):
    straight, killed, _ = trained
    assert [row["step"] for row in losses(killed)] == [str(step) for step in range(1, STEPS + 1)]
    assert losses(killed) == losses(straight)


@pytest.mark.slow
def test_a_finished_run_leaves_no_checkpoints(trained):
    assert not any((folder / "checkpoints").exists() for folder in trained[:2])


@pytest.mark.slow
def test_the_switches_of_the_training_are_logged(trained):
    assert "UNSLOTH_COMPILE_LOCATION" in trained[2] and "'HF_HUB_OFFLINE': '1'" in trained[2]


@pytest.mark.parametrize(
    ("dtype", "processor", "used"),
    [
        ("bfloat16", "AVX512", "bfloat16"),
        ("bfloat16", "AVX2", "float32"),
        ("float16", "AVX2", "float16"),
        ("float32", "AVX512", "float32"),
    ],
)
def test_a_processor_without_avx512_trains_in_float32(monkeypatch, dtype, processor, used):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: processor)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert finetune.computing_dtype(dtype) == used


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    *before, last = sys.argv[3:]
    for folder in before:
        train(Path(sys.argv[1]), Path(folder))
    if int(sys.argv[2]):
        finetune.log.addHandler(DieAt(int(sys.argv[2])))
    train(Path(sys.argv[1]), Path(last))
