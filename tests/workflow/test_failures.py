"""Why a result is missing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from doubledraft.workflow import failures

JOB = "import sys; from doubledraft.workflow.jobs import log_to; log_to(sys.argv[1]); print('loading')\n"


def job(log: Path, end: str) -> None:
    """Run a job that ends as told."""
    subprocess.run([sys.executable, "-c", JOB + end, log], capture_output=True, check=False)


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (
            "raise ValueError('the loss is\\nnot a number: lower learning_rate')",
            "failed: ValueError: the loss is not a",
        ),
        ("import os; os.kill(os.getpid(), 9)", "was killed"),
        ("raise KeyboardInterrupt", "failed: KeyboardInterrupt"),
        ("pass", None),
    ],
)
def test_a_step_that_failed_says_why_and_one_that_did_not_says_nothing(tmp_path, end, reason):
    log = tmp_path / "train_target.log"
    job(log, end)
    assert (failures.failure(log) or "None").startswith(str(reason))


def test_a_step_that_succeeds_after_all_did_not_fail(tmp_path):
    log = tmp_path / "score.log"
    for end in ("raise ValueError", "import os; os.kill(os.getpid(), 9)", "pass"):
        job(log, end)
    assert failures.failure(log) is None


def test_the_terminal_hears_the_error_and_its_notes_too(tmp_path):
    end = "error = OSError(28, 'No space left'); error.add_note('9 bytes are free'); raise error"
    command = [sys.executable, "-c", JOB + end, tmp_path / "score.log"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    assert "failed: OSError: [Errno 28] No space left 9 bytes are free" in said and "Traceback" not in said
    assert "Traceback" in (tmp_path / "score.log").read_text()


def test_own_failures_come_before_shared_ones_and_name_the_log(tmp_path):
    own, shared, absent = (tmp_path / f"{name}.log" for name in ("distill", "write_cot_easy", "check_pair"))
    assert failures.why([], [absent]) == "it was not started"
    job(shared, "raise ValueError('too few')")
    assert failures.why([], [shared, absent]) == f"write_cot_easy failed: ValueError: too few; read {shared}"
    job(own, "pass")
    assert "write_cot_easy failed" in failures.why([own], [shared])
    job(own, "raise ValueError('no right answer')")
    assert failures.why([own], [shared]) == f"distill failed: ValueError: no right answer; read {own}"
    job(own, "pass")
    os.remove(shared)
    assert failures.why([own], [shared]) == f"its last step was distill, which did not fail; read {own}"


def test_a_step_at_work_has_not_failed(tmp_path):
    log = tmp_path / "distill.log"
    with subprocess.Popen([sys.executable, "-c", JOB + "import time; time.sleep(60)", log]) as working:
        while not log.exists():
            assert working.poll() is None
        assert failures.failure(log) is None
        working.send_signal(signal.SIGKILL)
    assert "killed" in failures.failure(log)
