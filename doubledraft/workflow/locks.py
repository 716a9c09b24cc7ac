"""Locks of a study's folder: one run at a time, and no run while a job of a killed run is still working.

Every run and job holds a lock (flock) on a small file for as long as its process lives. The kernel releases it however
the process ends, so a held lock proves that its holder is alive. Snakemake's own locks are plain files, which a killed
run leaves behind: they are removed where that run is proven dead, and only there.

Where there is no proof (another machine, jobs on a cluster, a file system without locks), the message tells the user
what to check and which command to run.
"""

import atexit
import errno
import fcntl
import json
import os
import platform
import shutil
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from doubledraft.log import log

PATIENCE = 1.0  # seconds to wait for a lock: a process that only checks it holds it for a moment
BOOT = Path("/proc/sys/kernel/random/boot_id")
UNSUPPORTED = {errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS}


class Busy(RuntimeError):
    """Another process holds the lock; the message names it and says what to do."""


def hold(path: str | Path) -> None:
    """Lock a file until this process ends, and write its id into it; raise Busy naming another holder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        locked = _take(file)
    except OSError as error:
        os.close(file)
        if error.errno not in UNSUPPORTED:
            raise
        log.warning("%s: this file system has no file locks: make sure that no other run uses this folder", path)
        return  # without a note, so that nothing is ever concluded from the file
    if not locked:
        os.close(file)
        raise Busy(f"another process is at work: {_noted(path)} holds {path}; wait for it to end, or stop it with kill")
    process = {"process": os.getpid(), "host": platform.node(), "boot": BOOT.read_text().strip()}
    os.ftruncate(file, 0)
    os.pwrite(file, json.dumps(process | {"since": datetime.now().isoformat(" ", "seconds")}).encode(), 0)
    atexit.register(os.ftruncate, file, 0)  # so a note without a lock means that its process was killed


def of_job(log_file: str | Path) -> Path:
    """Return the lock file of the job that writes a log: a hidden file beside it."""
    return Path(log_file).with_name(f".{Path(log_file).stem}.lock")


def holder(path: str | Path) -> str | None:
    """Return which process holds the lock of a file, as text; None where none does."""
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _noted(path)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
    finally:
        os.close(file)
    return None


def was_killed(path: str | Path) -> bool:
    """Return whether the last holder of a lock, which is free now, was killed."""
    return _note(path) is not None


def run_at_work(run: str | Path) -> str | None:
    """Return a message on the run that is working in the folder; None where none is."""
    if process := holder(run):
        return f"another run is at work in {Path.cwd()}: {process}; wait for it to end, or stop it with kill"
    return None


def jobs_at_work(jobs: Iterable[str | Path]) -> str | None:
    """Return a message on the jobs that are working in the folder; None where none are."""
    holders = [f"{path} ({who})" for path in jobs if (who := holder(path))]
    if not holders:
        return None
    return (
        f"jobs of a run that is gone are still at work in {Path.cwd()}: {', '.join(holders)}; wait for them to end "
        "(their outputs are made again), or stop them with kill"
    )


def clear_dead(run: str | Path, snakemake: str | Path) -> str | None:
    """Remove the locks that a killed run left in Snakemake's folder, if it is proven dead; call it when nothing runs.

    Return a message for the user; None where no run was killed.
    """
    note, locks = _note(run), Path(snakemake, "locks")
    has_locks = locks.is_dir() and any(locks.iterdir())
    unlock = "run `snakemake --unlock` with the same options, then the same command again"
    if not _of_this_machine(note):
        message = f"{locks} was left by {_named(note)}, which cannot be seen from here; if it is dead, {unlock}"
        return message if has_locks else None
    if has_locks and (jobs := _on_cluster(Path(snakemake))):
        return (
            f"the last run here was killed ({_named(note)}), and its jobs {', '.join(jobs)} may still be on the "
            f"cluster: wait for them or cancel them (squeue, scancel); then {unlock}"
        )
    shutil.rmtree(locks, ignore_errors=True)
    _forget(run)
    return f"the last run here was killed ({_named(note)}): what it left unfinished is made again"


def _take(file: int) -> bool:
    """Lock an open file; return False if another process keeps it locked."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)


def _forget(run: str | Path) -> None:
    """Remove the note of a dead run, now reported, unless a new run has locked the file meanwhile."""
    file = os.open(run, os.O_RDWR)
    try:
        if _take(file):
            os.ftruncate(file, 0)
    finally:
        os.close(file)


def _note(path: str | Path) -> dict | None:
    """Return the process noted in a lock file, alive or killed; None where none is noted."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # not held yet, or killed before it was noted
        return None


def _noted(path: str | Path) -> str:
    return _named(_note(path))


def _named(note: dict | None) -> str:
    return "process {process} on {host}, since {since}".format(**note) if note else "an unknown process"


def _of_this_machine(note: dict | None) -> bool:
    """Return whether a run was on this machine, so that its free lock proves its end; a restart ends all runs."""
    return note is not None and (note["boot"] == BOOT.read_text().strip() or note["host"] == platform.node())


def _on_cluster(snakemake: Path) -> list[str]:
    """Return the cluster's ids of jobs that Snakemake submitted and has not seen end."""
    markers = (path for path in (snakemake / "incomplete").rglob("*") if path.is_file())
    ids = [(_note(path) or {}).get("external_jobid") for path in markers]
    return sorted({str(job) for job in ids if job})
