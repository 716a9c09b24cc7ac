"""Stop a process at a moment of its writing that a test has chosen.

Python imports this at its start where the folder is on PYTHONPATH. An audit hook sees every file that is opened or
renamed, whoever does it, so the product needs to know nothing of tests. FAULT is "moment path"; a folder may be `*`:

    open PATH   when PATH, or the hidden file or folder that will become it, is first opened to be written
    torn PATH   when PATH is about to be named, half of what was written for it lost
    done PATH   when PATH has just been named, before anything else happens

At that moment the process writes its id to the file FAULT_SIGN, and waits until that file is gone: the test kills it,
or fills the disk, or lets it go on. FAULT_RECORD is a file that gets a line "log path" for every file that a job, known
by its log, has written and names.
"""

import os
import sys
import time
from fnmatch import fnmatch
from pathlib import Path

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def stop_at(moment: str, path: str, sign: str) -> None:
    """Wait at the moment, once."""
    final = Path(path)
    partial = final.with_name(f".{final.name}.partial")
    state = "armed"

    def hook(event: str, arguments: tuple) -> None:
        nonlocal state
        if state == "renamed":
            wait()
        elif state == "armed" and event == "os.rename" and moment != "open" and same(arguments[1], final):
            if moment == "done":
                state = "renamed"
            else:
                state = "over"
                tear(partial)
                wait()
        elif state == "armed" and moment == "open" and begins(event, arguments, final, partial):
            wait()

    def wait() -> None:
        nonlocal state
        state = "over"
        Path(sign).write_text(str(os.getpid()))
        while os.path.exists(sign):
            time.sleep(0.05)

    sys.addaudithook(hook)


def begins(event: str, arguments: tuple, final: Path, partial: Path) -> bool:
    """Tell whether something is first written for a path."""
    writes = event == "os.mkdir" or (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITES)
    return bool(writes) and (same(arguments[0], partial) or same(arguments[0], final))


def same(path: object, other: Path) -> bool:
    """Tell whether a path of an audit event, whatever its type, is the other one."""
    return (
        isinstance(path, str | os.PathLike)
        and Path(path).name == other.name
        and fnmatch(os.path.abspath(path), str(other))
    )


def tear(partial: Path) -> None:
    """Lose the second half of a file, or of the largest file of a folder."""
    files = [path for path in partial.rglob("*") if path.is_file()] if partial.is_dir() else [partial]
    largest = max(files, key=lambda path: path.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)


def record(to: str) -> None:
    """Note the log of the job that this process, or one that it comes from, works for, and every file that it names."""

    def hook(event: str, arguments: tuple) -> None:
        if event == "open" and str(arguments[0]).endswith(".log") and arguments[1] == "w":
            os.environ["FAULT_LOG"] = os.path.relpath(arguments[0])
        elif event == "os.rename" and str(arguments[0]).endswith(".partial") and "FAULT_LOG" in os.environ:
            named = os.path.relpath(arguments[1])
            if not named.startswith(".."):  # what a job makes in a temporary folder is lost with it
                file = os.open(to, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
                os.write(file, f"{os.environ['FAULT_LOG']} {named}\n".encode())
                os.close(file)

    sys.addaudithook(hook)


if "FAULT" in os.environ:
    stop_at(*os.environ["FAULT"].split(" ", 1), os.environ["FAULT_SIGN"])
if "FAULT_RECORD" in os.environ:
    record(os.environ["FAULT_RECORD"])
