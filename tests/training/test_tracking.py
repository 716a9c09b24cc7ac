"""Real trackers on this machine: what was logged is in their files, and a run that goes on is the same run."""

import json
import os
import sqlite3
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from doubledraft import api_keys
from doubledraft.training import tracking
from doubledraft.training.tracking import Tracker

VALUES = [{"train/loss": 2.5}, {"train/loss": 1.25}]
COLUMNS, ROWS = ("cell", "speedup"), [("cod_easy", 1.5), ("cod_hard", 1.25)]
SETTINGS = {"learning_rate": 0.002, "steps": None}


def log(tracker: Tracker, folder: Path, first: int = 0, identity: object = "same") -> None:
    with tracking.run(tracker, "study/cell/draft", folder, identity, SETTINGS) as run:
        for step, values in enumerate(VALUES, start=first):
            run.log(values, step)


def log_table(tracker: Tracker, folder: Path) -> None:
    with tracking.run(tracker, "study/report", folder) as run:
        run.table("report", COLUMNS, ROWS)


@pytest.mark.slow
def test_tensorboard_has_every_step_once_the_settings_and_the_table(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log(Tracker(to="tensorboard"), tmp_path)
    log(Tracker(to="tensorboard"), tmp_path, first=1)  # as a training that goes on from a checkpoint at step 0
    log(Tracker(to="tensorboard"), tmp_path, identity="other settings")
    log_table(Tracker(to="tensorboard"), tmp_path)
    runs = sorted((tmp_path / "tensorboard").iterdir(), key=lambda folder: -len(list(folder.iterdir())))
    assert sorted(folder.name.partition("-")[0] for folder in runs) == ["draft", "draft", "report"]
    found = EventAccumulator(str(runs[0])).Reload()
    losses = [(event.step, event.value) for event in found.Scalars("train/loss")]
    assert losses == [(0, 2.5), (1, 2.5), (2, 1.25)], "of a step that was done again the last counts"
    [settings] = found.Tensors("settings/text_summary")
    assert "learning_rate | 0.002" in str(settings)
    [report] = [folder for folder in runs if folder.name.startswith("report")]
    assert "cod_hard | 1.25" in str(EventAccumulator(str(report)).Reload().Tensors("report/text_summary")[0])


@pytest.mark.slow
def test_trackio_has_every_step_once_the_settings_and_the_table(tmp_path, monkeypatch):
    import trackio.sqlite_storage
    from trackio import utils

    for module in (utils, trackio.sqlite_storage):
        monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path)
    monkeypatch.setattr(os, "environ", os.environ.copy())  # the tracker puts switches there
    log(Tracker(to="trackio", project="study"), tmp_path)
    log(Tracker(to="trackio", project="study"), tmp_path, first=1)
    log_table(Tracker(to="trackio", project="study"), tmp_path)
    [file] = tmp_path.rglob("*.db")
    with sqlite3.connect(file) as database:
        rows = database.execute("select run_name, step, metrics from metrics order by run_name, step").fetchall()
        configs = dict(database.execute("select run_name, config from configs"))
    runs = {run: [(step, metrics) for name, step, metrics in rows if name == run] for run, _, _ in rows}
    (training, losses), (report, tables) = runs.items()
    assert training.startswith("study/cell/draft-") and report.startswith("study/report-")
    assert [step for step, _ in losses] == [0, 1, 2] and "2.5" in str(losses[0][1])
    assert json.loads(configs[training])["learning_rate"] == 0.002
    assert len(tables) == 1 and "cod_hard" in str(tables)


@pytest.mark.slow
def test_trackio_asks_the_hub_nothing_though_there_is_a_token(tmp_path):
    asked = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_): ...

    hub = HTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=hub.serve_forever, daemon=True).start()
    program = "from tests.training.test_tracking import Path, Tracker, log; log(Tracker(to='trackio'), Path())"
    places = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "TRACKIO_DIR": str(tmp_path / "trackio")}
    environment = os.environ | places | {"HF_TOKEN": "hf_of_nobody", "HF_HUB_OFFLINE": "0"}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True, cwd=Path(__file__).parents[2])
    hub.shutdown()
    assert list((tmp_path / "trackio").glob("*.db")) and not asked


@pytest.mark.slow
def test_wandb_offline_has_every_step_under_one_id_and_nothing_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr("socket.gethostname", lambda: "name-of-this-machine")
    log(Tracker(to="wandb", project="study", entity="team"), tmp_path)
    log(Tracker(to="wandb", project="study", entity="team"), tmp_path, first=2)
    log(Tracker(to="wandb", project="study", entity="team"), tmp_path, identity="other settings")
    log_table(Tracker(to="wandb", project="study", entity="team"), tmp_path)
    files = sorted(tmp_path.rglob("run-*.wandb"))
    assert len(files) == 4 and len({file.name for file in files}) == 3, "a run that goes on has the id of before"
    written = b"".join(file.read_bytes() for file in files)
    for value in (b"train/loss", b"2.5", b"study", b"team", b"learning_rate", b"0.002", b"report_0"):
        assert value in written, value
    for value in (b"requirements.txt", b"wandb-metadata.json", b"name-of-this-machine", str(tmp_path).encode()):
        assert value not in written, value


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
