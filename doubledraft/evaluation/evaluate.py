"""Quality and speed of a target on a data set, plain and with a draft, in one process: the metrics of a study's cell.

Questions are answered greedily, one at a time, with and without the draft in turn (`arms`). Answers are graded as
in a study, and the metrics have the form and the definitions of `metrics.json`, so that they compare with a cell's.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from doubledraft import __version__
from doubledraft.engine.backend import Backend
from doubledraft.engine.decoding_metrics import by_token_class, together
from doubledraft.engine.draft_length import AdaptiveLength
from doubledraft.engine.lossless import top2_gap
from doubledraft.engine.proposers import DraftModel
from doubledraft.evaluation.arms import Arm, Timing, plain, time_in_turns
from doubledraft.evaluation.grade import grade
from doubledraft.evaluation.interleave import BASELINE, SPECULATIVE
from doubledraft.evaluation.runs import Graded, Run
from doubledraft.evaluation.score import compare
from doubledraft.inference.bandwidth import read_bandwidth
from doubledraft.questions.data_sets import DataSet
from doubledraft.records import Generation, first_mismatch
from doubledraft.summaries.cell_metrics import CellMetrics
from doubledraft.summaries.provenance import of_cell, recorded
from doubledraft.summaries.run_file import EngineRun, PassBytes, StepSeconds, TokenCounts


@dataclass(frozen=True, slots=True)
class Task:
    """A data set as it is put to a target."""

    data: DataSet
    prompts: Sequence[Sequence[int]]  # token ids, in the order of the questions
    max_new_tokens: int
    stop_ids: Collection[int]
    decode: Callable[[Sequence[int]], str]  # token ids to text


def evaluate(target: Backend, draft: Arm | None, task: Task, seed: int) -> tuple[CellMetrics, dict[str, Graded]]:
    """Answer and grade a task without and, where there is one, with a draft; return the metrics and the graded answers.

    `draft` is an arm with the name SPECULATIVE; `seed` is for the bootstrap of the intervals.
    """
    arms = [plain(), *([draft] if draft else [])]
    timings = time_in_turns(target, arms, task.prompts, task.max_new_tokens, stop_ids=task.stop_ids)
    bandwidth = read_bandwidth(target.device.type)
    runs = {arm.name: _run(target, arm, [t for t in timings if t.arm == arm.name], task, bandwidth) for arm in arms}
    if draft:
        runs[SPECULATIVE] = _with_gaps(target, task, runs[BASELINE], runs[SPECULATIVE])
    graded = {name: grade(run, task.data.questions, None, seed, task.data) for name, run in runs.items()}
    compared = compare(graded[BASELINE], graded[SPECULATIVE], seed) if draft else {BASELINE: graded[BASELINE].metrics}
    metrics = CellMetrics(
        cell=task.data.name,
        type=None,
        scenario=None,
        n=len(task.data.questions),
        questions=None,
        questions_hash=None,
        **compared,
        provenance=of_cell(recorded()),
    )
    return metrics, graded


def _run(target: Backend, arm: Arm, timings: Sequence[Timing], task: Task, bandwidth: float) -> Run:
    """Return an arm's answers as a run, like those of a study's engines."""
    rows = [
        timing.as_generation(task.data.questions[timing.question].id, task.decode(timing.answer.token_ids))
        for timing in timings
    ]
    drafts = arm.name != BASELINE
    draft = arm.proposer.draft if isinstance(arm.proposer, DraftModel) else None
    info = EngineRun(
        engine="native",
        version=__version__,
        kernel=None,
        dtype=str(target.dtype).removeprefix("torch."),
        method=("draft_model" if draft else "ngram") if drafts else "none",
        draft_length=arm.draft_length.longest if drafts else None,
        adaptive=isinstance(arm.draft_length, AdaptiveLength),
        concurrency=1,
        step_seconds=StepSeconds(**together([timing.metrics for timing in timings]).step_seconds()),
        bytes_per_pass=PassBytes(target=target.bytes_per_pass, draft=draft.bytes_per_pass if draft else None),
        read_bytes_per_second=bandwidth,
        token_classes=_token_classes(timings, task) if drafts else None,
    )
    return Run(arm.name, rows, info)


def _token_classes(timings: Sequence[Timing], task: Task) -> dict[str, TokenCounts]:
    steps = [step for timing in timings for step in timing.answer.steps]
    counts = by_token_class(steps, lambda token: task.decode([token]), task.stop_ids)
    return {name: TokenCounts(**count) for name, count in counts.items()}


def _with_gaps(target: Backend, task: Task, baseline: Run, drafted: Run) -> Run:
    """Return the run with the gap of the target's two best tokens at the first difference from the baseline."""

    def noted(prompt: Sequence[int], plain_row: Generation, row: Generation) -> Generation:
        position = first_mismatch(row.token_ids, plain_row.token_ids)
        gap = None if position is None else top2_gap(target, [*prompt, *row.token_ids[:position]])
        return replace(row, top2_gap=gap)

    return replace(drafted, rows=list(map(noted, task.prompts, baseline.rows, drafted.rows)))
