"""A module in a process of its own, which answers over a pipe."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from doubledraft import process

CODE = """
import os, subprocess, sys
from doubledraft import process
from doubledraft.log import log

parent = process.Parent()
print("chatter of a library")
log.info("started for %s", os.environ["WHOM"])
for request in parent.requests():
    if request == "helper":
        request = subprocess.Popen(["sleep", "600"]).pid  # as a worker of an engine
    elif request == "hold" and not os.fork():
        import time
        time.sleep(600)  # a fork holds its end of the pipe
    elif request == "kill":
        os.kill(os.getpid(), 9)
    elif isinstance(request, int):
        sys.exit(request)
    log.info("heard %s", request)
    parent.reply([request])
"""


@pytest.fixture
def module(tmp_path, monkeypatch) -> str:
    """Return the name of a module that does what it is told."""
    (tmp_path / "worker_of_a_test.py").write_text(CODE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(logging.getLogger("doubledraft"), "propagate", True)
    return "worker_of_a_test"


@pytest.fixture
def child(module) -> Iterator[process.Child]:
    started = process.Child(module, {"WHOM": "you"})
    yield started
    started.close()


def test_replies_and_log_messages_come_through_and_what_libraries_print_does_not(module, capfd, caplog):
    caplog.set_level(logging.INFO, "doubledraft")
    child = process.Child(module, {"WHOM": "you"})
    for request in ("one", ["two", 3.0]):
        child.send(request)
        assert child.receive() == [request]
    child.close()
    assert "export WHOM=you" in caplog.messages
    assert caplog.messages[-3:] == ["started for you", "heard one", "heard ['two', 3.0]"]
    assert "chatter of a library" in capfd.readouterr().err


def test_a_child_that_waits_uses_no_core(child):
    def ticks() -> int:
        return sum(map(int, Path(f"/proc/{child.pid}/stat").read_text().rsplit(")")[1].split()[11:13]))

    child.send("ready")
    child.receive()
    before = ticks()
    time.sleep(0.5)
    assert ticks() - before <= 1, "hundredths of a second"


def test_all_that_the_child_started_ends_with_it(module):
    child = process.Child(module, {"WHOM": "you"})
    child.send("helper")
    [helper] = child.receive()
    assert state(helper) in "RSD"
    child.close()
    wait_until(lambda: state(helper) in "Z-")


def state(pid: int) -> str:
    """Return the state of a process as Linux writes it: Z is a zombie; - once it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")")[1].split()[0]
    except FileNotFoundError:
        return "-"


def wait_until(condition) -> None:
    end = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@pytest.mark.parametrize("holds", [False, True])
@pytest.mark.parametrize(
    ("end", "reported"), [(3, "exit status 3 after 'heard"), ("kill", "by SIGKILL after 'heard.*memory runs out")]
)
def test_the_end_of_the_child_is_an_error_with_its_last_message(child, end, reported, holds: bool):
    child.send("hold" if holds else "ready")
    child.receive()
    child.send(end)
    with pytest.raises(RuntimeError, match=reported):
        child.receive()


def test_a_child_imports_the_library_and_nothing_of_the_folder_that_it_is_started_in(tmp_path):
    (tmp_path / "random.py").write_text("raise SystemExit('not this one')\n")
    command = [sys.executable, "-c", "import random, doubledraft"]
    subprocess.run(command, cwd=tmp_path, env=os.environ | process.import_path(), check=True)
