"""The package's logger, an error as one line, and one line about a long job.

The line of a long job has what is done, how fast, and how long the rest takes. It is a log message with the mark
`progress`: a terminal shows it in place of the one before, a log file has one every few seconds, however many steps
there are.
"""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

log = logging.getLogger("doubledraft")
MARK = "progress"  # attribute of a log record that may replace the one before it
EVERY = 1.0  # seconds between two lines of one job
EVERY_IN_PIPE = 30.0  # seconds between two lines where nothing can be replaced: a file, a pipe


def error_text(error: BaseException) -> str:
    """Return an error as one line: its class, its message, and the notes that were added to it."""
    words = " ".join([str(error), *getattr(error, "__notes__", [])]).split()
    return f"{type(error).__name__}: {' '.join(words)}"


class Progress:
    """A job of a known number of parts."""

    def __init__(self, what: str, total: int, unit: str, *, begun: int = 0) -> None:
        """Start the clock; `begun` parts were done before, by a job that this one continues."""
        self._what, self._total, self._unit, self._begun = what, total, unit, begun
        self._started, self._shown = time.monotonic(), 0.0

    def show(self, done: int, note: str = "") -> None:
        """Show that `done` of the parts are done; at most one line a second, and always the last."""
        now = time.monotonic()
        if done < self._total and now - self._shown < EVERY:
            return
        self._shown = now
        log.info("%s", self._line(done, now - self._started, note), extra={MARK: done < self._total})

    def _line(self, done: int, seconds: float, note: str) -> str:
        parts = [f"{self._what}: {done} of {self._total} {self._unit}"]
        if (count := done - self._begun) > 0 and seconds > 0:
            speed = count / seconds
            parts.append(f"{speed:.1f} a second" if speed >= 1 else f"{1 / speed:.1f} s each")
            remaining = duration((self._total - done) / speed)
            parts.append(f"{remaining} left" if done < self._total else f"in {duration(seconds)}")
        return ", ".join([*parts, *([note] if note else [])])


def duration(seconds: float) -> str:
    """Return a time for people: 42 s, 3 min 10 s, 2 h 5 min."""
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60} s" if total % 60 else f"{total // 60} min"
    return f"{total // 3600} h {total % 3600 // 60} min"


class OneLine(logging.StreamHandler):
    """Shows progress in one line of a terminal; to anything else it writes a line of progress now and then."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream or sys.stderr)
        self._open, self._written = False, float("-inf")

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; a line of progress replaces the one before it."""
        passing, now = getattr(record, MARK, False), time.monotonic()
        if not self.stream.isatty():
            if not passing or now - self._written >= EVERY_IN_PIPE:
                self._written = now if passing else self._written
                super().emit(record)
            return
        erased, end = "\r\x1b[K" if self._open else "", "" if passing else "\n"
        try:
            self.stream.write(f"{erased}{self.format(record)}{end}")
            self._open = passing
            self.flush()
        except OSError:  # the terminal was closed
            self.handleError(record)


@contextmanager
def progress_shown() -> Iterator[None]:
    """Show on standard error what the package logs in this block: for a command, which has no log file."""
    handler, level = OneLine(), log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
