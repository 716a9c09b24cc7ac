"""One training, from a loaded model to its adapter: what target and draft have in common."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from doubledraft.files import naming
from doubledraft.machine import use_own_cores
from doubledraft.models.folder import DRAFT_VOCABULARY
from doubledraft.summaries import json_file
from doubledraft.summaries.provenance import recorded
from doubledraft.summaries.training_summary import DraftVocabulary, TrainingSettings, TrainingSummary
from doubledraft.training import computing_dtype, model_to_train, trainer
from doubledraft.training.checkpoints import newest_whole_checkpoint
from doubledraft.training.rows import encode_all
from doubledraft.training.tracking import TrackedRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a training reads; the last three are of a draft."""

    base: str | Path  # folder of the model that the adapter is of
    rows: Sequence[dict]  # {"prompt": messages, "completion": messages}
    start: str | Path | None = None  # folder of weights of the base's shapes to begin from; None: the base's own
    target: str | Path | None = None  # folder of the merged target: distilled from, and decoded with held-out rows
    allowed_tokens: Sequence[int] | None = None  # ascending ids: the softmax is over them, other labels do not count


class TrainingRun:
    """A training on text that is ready to begin, or to go on from its newest whole checkpoint."""

    def __init__(self, inputs: Inputs, settings: TrainingSettings, folder: Path, tracked: TrackedRun) -> None:
        """Load the model; `folder` is that of the checkpoints."""
        if settings.update == "lora":
            import unsloth  # noqa: F401 -- before transformers and trl, which it patches
        use_own_cores()
        trainer.keep_memory()
        self.inputs, self.settings, self.folder = inputs, settings, folder
        self.start = inputs.start or inputs.base
        self.choice = computing_dtype.choose(inputs.base, settings.computing_dtype, settings.dtype, folder)
        self.checkpoint = newest_whole_checkpoint(folder)
        self.model, tokenizer = model_to_train.load(self.start, settings, self.choice.computed_in)
        encoded, self.facts = encode_all(tokenizer, inputs.rows, settings.max_length)  # fields of the TrainingSummary
        learning = (value.numel() for value in self.model.parameters() if value.requires_grad)
        self.facts["trained_parameters"] = sum(learning)
        self.trainer = self._trainer(tokenizer, self._to_train_on(encoded))
        self.trainer.add_callback(trainer.callback(self._at_checkpoint(), tracked))

    def _to_train_on(self, encoded: list[dict]) -> list[dict]:
        return encoded

    def _at_checkpoint(self) -> Callable[[Path, int], None] | None:
        return None

    def _trainer(self, tokenizer, rows: Sequence[dict]):
        return trainer.supervised_trainer(
            self.model, tokenizer, rows, self._arguments(rows), self.inputs.allowed_tokens
        )

    def _arguments(self, rows: Sequence[dict], **more: object):
        return trainer.arguments_for(self.folder, self.settings, self.choice.computed_in, len(rows), **more)

    def train(self) -> list[dict]:
        """Train to the end; return the log of the losses."""
        started = time.monotonic()
        with naming(self.folder), trainer.no_needless_casts(self.trainer):
            self.trainer.train(resume_from_checkpoint=self.checkpoint)
        self.facts["seconds"] = round(time.monotonic() - started, 1)
        losses = [entry for entry in self.trainer.state.log_history if "loss" in entry]
        self.facts |= {"steps": self.trainer.state.global_step, "final_loss": losses[-1]["loss"]}
        return losses

    def save(self, adapter: Path) -> None:
        """Write the adapter with its summary into a folder."""
        allowed = self.inputs.allowed_tokens
        summary = TrainingSummary(
            **self.facts,
            computed_in=self.choice.computed_in,
            step_seconds=self.choice.step_seconds,
            draft_vocabulary=len(allowed) if allowed else None,
            settings=self.settings,
            provenance=recorded(),
        )
        json_file.write(adapter / "training.json", summary)
        if allowed:
            json_file.write(adapter / DRAFT_VOCABULARY, DraftVocabulary(token_ids=list(allowed)))
        model_to_train.save_adapter(self.model, self.inputs.base, self.start, adapter)
