"""Break real runs of the workflow at chosen moments, and hold what the next run makes against an uninterrupted one.

A run is Snakemake's command line on the project's own Snakefile, in a process group of its own. `fault_hook` stops one
of its processes at a moment of its writing; from outside it is then killed, starved of disk or let go on.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOOK = Path(__file__).parent / "fault_hook"
PATIENCE = 1800  # seconds until a run must have come to its fault, or to its end; machines that test are busy
NOT_COMPARED = (".snakemake_timestamp", ".lock", ".log", "times.csv")  # ends of names
IN_PROGRESS = {"checkpoints", "progress"}  # folders of what steps continue from; a kill in the last moment leaves them
VOLATILE = {  # keys of JSON whose values are times, or say where and when something was made
    "provenance",
    "seconds",
    "evaluation_seconds",
    "wall_seconds",
    "step_seconds",
    "peak_memory_gib",
    "read_bytes_per_second",
    "batch_seconds",
    "time_to_first_token",
    "latency",
    "environment",
}


@dataclass(frozen=True)
class Ended:
    """How a run ended: its exit code and all it printed."""

    code: int
    text: str


class Run:
    """One run of Snakemake in a folder, stopped at `fault` ("moment path", see fault_hook) where one is given."""

    def __init__(self, folder: Path, *arguments: str, fault: str | None = None, **environment: str) -> None:
        self.folder, self.fault = folder, fault
        self.sign = Path(tempfile.mkdtemp(prefix="fault.")) / "held"
        if fault:
            moment, path = fault.split(" ", 1)
            environment |= {"FAULT": f"{moment} {folder / path}", "FAULT_SIGN": str(self.sign)}
        paths = [str(HOOK), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.output = tempfile.TemporaryFile()  # noqa: SIM115 (read when the run has ended)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--directory", folder, "--cores", "1", *arguments],
            cwd=ROOT,
            env=os.environ | environment | {"PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def held(self) -> int:
        """Wait until a process of the run stops at the fault; return its id."""
        deadline = time.monotonic() + PATIENCE
        while not self.sign.exists() or not self.sign.read_text():
            if self.process.poll() is not None:
                raise AssertionError(f"the run ended and never came to {self.fault}:\n{self.said()[-3000:]}")
            assert time.monotonic() < deadline, f"the run did not come to {self.fault}:\n{self.said()[-3000:]}"
            time.sleep(0.05)
        return int(self.sign.read_text())

    def kill(self) -> None:
        """Kill the whole process group at the fault, and wait until nobody of the run lives."""
        job = self.held()
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        ended(job)
        self.release()

    def kill_scheduler(self) -> None:
        """Kill Snakemake alone; the job stays where it is held."""
        self.process.kill()
        self.process.wait()

    def release(self) -> None:
        """Let the held process go on."""
        self.sign.unlink()

    def end(self) -> Ended:
        """Wait for the end of the run."""
        return Ended(self.process.wait(PATIENCE), self.said())

    def said(self) -> str:
        """Return what the run has printed."""
        size = os.fstat(self.output.fileno()).st_size
        return os.pread(self.output.fileno(), size, 0).decode(errors="replace")  # a seek would move the writers too


def ended(process: int) -> None:
    """Wait until a process, of whomever it is a child, is gone."""
    deadline = time.monotonic() + PATIENCE
    with suppress(ProcessLookupError, FileNotFoundError):
        while Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < deadline, f"process {process} does not end"
            time.sleep(0.05)


def run(folder: Path, *arguments: str, **environment: str) -> Ended:
    """Run Snakemake in a folder to its end."""
    return Run(folder, *arguments, **environment).end()


def tree(folder: Path, volatile: set[str]) -> dict[str, str]:
    """Return the digest of every file of results and data; what is measured in time does not count."""
    files = (path for name in ("data", "results") for path in sorted((folder / name).rglob("*")) if path.is_file())
    made = (path for path in files if not path.name.endswith(NOT_COMPARED) and not IN_PROGRESS & set(path.parts))
    return {str(path.relative_to(folder)): _digest(path, volatile) for path in made}


def differences(first: Path, second: Path, volatile: set[str] = VOLATILE) -> list[str]:
    """Name the files in which two folders differ in more than volatile keys, or that one of them lacks."""
    one, other = tree(first, volatile), tree(second, volatile)
    return sorted(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))


def half_written(folder: Path) -> list[str]:
    """Name what a killed writer left, hidden, beside the place where it would have gone."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*.partial")]


def _digest(path: Path, volatile: set[str]) -> str:
    if path.suffix == ".json":
        return json.dumps(_steady(json.loads(path.read_text()), volatile), sort_keys=True)
    if path.suffix == ".jsonl":
        lines = path.read_text().rstrip("\n").split("\n")
        return "\n".join(json.dumps(_steady(json.loads(line or "null"), volatile), sort_keys=True) for line in lines)
    return sha256(path.read_bytes()).hexdigest()


def _steady(value: object, volatile: set[str]) -> object:
    if isinstance(value, dict):
        return {key: _steady(item, volatile) for key, item in value.items() if key not in volatile}
    return [_steady(item, volatile) for item in value] if isinstance(value, list) else value


@contextmanager
def small_disk(folder: Path, megabytes: int):
    """Mount a disk of this size at a folder; PermissionError where this user may not mount."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        raise PermissionError(mounted.stderr.decode().strip() or "this user may not mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(disk: Path) -> Path:
    """Take all that is free on a disk; return the file whose removal gives it back."""
    ballast = disk / "ballast"
    with open(ballast, "wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    return ballast
