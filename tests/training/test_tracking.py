"""Real trackers on this machine: what was logged is in their files, and a run that goes on is the same run."""

import json
import sqlite3
from pathlib import Path

import pytest

from doubledraft import api_keys
from doubledraft.training import tracking
from doubledraft.training.tracking import Tracker

VALUES = [{"train/loss": 2.5}, {"train/loss": 1.25}]
COLUMNS, ROWS = ("cell", "speedup"), [("cod_easy", 1.5), ("cod_hard", 1.25)]


def log(tracker: Tracker, folder: Path, first: int = 0, identity: object = "same") -> None:
    with tracking.run(tracker, "study/cell/draft", folder, identity) as run:
        for step, values in enumerate(VALUES, start=first):
            run.log(values, step)
        run.table("report", COLUMNS, ROWS)


@pytest.mark.slow
def test_tensorboard_has_every_step_and_the_table(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log(Tracker(to="tensorboard"), tmp_path)
    log(Tracker(to="tensorboard"), tmp_path, first=2)
    log(Tracker(to="tensorboard"), tmp_path, identity="other settings")
    same, other = sorted((tmp_path / "tensorboard").iterdir(), key=lambda folder: -len(list(folder.iterdir())))
    found = EventAccumulator(str(same)).Reload()
    assert [(event.step, event.value) for event in found.Scalars("train/loss")] == [
        (0, 2.5),
        (1, 1.25),
        (2, 2.5),
        (3, 1.25),
    ]
    assert "cod_hard | 1.25" in str(found.Tensors("report/text_summary")[0])
    assert other.name.startswith("draft-")


@pytest.mark.slow
def test_trackio_has_every_step_in_one_run(tmp_path, monkeypatch):
    import trackio.sqlite_storage
    from trackio import utils

    for module in (utils, trackio.sqlite_storage):
        monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path)
    log(Tracker(to="trackio", project="study"), tmp_path)
    log(Tracker(to="trackio", project="study"), tmp_path, first=2)
    [file] = tmp_path.rglob("*.db")
    with sqlite3.connect(file) as database:
        rows = database.execute("select run_name, step, metrics from metrics order by step").fetchall()
    assert len({run for run, _, _ in rows}) == 1 and rows[0][0].startswith("study/cell/draft-")
    losses = [(step, metrics) for _, step, metrics in rows if "train/loss" in str(metrics)]
    assert [step for step, _ in losses] == [0, 1, 2, 3] and "2.5" in str(losses[0][1])
    assert any("cod_hard" in str(metrics) or "report" in str(metrics) for _, _, metrics in rows)


@pytest.mark.slow
def test_wandb_offline_has_every_step_under_one_id_and_nothing_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    log(Tracker(to="wandb", project="study", entity="team"), tmp_path)
    log(Tracker(to="wandb", project="study", entity="team"), tmp_path, first=2)
    log(Tracker(to="wandb", project="study", entity="team"), tmp_path, identity="other settings")
    files = sorted(tmp_path.rglob("run-*.wandb"))
    assert len(files) == 3 and len({file.name for file in files}) == 2, "a run that goes on has the id of before"
    written = b"".join(file.read_bytes() for file in files)
    assert b"train/loss" in written and b"2.5" in written and b"study" in written
    assert b"requirements.txt" not in written and b"wandb-metadata.json" not in written


def test_wandb_asks_for_its_key_by_name_before_anything_is_sent(tmp_path, monkeypatch):
    for variable in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(api_keys.MissingKey, match="WANDB_API_KEY"):
        log(Tracker(to="wandb"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_unless_asked(tmp_path):
    log(Tracker(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_metrics_of_a_cell_and_the_table_of_a_report_are_runs_of_their_own(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    interval = {"value": 1.5, "low": 1.4, "high": 1.6, "n": 8}
    (tmp_path / "metrics.json").write_text(json.dumps({"speedup": interval}))
    (tmp_path / "table.csv").write_text("cell,speedup\ncod_hard,1.25\n")
    to = {"to": "tensorboard", "project": "study", "entity": None}
    tracking.send_metrics(tmp_path / "metrics.json", to, "study/cod_hard/benchmark", tmp_path)
    tracking.send_table(tmp_path / "table.csv", to, "study/report", tmp_path)
    found = {folder.name.partition("-")[0]: folder for folder in (tmp_path / "tensorboard").iterdir()}
    assert EventAccumulator(str(found["benchmark"])).Reload().Scalars("speedup")[0].value == 1.5
    assert "| cod_hard | 1.25 |" in str(
        EventAccumulator(str(found["report"])).Reload().Tensors("table/text_summary")[0]
    )


def test_of_a_metrics_file_the_values_with_an_interval_are_logged():
    interval = {"value": 1.5, "low": 1.4, "high": 1.6, "n": 8}
    metrics = {
        "cell": "x",
        "n": 8,
        "speedup": interval,
        "baseline": {"accuracy": {"strict": interval, "lenient": None}},
    }
    assert tracking.intervals(metrics) == {"speedup": 1.5, "baseline/accuracy/strict": 1.5}
