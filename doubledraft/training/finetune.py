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
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from doubledraft import prompts, tracking
from doubledraft.files import naming, whole_directory, whole_file
from doubledraft.log import log
from doubledraft.machine import OFFLINE, use_own_cores
from doubledraft.models.folder import sha256
from doubledraft.models.safety import refuse_unsafe
from doubledraft.records import Generation, Question, Trace, read_records
from doubledraft.summaries import json_file
from doubledraft.summaries.provenance import recorded
from doubledraft.summaries.training_summary import StepSeconds, TrainingSettings, TrainingSummary
from doubledraft.tracking import Tracker
from doubledraft.training import computing_dtype as computing
from doubledraft.training import held_out as judging
from doubledraft.training import knowledge_distillation, model_to_train, trainer
from doubledraft.training.checkpoints import folder_of_run, newest_whole_checkpoint
from doubledraft.training.rows import (
    IGNORED,
    TrainingError,
    counts,
    encode_all,
    rows_from_generations,
    rows_from_traces,
)

PATH_ARGUMENTS = ("rows", "out", "checkpoints", "loss_csv")  # of train(), left out of the run's identity
CSV_COLUMNS = ("step", "epoch", "loss", "learning_rate")


def train_target(*, base, traces, prompt, out, **settings) -> None:
    """Train the target's adapter on a trace file, with the prompt of the benchmark; settings as in `train`."""
    rows = rows_from_traces(read_records(traces, Trace), prompts.load(prompt))
    train(base, rows, out, **settings)


def train_draft(*, base, distilled, questions, prompt, out, **settings) -> None:
    """Train the draft's adapter on the trained target's own answers; settings as in `train`."""
    generations = read_records(distilled, Generation)
    rows = rows_from_generations(generations, read_records(questions, Question), prompts.load(prompt))
    train(base, rows, out, **settings)


def train(
    base: str | Path,
    rows: Sequence[dict],
    out: str | Path,
    *,
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
    target: str | Path | None = None,
    start: str | Path | None = None,
    report_to: Mapping[str, str | None] | None = None,
    run_name: str | None = None,
) -> None:
    """Train `base` on `rows`; write an adapter to `out` with `training.json`, and the loss as a table.

    `checkpoints` is a folder of this run alone, removed when all is written. A step sees batch * accumulate rows.
    `start` is a folder with weights of the base's shapes to begin from; the adapter is of the base all the same.
    `steps` of the optimiser, where given, end the training in place of `epochs`.
    `target` is the folder of the merged target, which `method` distill learns from, and with which `held_out` rows are
    decoded to choose a checkpoint. `report_to` holds the fields of a `Tracker`, which gets losses as the run
    `run_name`. The other arguments are the keys of `train` in config/schema.yaml.
    """
    settings = {name: value for name, value in locals().items() if name not in PATH_ARGUMENTS}
    settings["start"] = start = start or base
    tracker = Tracker(**(report_to or {}))
    settings["report_to"] = tracker.to
    _check(settings)
    for model in {base, start, target} - {None}:
        refuse_unsafe(model)  # not `inspect`: unsloth must be imported before transformers, and fetch has inspected it
    folder = folder_of_run(Path(checkpoints), _identity(settings, rows))
    logs = Path(loss_csv).parent / "logs"
    with (
        tempfile.TemporaryDirectory(prefix="unsloth.") as compiled,
        tracking.run(tracker, run_name or Path(out).name, logs, folder.name) as tracked,
    ):
        _set_switches(compiled)
        run = _Run(settings, rows, folder, tracked)
        losses = run.finish()
    if not all(math.isfinite(entry["loss"]) for entry in losses):
        raise TrainingError(f"the loss of {out} is not a number any more; lower learning_rate = {learning_rate:g}")
    _write_losses(loss_csv, losses)
    with whole_directory(out) as adapter:
        run.save(base, adapter)
    log.info("trained %s: %s", out, run.facts)
    shutil.rmtree(checkpoints)


