"""Steps are timed as they end, runs are estimated from that, and `doubledraft status` shows it."""

import subprocess
import sys
from pathlib import Path

import pytest

from doubledraft.log import duration
from doubledraft.workflow import times
from doubledraft.workflow.times import Timed
from tests.helpers.commands import run

ROOT = Path(__file__).parents[2]
LOG = "results/cod_hard/logs/train_draft.log"


def job(folder: Path, log: str, body: str = "", **more) -> subprocess.Popen:
    """Start a job that takes its log, and then does `body`."""
    code = f"from doubledraft.log import log; from doubledraft.workflow.jobs import log_to; log_to({log!r})\n{body}"
    (folder / log).parent.mkdir(parents=True, exist_ok=True)
    environment = {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", code], cwd=folder, env=environment, stderr=subprocess.PIPE, **more)


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    """Return a folder in which one job ended, one failed and one was killed."""
    folder = tmp_path_factory.mktemp("study")
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    for log, body in ((LOG, ""), ("results/logs/report.log", "raise ValueError('broken')"), (LOG, killed)):
        job(folder, log, body).communicate()
    return folder


def test_a_job_that_ends_is_timed_and_one_that_is_killed_is_not(study):
    found = [(one.step, one.of, one.outcome) for one in times.read(study / "results")]
    assert found == [("train_draft", "cod_hard", "done"), ("report", "", "failed")]
    assert all(0 <= one.seconds < 60 for one in times.read(study / "results"))


def test_a_job_outside_a_study_is_not_timed(tmp_path):
    job(tmp_path, "logs/rule.log").communicate()
    assert not list(tmp_path.rglob("times.csv"))


def test_a_run_is_estimated_from_the_last_time_of_the_step_else_from_that_of_other_cells():
    timed = [
        Timed("train_draft", "cod_hard", 1, 100, "done"),
        Timed("train_draft", "cod_hard", 2, 60, "done"),
        Timed("train_draft", "cod_easy", 3, 40, "done"),
        Timed("score", "cod_hard", 4, 9, "failed"),
    ]
    assert times.estimate([("train_draft", "cod_hard"), ("train_draft", "cot_hard"), ("score", "x")], timed) == (110, 1)


def test_the_forecast_says_what_it_goes_by(study, tmp_path, monkeypatch):
    said = times.forecast([LOG, "results/logs/new.log"], study / "results", True)
    assert said.startswith("2 steps, about ") and said.endswith(
        " s by their last times here, and 1 that have not run here yet"
    )
    monkeypatch.setattr(times, "speed", lambda: 2 * times.REFERENCE_SPEED)
    said = times.forecast([LOG], tmp_path, True)
    half = duration(times.REFERENCE["train_draft"] / 2)
    assert f"the 1 whose time is known for this study take roughly {half}" in said
    assert "not known" in times.forecast(["results/logs/report.log"], tmp_path, True)
    assert "not known" in times.forecast([LOG], tmp_path, False)


def test_the_summary_names_the_longest_steps_of_this_run(study):
    said = times.summary(study / "results", since=0)
    assert "train_draft of cod_hard" in said and said.endswith(
        "All are in " + str(study / "results/logs/times.csv") + "."
    )
    assert times.summary(study / "results", since=4e9) is None


def test_status_shows_what_ended_what_failed_and_what_runs(study, capsys):
    status, out, _ = run(capsys, "status", "--directory", study)
    assert status == 0 and "train_draft" in out and "Nothing is running." in out
    assert "report failed: ValueError: broken; read " in out and "train_draft of cod_hard was killed" in out
    body = "log.info('step 3 of 9'); import time; time.sleep(60)"
    running = job(study, "results/cot_easy/logs/distill.log", body)
    try:
        assert b"step 3 of 9" in running.stderr.readline()
        _, out, _ = run(capsys, "status", "--directory", study)
        assert "running: distill of cot_easy for 0 s: step 3 of 9" in out.replace("for 1 s", "for 0 s")
    finally:
        running.kill()
        running.communicate()


def test_a_folder_without_a_study_says_so(tmp_path, capsys):
    status, out, _ = run(capsys, "status", "--directory", tmp_path)
    assert status == 0 and out == f"{tmp_path}/results: no job has run here\n"
    status, _, err = run(capsys, "status", "--directory", tmp_path / "nowhere")
    assert status == 2 and "nowhere: no such folder: name the folder of the study" in err
