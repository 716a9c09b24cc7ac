"""Training learns, and survives being killed.

The real unsloth and TRL train the tiny model, each run in a process of its own (about half a minute in all).
"""

import csv
import json
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from doubledraft.summaries.training_summary import TrainingSettings
from doubledraft.training import finetune
from doubledraft.training.rows import TrainingError
from doubledraft.training.run import Inputs
from tests.helpers.training_runs import ROWS, SETTINGS, in_process, train

STEPS = 12  # 16 rows, 4 a step, 3 epochs; a checkpoint every 3
KILLED_AT = 8


TRACKED = {"report_to": {"to": "tensorboard", "project": "p", "entity": None}, "run_name": "study/cell/draft"}


def test_what_cannot_work_here_is_said_before_anything_starts(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(TrainingError, match="train.load_in_4bit needs a GPU"):
        train(tiny_model, tmp_path, load_in_4bit=True)
    assert not list(tmp_path.iterdir())


def test_what_needs_the_target_asks_for_it(tiny_model, tmp_path):
    for changes in ({"held_out": 4}, {"method": "distill"}):
        with pytest.raises(TrainingError, match="are for a draft and need the merged target"):
            train(tiny_model, tmp_path, **changes)
    assert not list(tmp_path.iterdir())


def test_where_losses_are_sent_takes_no_checkpoint_from_a_run(tiny_model):
    inputs = Inputs(base=tiny_model, rows=ROWS)
    settings = TrainingSettings(base=str(tiny_model), start="base", run_name="a", **SETTINGS)
    identity = finetune._identity(inputs, settings)
    assert finetune._identity(inputs, replace(settings, report_to="wandb", run_name="b")) == identity
    assert finetune._identity(inputs, replace(settings, rank=4)) != identity
    assert finetune._identity(replace(inputs, rows=ROWS[:1]), settings) != identity
    assert finetune._identity(replace(inputs, allowed_tokens=[1]), settings) != identity


@pytest.fixture(scope="module")
def trained(tiny_model, tmp_path_factory) -> tuple[Path, Path, str]:
    """Return a run left alone, and the same run killed, its newest checkpoint torn and run again, with that log."""
    straight, killed = (tmp_path_factory.mktemp(name) for name in ("straight", "killed"))
    first = in_process(tiny_model, straight, killed, die_at=KILLED_AT, **TRACKED)
    assert first.returncode == -signal.SIGKILL, first.stderr[-3000:]
    assert not (killed / "adapter").exists() and not (killed / "loss.csv").exists(), "a killed run left results"
    (run,) = (killed / "checkpoints").iterdir()
    assert sorted(path.name for path in run.glob("checkpoint-*")) == ["checkpoint-3", "checkpoint-6"]
    weights = run / "checkpoint-6" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100] + bytes(100))  # the right length, the wrong content
    second = in_process(tiny_model, killed, **TRACKED)
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
    assert "checkpoint-6 is incomplete" in log
    assert re.search(r"continuing from \S+checkpoint-3\n", log), "the run began anew"


@pytest.mark.slow
def test_the_loss_curve_of_a_killed_run_has_every_step_once(trained):
    straight, killed, _ = trained
    assert [row["step"] for row in losses(killed)] == [str(step) for step in range(1, STEPS + 1)]
    assert losses(killed) == losses(straight)


@pytest.mark.slow
def test_a_tracker_has_the_loss_of_every_step_when_the_checkpoints_are_gone(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for folder in trained[:2]:
        [run] = (folder / "logs" / "tensorboard").iterdir()
        assert run.name.startswith("draft-"), "a killed run went on in the run that it had begun"
        found = EventAccumulator(str(run)).Reload()
        sent = found.Scalars("train/loss")
        kept = {int(row["step"]): float(row["loss"]) for row in losses(folder)}
        assert [event.step for event in sent] == list(kept), "a step was sent twice"
        assert [event.value for event in sent] == pytest.approx(list(kept.values()), rel=1e-5) and len(kept) == STEPS
        assert "learning_rate | 0.005" in str(found.Tensors("settings/text_summary"))


@pytest.mark.slow
def test_a_finished_run_leaves_no_checkpoints(trained):
    assert not any((folder / "checkpoints").exists() for folder in trained[:2])


@pytest.mark.slow
def test_the_switches_of_the_training_are_logged(trained):
    assert "UNSLOTH_COMPILE_LOCATION" in trained[2] and "'HF_HUB_OFFLINE': '1'" in trained[2]
