"""Who is at work in a study's folder."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from doubledraft.log import log
from doubledraft.workflow import locks

HOLD = (
    "import sys, time; from doubledraft.workflow import locks; locks.hold(sys.argv[1]); "
    "print('on', flush=True); time.sleep(60)"
)


@contextmanager
def held(path: Path):
    """Start a process that holds a lock, and return it."""
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "on\n"
        yield process
        process.kill()


def killed(path: Path, snakemake: Path, **note: str) -> None:
    """Leave what a killed run leaves: its note, changed where said, and Snakemake's locks."""
    with held(path):
        pass
    path.write_text(json.dumps(json.loads(path.read_text()) | note))
    (snakemake / "locks").mkdir(parents=True)
    (snakemake / "locks/0.output.lock").write_text("results/a.json\n")


def test_a_lock_is_held_by_one_process_and_names_it(tmp_path):
    path = tmp_path / "results/.run.lock"
    assert locks.holder(path) is None and locks.run_at_work(path) is None
    with held(path) as process:
        assert f"process {process.pid} on " in locks.run_at_work(path)
        with pytest.raises(locks.Busy, match=rf"process {process.pid} on .* holds .* wait for it to end, or stop it"):
            locks.hold(path)
    assert locks.holder(path) is None, "the kernel lets go of the lock of a killed process"


def test_looking_whether_a_lock_is_held_takes_it_from_nobody(tmp_path):
    path = tmp_path / "lock"
    watching = "import sys, time; from doubledraft.workflow import locks\nwhile True: locks.holder(sys.argv[1])"
    path.touch()
    with subprocess.Popen([sys.executable, "-c", watching, path]) as watcher:
        code = "import sys; from doubledraft.workflow import locks; locks.PATIENCE = 60; locks.hold(sys.argv[1])"
        taken = [subprocess.run([sys.executable, "-c", code, path], check=False).returncode for _ in range(5)]
        watcher.kill()
    assert taken == [0] * 5


def test_a_process_that_ends_by_itself_leaves_nothing_to_tell(tmp_path):
    path = tmp_path / "lock"
    code = f"from doubledraft.workflow import locks; locks.hold({str(path)!r})"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert path.read_bytes() == b"" and locks.clear_dead(path, tmp_path / ".snakemake") is None


def test_locks_of_a_run_that_was_killed_are_removed_and_it_is_said(tmp_path):
    killed(tmp_path / "lock", tmp_path)
    assert re.search(r"killed \(process \d+ on .*\): .* made again", locks.clear_dead(tmp_path / "lock", tmp_path))
    assert not (tmp_path / "locks").exists()
    assert locks.clear_dead(tmp_path / "lock", tmp_path) is None, "it is said once"


def test_a_restart_of_the_machine_ends_a_run_too(tmp_path):
    killed(tmp_path / "lock", tmp_path, boot="before the restart")
    assert "made again" in locks.clear_dead(tmp_path / "lock", tmp_path)


@pytest.mark.parametrize("note", ['{"process": 1, "host": "far", "boot": "b", "since": "s"}', "", '{"proc'])
def test_locks_of_a_run_that_cannot_be_seen_stay_and_the_command_is_given(tmp_path, note):
    killed(tmp_path / "lock", tmp_path)
    (tmp_path / "lock").write_text(note)
    assert "snakemake --unlock" in locks.clear_dead(tmp_path / "lock", tmp_path)
    assert (tmp_path / "locks/0.output.lock").exists()


def test_locks_stay_while_jobs_may_still_be_on_the_cluster(tmp_path):
    killed(tmp_path / "lock", tmp_path)
    (tmp_path / "incomplete").mkdir()
    (tmp_path / "incomplete/cmVzdWx0cw==").write_text('{"external_jobid": "4711"}')
    (tmp_path / "incomplete/bG9jYWw=").write_text('{"external_jobid": null}')
    said = locks.clear_dead(tmp_path / "lock", tmp_path)
    assert "4711" in said and "scancel" in said and "snakemake --unlock" in said
    assert (tmp_path / "locks/0.output.lock").exists()


def test_a_job_holds_the_lock_beside_its_log_and_no_second_process_makes_the_same_files(tmp_path):
    log_file = tmp_path / "logs/train_target.log"
    code = (
        f"import time; from doubledraft.workflow.jobs import log_to; log_to({str(log_file)!r}); print('on', flush=True)"
    )
    with subprocess.Popen([sys.executable, "-c", code + "; time.sleep(60)"]) as job:
        while not log_file.exists() or log_file.read_text() != "on\n":
            assert job.poll() is None
        lock = locks.of_job(log_file)
        assert f"{lock} (process {job.pid} on" in locks.jobs_at_work([lock, tmp_path / "logs/.other.lock"])
        os.remove(log_file)  # as Snakemake does before it starts a job
        second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert second.returncode != 0 and f"at work: process {job.pid} on" in second.stderr
        assert not log_file.exists()
        job.send_signal(signal.SIGKILL)
    assert locks.jobs_at_work([lock]) is None


def test_a_file_system_without_locks_is_said_and_stops_nothing(tmp_path, monkeypatch, caplog):
    def unsupported(*_):
        raise OSError(locks.errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", unsupported)
    monkeypatch.setattr(log, "propagate", True)
    locks.hold(tmp_path / "lock")
    assert "no file locks" in caplog.text and locks.holder(tmp_path / "lock") is None
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks/0.output.lock").touch()
    assert "snakemake --unlock" in locks.clear_dead(tmp_path / "lock", tmp_path), "a live run could not be seen"
