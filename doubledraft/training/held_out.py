"""Chooses the checkpoint of a draft: the one with most tokens per step on questions that it was not trained on.

Some training rows are held out. At every checkpoint the draft is saved as it will be served, and the project's engine
decodes the prompts of these rows greedily with target and draft. Three proxies that need no decoding are computed from
both models' logits on the held-out answers; their correlation with the tokens per step is recorded. Test questions are
never read.
"""

import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from doubledraft import machine
from doubledraft.engine.decode import speculative_decode
from doubledraft.engine.load import create_backend
from doubledraft.files import write_json
from doubledraft.inference.teacher_forcing import simulated_steps
from doubledraft.log import log
from doubledraft.models.folder import copy_tokenizer
from doubledraft.models.inspect import end_ids
from doubledraft.summaries.training_summary import DraftEvaluation, ProxyCorrelation
from doubledraft.training.knowledge_distillation import Teacher
from doubledraft.training.label_logits import first_label, label_logits, padded
from doubledraft.training.losses import overlap
from doubledraft.training.model_to_train import as_plain_model, trained_weights
from doubledraft.training.rows import IGNORED, TrainingError

DRAFT_LENGTH = 5  # tokens drafted a step; the ranking of checkpoints hardly depends on it
EVALUATIONS = "evaluations.json"  # in each checkpoint: its own evaluation and those before it
PROXIES = ("overlap", "agreement", "simulated_tokens_per_step")


def split(rows: Sequence[dict], count: int, seed: int) -> tuple[list[dict], list[dict]]:
    """Return the rows to train on and those held out, both in the given order; the seed chooses `count` prompts.

    Rows of one prompt stay together. Raise TrainingError where fewer prompts would be left to train on than held out.
    """
    prompts = [tuple(row["input_ids"][: first_label(row["labels"])]) for row in rows]
    different = sorted(set(prompts))
    if 2 * count > len(different):
        raise TrainingError(
            f"train.draft.held_out is {count}, but there are only {len(different)} different questions to train on: "
            "lower it, or distil more questions"
        )
    held_out = set(random.Random(seed).sample(different, count))
    return (
        [row for row, prompt in zip(rows, prompts, strict=True) if prompt not in held_out],
        [row for row, prompt in zip(rows, prompts, strict=True) if prompt in held_out],
    )