class _Run:
    """A training that is ready to begin, or to go on from its newest whole checkpoint."""

    def __init__(self, settings: dict, rows: Sequence[dict], folder: Path, tracked: tracking.Run) -> None:
        if settings["update"] == "lora":
            import unsloth  # noqa: F401 -- before transformers and trl, which it patches
        use_own_cores()
        trainer.keep_memory()
        self.settings, self.folder, self.judge, self.teacher = settings, folder, None, None
        self.choice = computing.choose(settings["base"], settings["computing_dtype"], settings["dtype"], folder)
        self.checkpoint = newest_whole_checkpoint(folder)
        self.model, tokenizer = model_to_train.load(settings["start"], settings, self.choice["computed_in"])
        rows, self.facts = encode_all(tokenizer, rows, settings["max_length"])
        if settings["held_out"]:
            rows, judged = judging.split(rows, settings["held_out"], settings["seed"])
            self.facts |= counts(rows)
        if settings["held_out"] or settings["method"] == "distill":
            self.teacher = knowledge_distillation.Teacher(settings["target"], self.choice["computed_in"])
        if settings["held_out"]:
            self.judge = judging.Judge(settings["target"], self.teacher, settings["start"], judged, settings["dtype"])
            self.judge.resume(self.checkpoint)
            if settings["method"] == "sft":
                self.teacher.forget_layers()
        self.facts["trained_parameters"] = sum(
            value.numel() for value in self.model.parameters() if value.requires_grad
        )
        self.trainer = self._trainer(tokenizer, rows)
        after = self.judge.at_checkpoint(self.model) if self.judge else None
        self.trainer.add_callback(trainer.callback(after, tracked))

    def _trainer(self, tokenizer, rows: Sequence[dict]):
        settings, more = self.settings, {}
        if distils := settings["method"] == "distill":
            longest = max(sum(label != IGNORED for label in row["labels"]) for row in rows)
            more = {"lmbda": settings["lmbda"], "temperature": 1.0, "max_new_tokens": longest}
        arguments = trainer.arguments_for(self.folder, settings, self.choice["computed_in"], len(rows), **more)
        if not distils:
            return trainer.supervised(self.model, tokenizer, rows, arguments)
        how = {name: settings[name] for name in ("loss", "weights")}
        return knowledge_distillation.distilling(self.model, self.teacher, tokenizer, rows, arguments, **how)

    def finish(self) -> list[dict]:
        """Train to the end; return the log of the losses, and leave the best weights in the model."""
        started = time.monotonic()
        with naming(self.folder), trainer.no_needless_casts(self.trainer):
            self.trainer.train(resume_from_checkpoint=self.checkpoint)
        evaluating = self.judge.seconds if self.judge else 0.0
        self.facts["seconds"] = round(time.monotonic() - started - evaluating, 1)
        losses = [entry for entry in self.trainer.state.log_history if "loss" in entry]
        self.facts |= {"steps": self.trainer.state.global_step, "final_loss": losses[-1]["loss"]}
        if self.judge:
            self.judge.restore_best(self.model, self.folder)
            self.facts |= self.judge.facts()
        return losses

    def save(self, base: str | Path, adapter: Path) -> None:
        """Write the adapter of `base` with its summary into a folder."""
        settings = {name: value for name, value in self.settings.items() if name != "target"}
        settings |= {"base": str(base), "start": "base" if self.settings["start"] == base else "merged"}
        summary = TrainingSummary(
            **self.facts | {"computed_in": self.choice["computed_in"], "step_seconds": self._step_seconds()},
            settings=TrainingSettings(**settings),
            provenance=recorded(),
        )
        json_file.write(adapter / "training.json", summary)
        model_to_train.save_adapter(self.model, base, self.settings["start"], adapter)

    def _step_seconds(self) -> StepSeconds | None:
        measured = self.choice["step_seconds"]
        return StepSeconds(**measured) if measured else None


def _identity(settings: dict, rows: Sequence[dict]) -> dict:
    """Return what decides the weights, and so whose checkpoints may be continued; where losses are sent does not."""
    deciding = {name: value for name, value in settings.items() if name not in ("report_to", "run_name")}
    folders = {name: _fingerprint(settings[name]) for name in ("base", "start", "target") if settings.get(name)}
    return {**deciding, **folders, "rows": list(rows)}


def _fingerprint(folder: str | Path) -> str:
    manifest = Path(folder) / "manifest.json"  # lists the digest of every file
    return sha256(manifest if manifest.exists() else Path(folder) / "config.json")


def _check(settings: dict) -> None:
    import torch

    if settings["load_in_4bit"] and not torch.cuda.is_available():
        raise TrainingError(
            "train.load_in_4bit needs a GPU, and torch sees none here; set it to false to train in 16 or 32 bits"
        )
    if (settings["method"] == "distill" or settings["held_out"]) and not settings["target"]:
        raise TrainingError("method distill and held_out rows need the merged target: name its folder as `target`")


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
