"""The start of every job of the workflow: it takes its lock and redirects its output to its log."""

import logging
import os
import sys
import types
from pathlib import Path

from doubledraft.escaping import visible
from doubledraft.log import OneLine, error_text, log
from doubledraft.workflow import locks, times


def log_to(path: str | Path) -> None:
    """Redirect all output of this process and its children to `path`, the package's log to the terminal too.

    A job calls this first. It then holds the lock beside its log until it ends, so that no other process makes the same
    files; raise locks.Busy where one does.
    """
    locks.hold(locks.of_job(path))
    times.record_at_exit(path)
    terminal = os.fdopen(os.dup(sys.stderr.fileno()), "w")
    with open(path, "w") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    formatter = _Plain("%(asctime)s %(message)s", "%H:%M:%S")
    for handler in (logging.StreamHandler(sys.stderr), OneLine(terminal)):
        handler.setFormatter(formatter)
        log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    sys.excepthook = _report_uncaught


def _report_uncaught(kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
    """Report an uncaught exception: the traceback goes to the log, and the error as one line to the terminal too."""
    sys.__excepthook__(kind, error, trace)
    log.error("failed: %s", error_text(error))  # as doubledraft.workflow.failures reads it


class _Plain(logging.Formatter):
    """Escapes control characters, so that untrusted text can neither steer a terminal nor forge a log line."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record)).replace("\n", "\n    ")
