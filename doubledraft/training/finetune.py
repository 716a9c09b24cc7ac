"""Training of the target and of the draft: from rows to an adapter, the same way on CPU and GPU.

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
from dataclasses import asdict
from pathlib import Path

from doubledraft import prompts
from doubledraft.engine.draft_vocabulary import learn_from_files
from doubledraft.files import whole_directory, whole_file
from doubledraft.log import log
from doubledraft.machine import OFFLINE
from doubledraft.models.folder import sha256
from doubledraft.models.safety import refuse_unsafe
from doubledraft.records import Generation, Question, Trace, read_records
from doubledraft.summaries.training_summary import TrainingSettings
from doubledraft.training import tracking
from doubledraft.training.checkpoints import folder_of_run
from doubledraft.training.draft_run import DraftRun
from doubledraft.training.rows import TrainingError, rows_from_generations, rows_from_traces
from doubledraft.training.run import Inputs, TrainingRun
from doubledraft.training.tracking import Tracker

CSV_COLUMNS = ("step", "epoch", "loss", "learning_rate")
# Settings of every target, which a config does not name.
OF_TARGET = {"update": "lora", "method": "sft", "loss": "ce", "weights": "none", "lmbda": 0.0, "held_out": 0}


def train_target(*, base, traces, prompt, out, **settings) -> None:
    """Train the target's adapter on a trace file, with the prompt of the benchmark; settings as in `train`."""
    rows = rows_from_traces(read_records(traces, Trace), prompts.load(prompt))
    train(Inputs(base=base, rows=rows), out, **OF_TARGET, **settings)


def train_draft(
    *, base, target, distilled, questions, prompt, out, start=None, draft_vocabulary: int | None = None, **settings
) -> None:
    """Train the draft's adapter on the trained target's own answers; settings as in `train`.

    It learns to choose among the `draft_vocabulary` most frequent tokens of these answers, which are those that it will
    propose; None for all.
    """
    generations = read_records(distilled, Generation)
    rows = rows_from_generations(generations, read_records(questions, Question), prompts.load(prompt))
    allowed = learn_from_files([distilled], draft_vocabulary) if draft_vocabulary else None
    inputs = Inputs(base=base, rows=rows, start=start, target=target, allowed_tokens=allowed)
    train(inputs, out, run=DraftRun, **settings)


def train(
    inputs: Inputs,
    out: str | Path,
    *,
    run: type[TrainingRun] = TrainingRun,
    checkpoints: str | Path,
    loss_csv: str | Path,
    report_to: Mapping[str, str | None] | None = None,
    **settings,
) -> None:
    """Train an adapter; write it to `out` with `training.json`, and the loss as a table.

    `run` is `DraftRun` for a draft, without which `method` distill and `held_out` are refused. `checkpoints` is a
    folder of this training alone, removed when all is written. `report_to` holds the fields of a `Tracker`, which gets
    losses and settings as the run `run_name`. `settings` are the other fields of `TrainingSettings`.
    """
    tracker, start = Tracker(**(report_to or {})), "merged" if inputs.start else "base"
    settings = TrainingSettings(base=str(inputs.base), start=start, report_to=tracker.to, **settings)
    _check(inputs, settings, run)
    for model in {inputs.base, inputs.start, inputs.target} - {None}:
        refuse_unsafe(model)  # not `inspect`: unsloth must be imported before transformers, and fetch has inspected it
    folder = folder_of_run(Path(checkpoints), _identity(inputs, settings))
    name, logs = settings.run_name or Path(out).name, Path(loss_csv).parent / "logs"
    shown = _deciding(settings) | {"base": Path(inputs.base).name}
    with tempfile.TemporaryDirectory(prefix="unsloth.") as compiled:
        _set_switches(compiled)  # before the tracker, which may import the hub's client
        with tracking.run(tracker, name, logs, folder.name, shown) as tracked:
            training = run(inputs, settings, folder, tracked)
            losses = training.train()
    if not all(math.isfinite(entry["loss"]) for entry in losses):
        raise TrainingError(
            f"the loss of {out} is not a number any more; lower learning_rate = {settings.learning_rate:g}"
        )
    _write_losses(loss_csv, losses)
    with whole_directory(out) as adapter:
        training.save(adapter)
    log.info("trained %s: %s", out, training.facts)
    shutil.rmtree(checkpoints)


def _deciding(settings: TrainingSettings) -> dict[str, object]:
    return {name: value for name, value in asdict(settings).items() if name not in ("report_to", "run_name")}


def _identity(inputs: Inputs, settings: TrainingSettings) -> dict:
    """Return what decides the weights, and so whose checkpoints may be continued; where losses are sent does not."""
    folders = {"base": inputs.base, "start": inputs.start, "target": inputs.target}
    digests = {name: folder and _fingerprint(folder) for name, folder in folders.items()}
    return _deciding(settings) | digests | {"allowed_tokens": inputs.allowed_tokens, "rows": list(inputs.rows)}


def _fingerprint(folder: str | Path) -> str:
    manifest = Path(folder) / "manifest.json"  # lists the digest of every file
    return sha256(manifest if manifest.exists() else Path(folder) / "config.json")


def _check(inputs: Inputs, settings: TrainingSettings, run: type[TrainingRun]) -> None:
    import torch

    if settings.load_in_4bit and not torch.cuda.is_available():
        raise TrainingError(
            "train.load_in_4bit needs a GPU, and torch sees none here; set it to false to train in 16 or 32 bits"
        )
    needs_target = settings.method == "distill" or settings.held_out
    if needs_target and (run is TrainingRun or not inputs.target):
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
