"""How long the steps of a study took: recorded as they end, and from that how long a run will take.

A job appends a line to results/logs/times.csv when it ends. A later run is estimated from the last time of the same
step of the same cell, else from the mean of that step in other cells. Before anything was timed, REFERENCE stands in,
scaled by how fast this machine multiplies matrices: it holds for the models of the default study only, and roughly.
"""

import atexit
import csv
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from doubledraft.log import duration

FILE = "logs/times.csv"  # below results/
COLUMNS = ("step", "of", "started", "seconds", "outcome")
DONE, FAILED = "done", "failed"
REFERENCE_SPEED = 287  # `speed` of the machine of REFERENCE: one core with AVX2, other work on the other core
REFERENCE = {  # seconds there of the longer steps of the default study, cod_hard
    "fetch_model_smollm2-135m": 56,
    "prune_model_smollm2-135m-4l": 9,
    "train_target": 905,
    "merge_target": 24,
    "merge_distill": 21,
    "merge_teacher": 26,
    "distill": 877,
    "train_draft": 1019,
    "merge_draft": 13,
    "time_arms": 200,
    "audit_draft": 93,
    "score": 7,
    "view_cell": 7,
}


@dataclass(frozen=True, slots=True)
class Timed:
    """A job that ended: its step, and the cell that it was for ("" where it served all)."""

    step: str
    of: str
    started: float  # seconds since 1970
    seconds: float
    outcome: str


def step_of(log: str | Path) -> tuple[str, str]:
    """Return the step and the cell whose log this is: results/cod_hard/logs/score.log is score of cod_hard."""
    path = Path(log)
    return path.stem, path.parent.parent.name if path.parent.parent.name != "results" else ""


def record_at_exit(log: str | Path) -> None:
    """Append how long this process took to times.csv when it ends; a process that is killed leaves no line."""
    root = next((folder for folder in Path(log).absolute().parents if folder.name == "results"), None)
    if root is None:  # not a job of a study
        return
    began, started, (step, of) = time.monotonic(), time.time(), step_of(log)

    def append() -> None:
        file = root / FILE
        file.parent.mkdir(parents=True, exist_ok=True)
        outcome = FAILED if hasattr(sys, "last_value") else DONE  # set by an exception that nothing caught
        values = (step, of, f"{started:.0f}", f"{time.monotonic() - began:.1f}", outcome)
        heading = "" if file.exists() else ",".join(COLUMNS) + "\n"
        with open(file, "a", encoding="utf-8") as out:  # one short write, which two jobs cannot mix
            out.write(f"{heading}{','.join(values)}\n")

    atexit.register(append)


def read(results: str | Path) -> list[Timed]:
    """Return what was timed in a results folder, oldest first; lines that are cut are left out."""
    path = Path(results) / FILE
    if not path.exists():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["outcome"] in (DONE, FAILED)]  # None in a line that is cut
    return [Timed(row["step"], row["of"], float(row["started"]), float(row["seconds"]), row["outcome"]) for row in rows]


def estimate(jobs: Iterable[tuple[str, str]], timed: Sequence[Timed]) -> tuple[float, int]:
    """Return the seconds that jobs (step, cell) took before, one after the other, and how many never ran here."""
    last = {(job.step, job.of): job.seconds for job in timed if job.outcome == DONE}
    total, unknown = 0.0, 0
    for step, of in jobs:
        same = [seconds for (other, _), seconds in last.items() if other == step]
        if same:
            total += last.get((step, of), fmean(same))
        else:
            unknown += 1
    return total, unknown


def forecast(logs: Iterable[str], results: str | Path, default_models: bool) -> str | None:
    """Return in one sentence how long the jobs that write `logs` will take; None where nothing can be said.

    `default_models` tells whether REFERENCE holds for the study.
    """
    jobs = [step_of(log) for log in logs]
    timed = read(results)
    total, unknown = estimate(jobs, timed)
    if not timed and default_models:
        known = [REFERENCE[step] for step, _ in jobs if step in REFERENCE]
        if known:
            seconds = sum(known) * REFERENCE_SPEED / speed()
            return (
                f"{len(jobs)} steps; the {len(known)} whose time is known for this study take roughly "
                f"{duration(seconds)}, by a measurement of this machine's speed"
            )
    if unknown == len(jobs):
        return f"{len(jobs)} steps; how long they take is not known, as none has run in this folder yet"
    rest = f", and {unknown} that have not run here yet" if unknown else ""
    return f"{len(jobs)} steps, about {duration(total)} by their last times here{rest}"


def summary(results: str | Path, since: float) -> str | None:
    """Return in one sentence what each step took that started after `since`; None where none did."""
    ended = [job for job in read(results) if job.started >= since - 1]
    if not ended:
        return None
    longest = sorted(ended, key=lambda job: -job.seconds)[:5]
    steps = ", ".join(f"{job.step}{f' of {job.of}' if job.of else ''} {duration(job.seconds)}" for job in longest)
    more = f"; {len(ended) - len(longest)} shorter ones" if len(ended) > len(longest) else ""
    return f"The longest steps: {steps}{more}. All are in {Path(results) / FILE}."


def speed(seconds: float = 2.0) -> float:
    """Measure for `seconds` how many products of two 512 x 512 float32 matrices this machine makes a second."""
    import numpy as np

    matrix = np.ones((512, 512), np.float32)
    deadline, count = time.monotonic() + seconds, 0
    began = time.monotonic()
    while time.monotonic() < deadline:
        matrix @ matrix
        count += 1
    return count / (time.monotonic() - began)
