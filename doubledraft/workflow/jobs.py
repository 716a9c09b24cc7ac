"""What every job of the workflow does first: it takes its lock, and sends what it prints to its log."""

import logging
import os
import sys
import types
from pathlib import Path

from doubledraft.escaping import visible
from doubledraft.log import error_text, log
from doubledraft.workflow import locks


def log_to(path: str | Path) -> None:
    """Send all that this process and its children print to `path`, and the package's messages to the terminal too.

    The first thing that a job does: it holds the lock beside its log from here to its end, so that no other process can
    make the same files meanwhile; raises locks.Busy where one does.
    """
    locks.hold(locks.of_job(path))
    terminal = os.fdopen(os.dup(sys.stderr.fileno()), "w")
    with open(path, "w") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    formatter = _Plain("%(asctime)s %(message)s", "%H:%M:%S")
    for stream in (sys.stderr, terminal):
        handler = logging.StreamHandler(stream)
        handler.setFormatter(formatter)
        log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    sys.excepthook = _say_last


def _say_last(kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
    """End a job that failed: the traceback goes to the log, the error itself to the terminal too."""
    sys.__excepthook__(kind, error, trace)
    log.error("failed: %s", error_text(error))  # as doubledraft.workflow.failures reads it


class _Plain(logging.Formatter):
    """Shows text of models and files as text: it cannot colour the terminal, nor look like a line of the log."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record)).replace("\n", "\n    ")
