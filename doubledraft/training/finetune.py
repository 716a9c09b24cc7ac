"""Training of the target and of the draft: the one door, from rows to an adapter; one path for CPU and GPU.

The rows come encoded (`rows.py`), so the trainer does not choose the tokens that count in the loss. Checkpoints are
kept outside the output folder (`checkpoints.py`), so that a killed run continues; the adapter and the loss curve appear
when complete.
"""

import csv
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from doubledraft import prompts
from doubledraft.engine.draft_vocabulary import learn_from_files
from doubledraft.files import whole_directory, whole_file
from doubledraft.log import log
from doubledraft.machine import OFFLINE
from doubledraft.models.folder import sha256
from doubledraft.models.safety import refuse_unsafe
from doubledraft.records import Generation, Question, Trace, read_records
from doubledraft.training import tracking
from doubledraft.training.checkpoints import folder_of_run
from doubledraft.training.draft_run import DraftRun
from doubledraft.training.rows import TrainingError, rows_from_generations, rows_from_traces
from doubledraft.training.run import TrainingRun
from doubledraft.training.tracking import Tracker

NO_SETTINGS = ("rows", "out", "run", "checkpoints", "loss_csv")  # arguments of train() that decide no weights
CSV_COLUMNS = ("step", "epoch", "loss", "learning_rate")


def train_target(*, base, traces, prompt, out, **settings) -> None:
    """Train the target's adapter on a trace file, with the prompt of the benchmark; settings as in `train`."""
    rows = rows_from_traces(read_records(traces, Trace), prompts.load(prompt))
    train(base, rows, out, **settings)


def train_draft(*, base, distilled, questions, prompt, out, draft_vocabulary: int | None = None, **settings) -> None:
    """Train the draft's adapter on the trained target's own answers; settings as in `train`.

    It learns to choose among the `draft_vocabulary` most frequent tokens of these answers, which are those that it will
    propose; None for all.
    """
    generations = read_records(distilled, Generation)
    rows = rows_from_generations(generations, read_records(questions, Question), prompts.load(prompt))
    allowed = learn_from_files([distilled], draft_vocabulary) if draft_vocabulary else None
    train(base, rows, out, run=DraftRun, allowed_tokens=allowed, **settings)


def train(
    base: str | Path,
    rows: Sequence[dict],
    out: str | Path,
    *,
    run: type[TrainingRun] = TrainingRun,
    checkpoints: str | Path,
    loss_csv: str | Path,
    learning_rate: float,
    epochs: int,
    rank: int,
    alpha: int,
    batch: int,
    accumulate: int,
    max_length: int,
    seed: int,
    dtype: str = "bfloat16",
    computing_dtype: str = "auto",
    load_in_4bit: bool = False,
    update: str = "lora",
    method: str = "sft",
    loss: str = "ce",
    weights: str = "none",
    lmbda: float = 0.0,
    held_out: int = 0,
    steps: int | None = None,
    allowed_tokens: Sequence[int] | None = None,
    target: str | Path | None = None,
    start: str | Path | None = None,
    report_to: Mapping[str, str | None] | None = None,
    run_name: str | None = None,
) -> None:
    """Train `base` on `rows`; write an adapter to `out` with `training.json`, and the loss as a table.

    `run` is `DraftRun` for a draft, without which `method` distill and `held_out` are refused.
    `checkpoints` is a folder of this run alone, removed when all is written. A step sees batch * accumulate rows.
    `start` is a folder with weights of the base's shapes to begin from; the adapter is of the base all the same.
    `steps` of the optimiser, where given, end the training in place of `epochs`. `allowed_tokens`, ascending ids, are
    those among which a draft chooses: its softmax is over them, and labels of other tokens do not count.
    `target` is the folder of the merged target, which `method` distill learns from, and with which `held_out` rows are
    decoded to choose a checkpoint. `report_to` holds the fields of a `Tracker`, which gets losses as the run
    `run_name`. The other arguments are the keys of `train` in config/schema.yaml.
    """
    settings = {name: value for name, value in locals().items() if name not in NO_SETTINGS}
    settings["start"] = start = start or base
    tracker = Tracker(**(report_to or {}))
    settings["report_to"] = tracker.to
    _check(settings, run)
    for model in {base, start, target} - {None}:
        refuse_unsafe(model)  # not `inspect`: unsloth must be imported before transformers, and fetch has inspected it
    folder = folder_of_run(Path(checkpoints), _identity(settings, rows))
    logs = Path(loss_csv).parent / "logs"
    with (
        tempfile.TemporaryDirectory(prefix="unsloth.") as compiled,
        tracking.run(tracker, run_name or Path(out).name, logs, folder.name) as tracked,
    ):
        _set_switches(compiled)
        training = run(settings, rows, folder, tracked)
        losses = training.finish()
    if not all(math.isfinite(entry["loss"]) for entry in losses):
        raise TrainingError(f"the loss of {out} is not a number any more; lower learning_rate = {learning_rate:g}")
    _write_losses(loss_csv, losses)
    with whole_directory(out) as adapter:
        training.save(adapter)
    log.info("trained %s: %s", out, training.facts)
    shutil.rmtree(checkpoints)


def _identity(settings: dict, rows: Sequence[dict]) -> dict:
    """Return what decides the weights, and so whose checkpoints may be continued; where losses are sent does not."""
    deciding = {name: value for name, value in settings.items() if name not in ("report_to", "run_name")}
    folders = {name: _fingerprint(settings[name]) for name in ("base", "start", "target") if settings.get(name)}
    return {**deciding, **folders, "rows": list(rows)}


def _fingerprint(folder: str | Path) -> str:
    manifest = Path(folder) / "manifest.json"  # lists the digest of every file
    return sha256(manifest if manifest.exists() else Path(folder) / "config.json")


def _check(settings: dict, run: type[TrainingRun]) -> None:
    import torch

    if settings["load_in_4bit"] and not torch.cuda.is_available():
        raise TrainingError(
            "train.load_in_4bit needs a GPU, and torch sees none here; set it to false to train in 16 or 32 bits"
        )
    needs_target = settings["method"] == "distill" or settings["held_out"]
    if needs_target and (run is TrainingRun or not settings["target"]):
        raise TrainingError(
            "method distill and held_out rows are for a draft and need the merged target: run=DraftRun, and `target`"
        )


def _set_switches(compiled: str) -> None:
    """Set what unsloth and the hub client read when imported; unsloth writes code to `compiled`, not the cwd."""
    switches = {**OFFLINE, "UNSLOTH_COMPILE_LOCATION": compiled, "TRL_EXPERIMENTAL_SILENCE": "1"}
    os.environ.update(switches)
    # unsloth tries whether vLLM's extension loads. On CPU it is built for AVX-512, and other processors end the process
    # with an illegal instruction (vLLM itself picks another file there). None makes it a module that is not installed.
    sys.modules.setdefault("vllm._C", None)
    log.info("environment of the training: %s", switches)


def _write_losses(path: str | Path, losses: Sequence[dict]) -> None:
    with whole_file(path) as file:
        table = csv.DictWriter(file, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(losses)
