"""Finds why a result is missing, from the logs of the jobs that lead to it and from the locks beside them.

A job that fails writes the error as the last line of its log (`jobs.log_to`). One that was killed could not, but its
lock file still names it. A job that succeeded leaves neither.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from doubledraft.workflow import locks

TAIL = 8192  # bytes at the end of a log that are searched; the error is the last line
LONGEST = 300  # characters of an error that are shown; the log has it all
LAST_WORDS = re.compile(r"^\d\d:\d\d:\d\d failed: (.*)$", re.MULTILINE)


def why(own_logs: Sequence[str | Path], shared_logs: Sequence[str | Path]) -> str:
    """Return in one sentence why a result is missing, with the log to read.

    `own_logs` are of jobs that serve this result alone, `shared_logs` of jobs that serve others too; both may name logs
    that do not exist.
    """
    own, shared = (sorted(map(Path, paths), key=_written, reverse=True) for paths in (own_logs, shared_logs))
    for log in (*own, *shared):
        if reason := failure(log):
            return f"{log.stem} {reason}; read {log}"
    if last := next((log for log in own if log.exists()), None):
        return f"its last step was {last.stem}, which did not fail; read {last}"
    return "it was not started"


def failure(log: str | Path) -> str | None:
    """Return how the job that wrote a log failed: its error, or that it was killed; None if it did not, or runs."""
    lock = locks.of_job(log)
    if locks.holder(lock):
        return None
    if locks.was_killed(lock):
        return "was killed before it was done"
    errors = LAST_WORDS.findall(_tail(log)) if Path(log).exists() else []
    return f"failed: {errors[-1][:LONGEST]}" if errors else None


def _tail(log: str | Path) -> str:
    with open(log, "rb") as file:
        file.seek(max(0, Path(log).stat().st_size - TAIL))
        return file.read().decode(errors="replace")


def _written(log: Path) -> float:
    return log.stat().st_mtime if log.exists() else 0
