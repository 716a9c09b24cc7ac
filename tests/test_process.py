"""A module in a process of its own."""

import logging

import pytest

from doubledraft import process

CODE = """
import json, os, subprocess, sys
from doubledraft import process
from doubledraft.runtime import log

process.speak_to_parent()
job = json.loads(sys.argv[1])
print("chatter of a library")
log.info("answered %d of 7, for %s", job["done"], os.environ["WHOM"])
if job["helper"]:
    subprocess.Popen(["sleep", "600"])  # outlives its parent, as a worker of an engine might
if job["end"] == "kill":
    os.kill(os.getpid(), 9)
sys.exit(job["end"])
"""


@pytest.fixture
def module(tmp_path, monkeypatch) -> str:
    """Give the name of a module that does what its job says."""
    (tmp_path / "worker_of_a_test.py").write_text(CODE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "worker_of_a_test"


def test_messages_come_through_and_chatter_does_not(module, caplog, capfd):
    with caplog.at_level(logging.INFO, "doubledraft"):
        process.run(module, {"done": 3, "helper": False, "end": 0}, {"WHOM": "you"})
    assert "answered 3 of 7, for you" in caplog.messages
    assert "export WHOM=you" in caplog.messages, "the run can be repeated by hand"
    assert not any("chatter" in message for message in caplog.messages)
    assert "chatter of a library" in capfd.readouterr().err


def test_a_process_left_by_the_child_neither_outlives_it_nor_keeps_us_waiting(module):
    process.run(module, {"done": 3, "helper": True, "end": 0}, {"WHOM": "you"})


@pytest.mark.parametrize(
    ("end", "said"), [(3, "exit status 3 after 'answered 3 of 7"), ("kill", "by SIGKILL.*memory runs out")]
)
def test_failure_names_how_it_ended_and_the_last_message(module, end, said):
    with pytest.raises(RuntimeError, match=said):
        process.run(module, {"done": 3, "helper": False, "end": end}, {"WHOM": "you"})
