"""Quality and speed of a target on a data set, plain and with a draft, in one process: the figures of a study's cell.

Questions are answered greedily, one at a time, by both ways in turn (`arms`). Answers are graded as a study grades
them (`answers`), strict and lenient, and the figures have the form and the definitions of `metrics.json` (`benchmark`,
`speculation`), so that what is measured here can be laid beside a cell.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from doubledraft import __version__
from doubledraft.engine.backend import Backend
from doubledraft.engine.decoding_metrics import by_token_class, together
from doubledraft.engine.draft_length import AdaptiveLength
from doubledraft.engine.lossless import top2_gap
from doubledraft.engine.proposers import DraftModel
from doubledraft.evaluation import score, speculation
from doubledraft.evaluation.interleave import BASELINE, SPECULATIVE, Arm, Timing, measure, plain
from doubledraft.evaluation.runs import Graded, Run
from doubledraft.inference.bandwidth import read_bandwidth
from doubledraft.records import Generation, Question, first_difference


@dataclass(frozen=True, slots=True)
class Task:
    """A data set as it is put to a target."""

    name: str
    questions: Sequence[Question]
    prompts: Sequence[Sequence[int]]  # token ids, in the order of the questions
    max_new_tokens: int
    stop_ids: Collection[int]
    decode: Callable[[Sequence[int]], str]  # token ids to text


def evaluate(target: Backend, draft: Arm | None, task: Task, seed: int) -> tuple[dict, dict[str, Graded]]:
    """Answer and grade a task, plainly and by `draft` too where there is one; gives metrics and the graded answers.

    `draft` is an arm of the name SPECULATIVE; `seed` is that of the intervals.
    """
    arms = [plain(), *([draft] if draft else [])]
    timings = measure(target, arms, task.prompts, task.max_new_tokens, stop_ids=task.stop_ids)
    bandwidth = read_bandwidth(target.device.type)
    runs = {arm.name: _run(target, arm, [t for t in timings if t.arm == arm.name], task, bandwidth) for arm in arms}
    if draft:
        runs[SPECULATIVE] = _with_gaps(target, task, runs[BASELINE], runs[SPECULATIVE])
    graded = {name: score.grade(run, task.questions, None, seed) for name, run in runs.items()}
    metrics = {"cell": task.name, "n": len(task.questions)} | {name: mode.figures for name, mode in graded.items()}
    if draft:
        metrics |= _comparison(graded[BASELINE], graded[SPECULATIVE], draft, seed)
    return metrics, graded


def _run(target: Backend, arm: Arm, timings: Sequence[Timing], task: Task, bandwidth: float) -> Run:
    """Give an arm's answers as a run of the study's engines has them."""
    rows = [
        timing.as_generation(task.questions[timing.question].id, task.decode(timing.answer.token_ids))
        for timing in timings
    ]
    drafts = arm.name != BASELINE
    draft = arm.proposer.draft if isinstance(arm.proposer, DraftModel) else None
    steps = [step for timing in timings for step in timing.answer.steps]
    info = {
        "engine": "native",
        "version": __version__,
        "dtype": str(target.dtype).removeprefix("torch."),
        "method": ("draft_model" if draft else "ngram") if drafts else "none",
        "draft_length": arm.draft_length.longest if drafts else None,
        "concurrency": 1,
        "step_seconds": together([timing.metrics for timing in timings]).step_seconds(),
        "bytes_per_pass": {"target": target.bytes_per_pass, "draft": draft.bytes_per_pass if draft else None},
        "read_bytes_per_second": bandwidth,
        "token_classes": by_token_class(steps, lambda token: task.decode([token]), task.stop_ids) if drafts else None,
    }
    return Run(arm.name, rows, info)


def _with_gaps(target: Backend, task: Task, baseline: Run, drafted: Run) -> Run:
    """Note on answers that part from the baseline's how close the target's two best tokens are where they first do."""

    def noted(prompt: Sequence[int], base: Generation, row: Generation) -> Generation:
        same = first_difference(row.token_ids, base.token_ids)
        if same is None or same == min(len(row.token_ids), len(base.token_ids)):
            return row
        return replace(row, top2_gap=top2_gap(target, [*prompt, *row.token_ids[:same]]))

    rows = [noted(*row) for row in zip(task.prompts, baseline.rows, drafted.rows, strict=True)]
    return Run(drafted.path, rows, drafted.info)


def _comparison(baseline: Graded, drafted: Graded, draft: Arm, seed: int) -> dict[str, dict]:
    speculated = speculation.figures(drafted.run, seed)
    adaptive = isinstance(draft.draft_length, AdaptiveLength)
    if adaptive:  # figures of one K mean nothing; the bound takes the mean
        steps = [accepted for row in drafted.run.rows for accepted in row.accepted_per_step]
        mean = speculated["drafted"] / len(steps) if steps else 0.0
        undefined = {
            "per_token_acceptance": None,
            "per_position_acceptance": None,
            "expected_tokens_per_step": {"from_counters": None, "from_alpha": None},
        }
        speculated |= {"draft_length": mean, **undefined}
    speedup = speculation.speedup(baseline.run, drafted.run, speculated, seed)
    return {
        "speculation": speculated,
        "speedup": speedup | {"predicted": None} if adaptive else speedup,
        "bandwidth": speculation.bandwidth(baseline.run, drafted.run),
        "lossless": score.lossless_figures(baseline, drafted),
    }
