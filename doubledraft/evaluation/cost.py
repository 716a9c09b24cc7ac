"""What a correct answer cost: tokens, time and energy of all answers, over those that are right.

Wrong answers are paid for too, so a model that answers fast and badly is not cheap.
"""

from collections.abc import Mapping

from doubledraft.evaluation.runs import Graded
from doubledraft.stats import ratio_interval
from doubledraft.summaries.cell_metrics import CostPerCorrect
from doubledraft.summaries.timing_file import TimingFile

NOT_TIMED = "only arms that are timed in turns have their energy read"


def costs(modes: Mapping[str, Graded], seed: int, timing: TimingFile | None = None) -> dict[str, CostPerCorrect]:
    """Return what a correct answer of each run cost; `timing` is the file of the runs' turns, where they took turns."""
    return {name: _cost(name, mode, seed, timing) for name, mode in modes.items()}


def _cost(name: str, mode: Graded, seed: int, timing: TimingFile | None) -> CostPerCorrect:
    rows = mode.run.rows
    right = [score.strict_verdict == "equal" for score in mode.scores]
    right_of_batch: dict[int, int] = {}  # in the order of `Run.batches`
    for row, is_right in zip(rows, right, strict=True):
        right_of_batch[row.batch] = right_of_batch.get(row.batch, 0) + is_right
    joules = _joules(name, timing)
    return CostPerCorrect(
        correct=sum(right),
        tokens=ratio_interval([len(row.token_ids) for row in rows], right, seed),
        seconds=ratio_interval(mode.run.batches, list(right_of_batch.values()), seed),
        joules=joules / sum(right) if joules is not None and any(right) else None,
        energy_source=timing.energy_source if timing else None,
        energy_reason=timing.energy_reason if timing else NOT_TIMED,
    )


def _joules(arm: str, timing: TimingFile | None) -> float | None:
    """Return the energy of an arm's turns in the last attempt; None where it was not read."""
    if timing is None:
        return None
    joules = [turn.joules for turn in timing.attempts[-1].turns if turn.arm == arm]
    return None if None in joules else sum(joules)
