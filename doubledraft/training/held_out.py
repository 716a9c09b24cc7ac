"""Which checkpoint of a draft goes on: the one that emits most tokens per step on questions that it was not trained on.

Some training rows are held out. At every checkpoint the draft as trained so far is written as it will be served, and
the project's engine answers the prompts of these rows with target and draft, greedily. Cheaper figures are computed
beside it, from both models' logits along the held-out answers, so that it can be seen how well they foretell it. Test
questions are never read.
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

DRAFT_LENGTH = 5  # tokens drafted a step; the order of checkpoints hardly depends on it
EVALUATIONS = "evaluations.json"  # in each checkpoint: all evaluations up to it
PROXIES = ("overlap", "agreement", "simulated_tokens_per_step")


def split(rows: Sequence[dict], count: int, seed: int) -> tuple[list[dict], list[dict]]:
    """Return the rows to train on and `count` rows to judge by, chosen by the seed; both in the given order.

    Rows of one prompt stay together. Raise TrainingError where fewer rows would be left to train on than held out.
    """
    prompts = [tuple(row["input_ids"][: first_label(row["labels"])]) for row in rows]
    different = sorted(set(prompts))
    if 2 * count > len(different):
        raise TrainingError(
            f"train.draft.held_out is {count}, but there are only {len(different)} different questions to train on: "
            "lower it, or distil more questions"
        )
    chosen = set(random.Random(seed).sample(different, count))
    return (
        [row for row, prompt in zip(rows, prompts, strict=True) if prompt not in chosen],
        [row for row, prompt in zip(rows, prompts, strict=True) if prompt in chosen],
    )


class Judge:
    """Measures a draft on held-out rows, and keeps the weights of the best one in the folder of the run."""

    def __init__(
        self,
        target: str | Path,
        teacher: Teacher,
        start: str | Path,
        rows: Sequence[dict],
        dtype: str,
        allowed: Sequence[int] | None,
    ) -> None:
        self.target, self.teacher, self.start, self.dtype, self.allowed = target, teacher, start, dtype, allowed
        self.rows = [(row["input_ids"], row["labels"]) for row in rows]
        self.evaluations: list[DraftEvaluation] = []
        self.seconds = 0.0  # of evaluations by this process
        for row in self.rows:
            teacher.logits([row])  # read once; what it needs to know of them is kept

    def resume(self, checkpoint: str | None) -> None:
        """Take up the evaluations that came before a checkpoint."""
        found = json.loads(Path(checkpoint, EVALUATIONS).read_text(encoding="utf-8")) if checkpoint else []
        self.evaluations = [DraftEvaluation(**values) for values in found]

    def at_checkpoint(self, model) -> Callable[[Path, int], None]:
        """Return what to do at every checkpoint of the training of `model`."""

        def evaluate(checkpoint: Path, step: int) -> None:
            from safetensors.torch import save_file

            before, started = self.best, time.monotonic()
            self.evaluations.append(self.evaluate(model, step))
            self.seconds += time.monotonic() - started
            write_json(checkpoint / EVALUATIONS, [asdict(evaluation) for evaluation in self.evaluations])
            save_file(trained_weights(model), _weights(checkpoint.parent, step))
            for file in checkpoint.parent.glob("evaluated-*"):  # the one before may still be needed, see `resume`
                if file not in {_weights(checkpoint.parent, one.step) for one in (before, self.best) if one}:
                    file.unlink()

        return evaluate

    @property
    def best(self) -> DraftEvaluation | None:
        """The evaluation with most tokens per step, of equals the one with most overlap; None before the first."""
        return max(self.evaluations, key=lambda found: (found.tokens_per_step, found.overlap), default=None)

    def facts(self) -> dict[str, object]:
        """Return what training.json records of the evaluations."""
        return {
            "evaluation_seconds": round(self.seconds, 1),
            "draft_length": DRAFT_LENGTH,
            "best_step": self.best.step,
            "evaluations": self.evaluations,
            "correlation": correlation(self.evaluations),
        }

    def restore_best(self, model, folder: Path) -> None:
        """Put the weights of the best evaluation back into a model; `folder` is that of the checkpoints."""
        from safetensors.torch import load_file

        model.load_state_dict(load_file(_weights(folder, self.best.step)), strict=False)
        log.info("the best of %d evaluations is that of step %d", len(self.evaluations), self.best.step)

    def evaluate(self, model, step: int) -> DraftEvaluation:
        """Measure the draft as it is now."""
        was_training = model.training
        model.eval()
        with tempfile.TemporaryDirectory(prefix="draft.") as folder:
            as_plain_model(model, self.start, self.dtype).save_pretrained(folder)
            copy_tokenizer(self.start, Path(folder))
            found = DraftEvaluation(step=step, tokens_per_step=self._decode(folder), **self._proxies(model))
        model.train(was_training)
        log.info("step %d: %s", step, found)
        return found

    def _decode(self, draft: str) -> float:
        """Return tokens per step of greedy decoding on the held-out prompts."""
        target = create_backend(self.target, self.dtype, machine.device())
        draft = create_backend(draft, self.dtype, machine.device(), allowed_tokens=self.allowed)
        longest = max(sum(label != IGNORED for label in labels) for _, labels in self.rows)
        prompts = [ids[: first_label(labels)] for ids, labels in self.rows]
        stops = {ids[-1] for ids, _ in self.rows} | end_ids(self.target)
        _, metrics = speculative_decode(target, draft, prompts, longest, draft_length=DRAFT_LENGTH, stop_ids=stops)
        return round(metrics.tokens_per_step, 4)

    def _proxies(self, model) -> dict[str, float]:
        """Return what both models' logits along the held-out answers foretell."""
        import torch

        overlaps, agreed, steps = [], [], 0
        kept = torch.tensor(self.allowed or [], dtype=torch.long, device=model.device)
        for row in self.rows:
            with torch.no_grad():
                draft, _ = label_logits(model, padded([row], model.device))
                target = self.teacher.logits([row])
                if self.allowed:
                    draft = torch.full_like(draft, -torch.inf).index_copy_(1, kept, draft[:, kept])
            overlaps += overlap(draft.float(), target).tolist()
            same = (draft.argmax(-1) == target.argmax(-1)).tolist()
            agreed += same
            steps += 1 + len(simulated_steps(same, DRAFT_LENGTH))
        found = (sum(overlaps) / len(overlaps), sum(agreed) / len(agreed), len(agreed) / steps)
        return {name: round(value, 4) for name, value in zip(PROXIES, found, strict=True)}


def correlation(evaluations: Sequence[DraftEvaluation]) -> ProxyCorrelation | None:
    """Return Pearson's correlation of each proxy with tokens per step; None where one of them never changed."""
    from statistics import StatisticsError
    from statistics import correlation as pearson

    measured = [evaluation.tokens_per_step for evaluation in evaluations]
    try:
        values = {name: pearson(measured, [getattr(one, name) for one in evaluations]) for name in PROXIES}
    except StatisticsError:
        return None
    return ProxyCorrelation(**{name: round(value, 4) for name, value in values.items()})


def _weights(folder: Path, step: int) -> Path:
    return folder / f"evaluated-{step}.safetensors"