class Judge:
    """Evaluates a draft on held-out rows, and keeps the best weights so far in the folder of the checkpoints."""

    def __init__(
        self,
        target: str | Path,
        teacher: Teacher,
        start: str | Path,
        rows: Sequence[dict],
        dtype: str,
        allowed: Sequence[int] | None,
    ) -> None:
        """Take held-out rows, encoded; `start` is the folder of the draft's first weights, `dtype` that of serving."""
        self.target, self.teacher, self.start, self.dtype, self.allowed = target, teacher, start, dtype, allowed
        self.rows = [(row["input_ids"], row["labels"]) for row in rows]
        self.evaluations: list[DraftEvaluation] = []
        self.seconds = 0.0  # of the evaluations in this process
        for row in self.rows:
            teacher.logits([row])  # its hidden states are kept, so that its layers can be freed before the training

    def resume(self, checkpoint: str | None) -> None:
        """Read the evaluations that an interrupted run had made up to a checkpoint; None for a new run."""
        evaluations = json.loads(Path(checkpoint, EVALUATIONS).read_text(encoding="utf-8")) if checkpoint else []
        self.evaluations = [DraftEvaluation(**values) for values in evaluations]

    def at_checkpoint(self, model) -> Callable[[Path, int], None]:
        """Return a function that evaluates `model` at a checkpoint; the trainer calls it with the folder and step."""

        def evaluate(checkpoint: Path, step: int) -> None:
            from safetensors.torch import save_file

            previous, started = self.best, time.monotonic()
            self.evaluations.append(self.evaluate(model, step))
            self.seconds += time.monotonic() - started
            write_json(checkpoint / EVALUATIONS, [asdict(evaluation) for evaluation in self.evaluations])
            save_file(trained_weights(model), _weights(checkpoint.parent, step))
            for file in checkpoint.parent.glob("evaluated-*"):  # a run that resumes needs the one before
                if file not in {_weights(checkpoint.parent, best.step) for best in (previous, self.best) if best}:
                    file.unlink()

        return evaluate

    @property
    def best(self) -> DraftEvaluation | None:
        """The evaluation with most tokens per step, of equals the one with most overlap; None before the first."""
        return max(self.evaluations, key=lambda result: (result.tokens_per_step, result.overlap), default=None)

    def facts(self) -> dict[str, object]:
        """Return the fields of training.json on the evaluations."""
        return {
            "evaluation_seconds": round(self.seconds, 1),
            "draft_length": DRAFT_LENGTH,
            "best_step": self.best.step,
            "evaluations": self.evaluations,
            "correlation": correlation(self.evaluations),
        }

    def restore_best(self, model, folder: Path) -> None:
        """Load the weights of the best evaluation into a model; `folder` is that of the checkpoints."""
        from safetensors.torch import load_file

        model.load_state_dict(load_file(_weights(folder, self.best.step)), strict=False)
        log.info("the best of %d evaluations is that of step %d", len(self.evaluations), self.best.step)

    def evaluate(self, model, step: int) -> DraftEvaluation:
        """Return the tokens per step and the proxies of the draft as it is now."""
        was_training = model.training
        model.eval()
        with tempfile.TemporaryDirectory(prefix="draft.") as folder:
            as_plain_model(model, self.start, self.dtype).save_pretrained(folder)
            copy_tokenizer(self.start, Path(folder))
            evaluation = DraftEvaluation(step=step, tokens_per_step=self._decode(folder), **self._proxies(model))
        model.train(was_training)
        log.info("step %d: %s", step, evaluation)
        return evaluation

    def _decode(self, draft: str) -> float:
        """Return the tokens per step of greedy decoding on the held-out prompts; `draft` is the folder of the draft."""
        # The target is loaded each time: 1.5 s of some 40 for the default pair, and no memory held during the training.
        target = create_backend(self.target, self.dtype, machine.device())
        draft = create_backend(draft, self.dtype, machine.device(), allowed_tokens=self.allowed)
        longest = max(sum(label != IGNORED for label in labels) for _, labels in self.rows)
        prompts = [ids[: first_label(labels)] for ids, labels in self.rows]
        stops = {ids[-1] for ids, _ in self.rows} | end_ids(self.target)
        _, metrics = speculative_decode(target, draft, prompts, longest, draft_length=DRAFT_LENGTH, stop_ids=stops)
        return round(metrics.tokens_per_step, 4)

    def _proxies(self, model) -> dict[str, float]:
        """Return the proxies by name, from the logits of draft and target at every token of the held-out answers.

        Overlap is the sum of min(p, q), agreement the share of tokens where both models rank the same one first.
        Simulated tokens per step are those of drafting along the answers with these agreements.
        """
        import torch

        overlaps, agreed, steps = [], [], 0
        allowed_ids = torch.tensor(self.allowed or [], dtype=torch.long, device=model.device)
        for row in self.rows:
            with torch.no_grad():
                draft, _ = label_logits(model, padded([row], model.device))
                target = self.teacher.logits([row])
                if self.allowed:
                    draft = torch.full_like(draft, -torch.inf).index_copy_(1, allowed_ids, draft[:, allowed_ids])
            overlaps += overlap(draft.float(), target).tolist()
            same = (draft.argmax(-1) == target.argmax(-1)).tolist()
            agreed += same
            steps += 1 + len(simulated_steps(same, DRAFT_LENGTH))
        values = (sum(overlaps) / len(overlaps), sum(agreed) / len(agreed), len(agreed) / steps)
        return {name: round(value, 4) for name, value in zip(PROXIES, values, strict=True)}


def correlation(evaluations: Sequence[DraftEvaluation]) -> ProxyCorrelation | None:
    """Return Pearson's correlation of each proxy with the tokens per step; None where a value never changed."""
    from statistics import StatisticsError
    from statistics import correlation as pearson

    measured = [evaluation.tokens_per_step for evaluation in evaluations]
    try:
        values = {name: pearson(measured, [getattr(row, name) for row in evaluations]) for name in PROXIES}
    except StatisticsError:
        return None
    return ProxyCorrelation(**{name: round(value, 4) for name, value in values.items()})


def _weights(folder: Path, step: int) -> Path:
    return folder / f"evaluated-{step}.safetensors"
