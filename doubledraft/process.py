"""Runs a module of the library in a child process, which answers over a pipe and never outlives its parent.

An engine needs its environment set before Python starts, keeps memory and threads until its process ends, and starts
processes of its own. So it runs in a session of its own: the parent kills the whole group when it is done, and the
kernel terminates the child when the parent is killed.
"""

import ctypes
import logging
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path

from doubledraft.log import MARK, log

PR_SET_PDEATHSIG = 1  # linux/prctl.h
LOG, PROGRESS, REPLY = "log", "progress", "reply"  # kinds of messages from the child


def import_path() -> dict[str, str]:
    """Return the environment variables by which a child process imports this library, wherever it is started.

    Nothing is imported from the folder that it is started in: a `random.py` there is not Python's.
    """
    root = str(Path(__file__).parents[1])
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])),
        "PYTHONSAFEPATH": "1",
    }


class Child:
    """`python -m module` with more environment variables, and a pipe to it; `close` kills all that it started.

    The module's log messages appear in this process's log while it waits for a reply; everything else that it prints
    goes to our standard error.
    """

    def __init__(self, module: str, environment: dict[str, str]) -> None:
        """Start the process, without waiting for it; the environment is logged."""
        environment = environment | import_path()
        for name, value in environment.items():
            log.info("export %s=%s", name, shlex.quote(value))
        self._pipe, theirs = Pipe()
        self._module, self._last = module, ""
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-m", module, str(theirs.fileno())],  # unbuffered: it is killed in the end
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=2,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
            preexec_fn=die_with(os.getpid()),
        )
        theirs.close()
        self._end = os.pidfd_open(self._process.pid)  # a fork of the child may hold its end of the pipe open

    @property
    def pid(self) -> int:
        """Process id of the child, which is that of its group."""
        return self._process.pid

    def send(self, value: object) -> None:
        """Send a value, which is pickled."""
        with suppress(BrokenPipeError):  # `receive` raises with the reason
            self._pipe.send(value)

    def receive(self) -> object:
        """Wait for the next reply and return it; raise RuntimeError with the last log message if the child ends."""
        while self._pipe in wait([self._pipe, self._end]):
            try:
                kind, value = self._pipe.recv()
            except (EOFError, ConnectionResetError):
                break
            if kind == REPLY:
                return value
            self._last = value
            log.info("%s", value, extra={MARK: kind == PROGRESS})
        raise RuntimeError(f"{self._module} ended {self._how()}; what it printed is in the log above")

    def _how(self) -> str:
        status = self._process.wait()
        end = f"with exit status {status}" if status >= 0 else f"by {signal.Signals(-status).name}"
        hint = "; the system does this when memory runs out" if status == -signal.SIGKILL else ""
        return f"{end} after {self._last!r}{hint}"

    def close(self) -> None:
        """Kill the child and its group, unless they have ended."""
        with suppress(ProcessLookupError):  # the group has ended
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._pipe.close()
        os.close(self._end)


class Parent:
    """The child's end of the pipe to its parent, to which the package's log goes too."""

    def __init__(self) -> None:
        """Take the pipe named on the command line, which processes started from here do not inherit."""
        self._pipe = Connection(int(sys.argv[1]))
        os.set_inheritable(self._pipe.fileno(), False)
        log.addHandler(_ToParent(self._pipe))
        log.setLevel(logging.INFO)
        log.propagate = False
        if os.getpgrp() == os.getpid():  # a session of our own: take the processes that we started along
            signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))

    def requests(self) -> Iterator[object]:
        """Yield what the parent sends, until it closes the pipe."""
        while True:
            try:
                request = self._pipe.recv()
            except EOFError:
                return
            yield request

    def reply(self, value: object) -> None:
        """Send a reply to the parent."""
        self._pipe.send((REPLY, value))


class _ToParent(logging.Handler):
    def __init__(self, pipe: Connection) -> None:
        super().__init__()
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        self._pipe.send((PROGRESS if getattr(record, MARK, False) else LOG, self.format(record)))


def die_with(parent: int) -> Callable[[], None]:
    """Return what a new process calls first, so that the kernel terminates it when its parent is killed."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def tie() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before we were tied to it
            os._exit(1)

    return tie
