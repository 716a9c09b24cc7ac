"""Run a module of the library in a process of its own, which never outlives the process that wants its result.

An engine wants its environment set before Python starts, keeps memory and threads until its process ends, and starts
processes of its own. So it gets a session for itself: the whole group is killed when the parent is done with it, and
the kernel ends it when the parent dies without a chance to do so.
"""

import ctypes
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from doubledraft.log import log

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def run(module: str, job: dict, environment: dict[str, str]) -> None:
    """Run `python -m module JOB` with more environment variables; raises RuntimeError with its last message on failure.

    The module's log messages come through this process's log, everything else it prints goes to our standard error. The
    environment and the command are logged, so that the run can be repeated by hand.
    """
    root = str(Path(__file__).parents[1])
    environment = environment | {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    command = [sys.executable, "-m", module, json.dumps(job)]
    for name, value in environment.items():
        log.info("export %s=%s", name, shlex.quote(value))
    log.info("%s", shlex.join(command))
    sys.stdout.flush()
    child = subprocess.Popen(
        command,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
        preexec_fn=_die_with(os.getpid()),
    )
    last = ""
    try:
        for line in child.stdout:
            last = line.strip()
            log.info("%s", last)
        status = child.wait()
    finally:
        _kill_group(child.pid)
        child.wait()
        child.stdout.close()
    if status:
        end = f"with exit status {status}" if status > 0 else f"by {signal.Signals(-status).name}"
        hint = "; the system kills so when memory runs out" if status == -signal.SIGKILL else ""
        raise RuntimeError(f"{module} ended {end} after {last!r}{hint}; all it said stands above in the log")


def speak_to_parent() -> None:
    """In the child: send the package's log to the parent, and all else that is printed to standard error.

    Processes that the child starts do not inherit the way to the parent, so they cannot keep it waiting.
    """
    to_parent = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1, encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    log.addHandler(logging.StreamHandler(to_parent))
    log.setLevel(logging.INFO)
    log.propagate = False
    if os.getpgrp() == os.getpid():  # a session of our own: take the processes that we started along
        signal.signal(signal.SIGTERM, lambda *_: os.killpg(0, signal.SIGKILL))


def _die_with(parent: int) -> Callable[[], None]:
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def tie() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before we were tied to it
            os._exit(1)

    return tie


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError):  # nobody is left in it
        os.killpg(group, signal.SIGKILL)
