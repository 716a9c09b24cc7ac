"""A long job is one line on a terminal and a few lines in a file."""

import io
import logging
import re

import pytest

from doubledraft import log as log_module
from doubledraft.log import OneLine, Progress, duration, log


class Terminal(io.StringIO):
    """Text that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that stands still, and moves by assignment."""

    class Clock:
        now = 100.0

        def monotonic(self) -> float:
            return self.now

    found = Clock()
    monkeypatch.setattr(log_module, "time", found)
    return found


def show(stream: io.StringIO, clock, steps: int) -> str:
    """Return what 500 steps of a second each, and a message after them, write to a stream."""
    handler = OneLine(stream)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        line = Progress("training", steps, "steps")
        for step in range(1, steps + 1):
            clock.now += 1
            line.show(step, f"loss {1 / step:.2f}")
        log.info("trained")
    finally:
        log.removeHandler(handler)
    return stream.getvalue()


def test_a_terminal_has_one_line_that_says_what_is_done_how_fast_and_how_long_the_rest_takes(clock):
    text = show(Terminal(), clock, 500)
    assert text.count("\n") == 2, "the line of progress, and the message after it"
    shown = text.split("\r\x1b[K")
    assert shown[100] == "training: 101 of 500 steps, 1.0 a second, 6 min 39 s left, loss 0.01"
    assert shown[-1] == "training: 500 of 500 steps, 1.0 a second, in 8 min 20 s, loss 0.00\ntrained\n"


def test_what_is_no_terminal_gets_a_line_now_and_then_and_the_last_one(clock):
    lines = show(io.StringIO(), clock, 500).splitlines()
    assert len(lines) == 500 // 30 + 3 and re.match("training: 31 of 500", lines[1])
    assert lines[-2].startswith("training: 500 of 500 steps") and lines[-1] == "trained"


def test_steps_that_come_fast_are_shown_once_a_second_and_those_done_before_do_not_count_as_speed(clock, caplog):
    caplog.set_level(logging.INFO, "doubledraft")
    line = Progress("timing", 100, "blocks", begun=80)
    for step in range(81, 101):
        clock.now += 0.25
        line.show(step)
    assert [record.message for record in caplog.records] == [
        f"timing: {done} of 100 blocks, 4.0 a second, {left}"
        for done, left in ((81, "5 s left"), (85, "4 s left"), (89, "3 s left"), (93, "2 s left"), (97, "1 s left"))
    ] + ["timing: 100 of 100 blocks, 4.0 a second, in 5 s"]


def test_a_duration_is_written_for_people():
    assert [duration(seconds) for seconds in (0.4, 59, 60, 190, 3600, 7500)] == [
        "0 s",
        "59 s",
        "1 min",
        "3 min 10 s",
        "1 h 0 min",
        "2 h 5 min",
    ]
