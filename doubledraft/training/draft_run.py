"""The training of a draft: it may learn from the target's distributions, and its checkpoint is chosen by decoding."""

from collections.abc import Callable, Sequence
from pathlib import Path

from doubledraft.training.held_out import Judge, split
from doubledraft.training.knowledge_distillation import Teacher, distillation_trainer
from doubledraft.training.rows import IGNORED, counts
from doubledraft.training.run import TrainingRun


class DraftRun(TrainingRun):
    """A training with the target at hand, where `method` is distill or rows are held out."""

    judge: Judge | None = None
    teacher: Teacher | None = None

    def _to_train_on(self, encoded: list[dict]) -> list[dict]:
        """Return the rows that are not held out; load what the others are for."""
        inputs, settings = self.inputs, self.settings
        if settings.held_out or settings.method == "distill":
            self.teacher = Teacher(inputs.target, self.choice.computed_in)
        if not settings.held_out:
            return encoded
        rows, judged = split(encoded, settings.held_out, settings.seed)
        self.facts |= counts(rows)
        self.judge = Judge(inputs.target, self.teacher, self.start, judged, settings.dtype, inputs.allowed_tokens)
        self.judge.resume(self.checkpoint)
        if settings.method == "sft":
            self.teacher.forget_layers()
        return rows

    def _at_checkpoint(self) -> Callable[[Path, int], None] | None:
        return self.judge.at_checkpoint(self.model) if self.judge else None

    def _trainer(self, tokenizer, rows: Sequence[dict]):
        if self.settings.method == "sft":
            return super()._trainer(tokenizer, rows)
        longest = max(sum(label != IGNORED for label in row["labels"]) for row in rows)
        arguments = self._arguments(rows, lmbda=self.settings.lmbda, temperature=1.0, max_new_tokens=longest)
        how = {"loss": self.settings.loss, "weights": self.settings.weights, "allowed": self.inputs.allowed_tokens}
        return distillation_trainer(self.model, self.teacher, tokenizer, rows, arguments, **how)

    def train(self) -> list[dict]:
        """Train to the end, and leave the best weights in the model; return the log of the losses."""
        losses = super().train()
        if self.judge:
            self.facts["seconds"] = round(self.facts["seconds"] - self.judge.seconds, 1)
            self.judge.restore_best(self.model, self.folder)
            self.facts |= self.judge.facts()
        return losses
