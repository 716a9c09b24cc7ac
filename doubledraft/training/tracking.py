"""Sends losses and metrics to a tracker, where the config asks for one: Weights & Biases, trackio or TensorBoard.

A run is known by its name and by what decides its values, so a training that was killed goes on in the run that it
began, and one with other settings begins a new one. What is sent is numbers, tables and the settings given here: no
code, no files, no facts of the machine. TensorBoard and trackio write to this machine only; W&B sends, unless
WANDB_MODE=offline. Its key is WANDB_API_KEY, from the environment or `.env`.

A training that goes on repeats the steps since its newest checkpoint, with the values of before. W&B ignores a step
that it has; for the other two this module sees to it that each step counts once.
"""

import csv
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from doubledraft import api_keys
from doubledraft.machine import OFFLINE
from doubledraft.provenance import config_hash

WANDB, TRACKIO, TENSORBOARD, NONE = "wandb", "trackio", "tensorboard", "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracker:
    """Where values are sent: the part of the config that says so."""

    to: str = NONE  # wandb | trackio | tensorboard | none
    project: str = "doubledraft"
    entity: str | None = None  # W&B: user or team; None is the key's own


class TrackedRun(Protocol):
    """A run of a tracker that takes values."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Add numbers by name, at a step."""

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Add a table."""

    def close(self) -> None:
        """Wait until all is written or sent."""


@contextmanager
def run(
    tracker: Tracker,
    name: str,
    folder: str | Path,
    identity: object = None,
    settings: Mapping[str, object] | None = None,
) -> Iterator[TrackedRun]:
    """Yield a run; what a tracker writes for itself goes below `folder`, except trackio's (see TRACKIO_DIR).

    `identity` holds plain values: an equal name and identity continue the same run. `settings` are shown with it. Raise
    api_keys.MissingKey where W&B has no key.
    """
    kinds = {WANDB: _Wandb, TRACKIO: _Trackio, TENSORBOARD: _TensorBoard, NONE: _NotTracked}
    tracked = kinds[tracker.to](tracker, name, Path(folder), config_hash([name, identity])[:8], dict(settings or {}))
    try:
        yield tracked
    finally:
        tracked.close()


class _NotTracked:
    def __init__(self, *_: object) -> None: ...

    def log(self, values: Mapping[str, float], step: int) -> None: ...

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None: ...

    def close(self) -> None: ...


class _Wandb:
    def __init__(self, tracker: Tracker, name: str, folder: Path, id: str, settings: dict[str, object]) -> None:
        import wandb

        offline = os.environ.get("WANDB_MODE") in ("offline", "disabled")
        private = {
            "disable_code": True,
            "disable_git": True,
            "x_disable_meta": True,
            "x_disable_stats": True,
            "host": "",
        }
        of_client = wandb.Settings(
            api_key=None if offline else str(api_keys.key(WANDB)),
            silent=True,
            console="off",
            save_code=False,
            x_save_requirements=False,
            **private,
        )
        folder.mkdir(parents=True, exist_ok=True)
        self._wandb = wandb
        self._run = wandb.init(
            project=tracker.project,
            entity=tracker.entity,
            name=name,
            id=f"{re.sub('[^A-Za-z0-9_-]', '-', name)}-{id}",
            resume="allow",
            dir=str(folder),
            config=settings,
            settings=of_client,
        )

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        self._run.log({name: self._wandb.Table(columns=list(columns), data=[list(map(str, row)) for row in rows])})

    def close(self) -> None:
        self._run.finish()


class _Trackio:
    """Skips the steps that its run has, of which trackio would keep both."""

    def __init__(self, tracker: Tracker, name: str, folder: Path, id: str, settings: dict[str, object]) -> None:
        os.environ.update(OFFLINE)  # where there is a token of the hub, trackio would ask the hub whose it is
        import trackio
        from trackio.sqlite_storage import SQLiteStorage

        self._trackio = trackio
        quiet = {"embed": False, "auto_log_gpu": False, "auto_log_cpu": False}
        name = f"{name}-{id}"
        self._run = trackio.init(project=tracker.project, name=name, resume="allow", config=settings, **quiet)
        last = SQLiteStorage.get_max_step_for_run(tracker.project, name)
        self._last_step = -1 if last is None else last

    def log(self, values: Mapping[str, float], step: int) -> None:
        if step > self._last_step:
            self._run.log(dict(values), step=step)
            self._last_step = step

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        import pandas

        self._run.log({name: self._trackio.Table(dataframe=pandas.DataFrame(rows, columns=list(columns)))})

    def close(self) -> None:
        self._trackio.finish()


class _TensorBoard:
    """Writes below `folder`/tensorboard, which outlives the checkpoints of a training.

    The file begins with the first step that is logged, from which on TensorBoard forgets what earlier files have.
    """

    def __init__(self, tracker: Tracker, name: str, folder: Path, id: str, settings: dict[str, object]) -> None:
        self._folder = folder / "tensorboard" / f"{name.rpartition('/')[2]}-{id}"
        self._settings = {} if self._folder.exists() else settings
        self._writer = None

    def _begun(self, step: int | None = None):
        from torch.utils.tensorboard import SummaryWriter

        if not self._writer:
            self._writer = SummaryWriter(str(self._folder), purge_step=step)
            if self._settings:
                self.table("settings", ("setting", "value"), list(self._settings.items()))
        return self._writer

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._begun(step).add_scalar(name, value, step)

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        lines = [list(columns), ["---"] * len(columns), *rows]
        self._begun().add_text(name, "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines))

    def close(self) -> None:
        if self._writer:
            self._writer.close()


def send_metrics(path: str | Path, report_to: Mapping[str, str | None], name: str, folder: str | Path) -> None:
    """Send a cell's metrics.json as a run of their own; `report_to` holds the fields of a Tracker."""
    values = intervals(json.loads(Path(path).read_text(encoding="utf-8")))
    with run(Tracker(**report_to), name, folder, values) as tracked:
        tracked.log(values, 0)


def send_table(path: str | Path, report_to: Mapping[str, str | None], name: str, folder: str | Path) -> None:
    """Send a CSV table as a run of its own; `report_to` holds the fields of a Tracker."""
    with open(path, encoding="utf-8", newline="") as file:
        columns, *rows = csv.reader(file)
    with run(Tracker(**report_to), name, folder, rows) as tracked:
        tracked.table(Path(path).stem, columns, rows)


def intervals(metrics: object, path: str = "") -> dict[str, float]:
    """Return the values of a metrics file that have an interval, by their path: `speculation/acceptance_rate`."""
    if not isinstance(metrics, Mapping):
        return {}
    if {"value", "low", "high", "n"} <= metrics.keys():
        return {path: float(metrics["value"])}
    values: dict[str, float] = {}
    for name, value in metrics.items():
        values |= intervals(value, f"{path}/{name}" if path else str(name))
    return values
