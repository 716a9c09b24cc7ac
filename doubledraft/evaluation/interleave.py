"""Arms of a cell timed in turns, block by block: who answers when, and what the times tell.

Runs timed one after the other would also compare the machine with itself, minutes later. Here every arm answers a block
of questions before any arm goes on to the next block, so a machine that slows down slows them all. The order of the
arms is drawn anew for each pair of blocks and mirrored in the second one (ABBA), which cancels a steady drift. One arm,
the control, is the baseline once more: if its ratio to the baseline is not 1, or may be far from it, the speedup is not
to be trusted either.

Blocks, each with its questions, are the unit of the statistics: a block has both its share of easy and long questions
and its seconds of the machine. Resampling questions alone would ignore the machine (0.7 to 0.9 of such 95 %
intervals hold the truth on a drifting machine); resampling them within resampled blocks would count them twice (0.98
to 0.99).
"""

from collections.abc import Sequence
from dataclasses import fields
from statistics import fmean
from typing import TypeVar

import numpy as np

from doubledraft.evaluation.significance import mcnemar
from doubledraft.stats import Interval, block_ratio_change_interval, block_ratio_interval
from doubledraft.summaries.cell_metrics import AttemptMetrics, TimingMetrics
from doubledraft.summaries.timing_file import Attempt, TimingFile, Turn

BASELINE, SPECULATIVE, CONTROL = "baseline", "speculative", "control"
# High / low of the control's interval, at most: a quiet machine has 1.1, another process on its core made it 1.4.
WIDEST = 1.25
Unit = TypeVar("Unit")


def blocks_of(units: Sequence[Unit], count: int) -> list[Sequence[Unit]]:
    """Return at most `count` runs of consecutive units whose sizes differ by one at most, none of them empty."""
    count = min(count, len(units))
    edges = [round(len(units) * at / count) for at in range(count + 1)]
    return [units[start:end] for start, end in zip(edges[:-1], edges[1:], strict=True)]


def orders(arms: Sequence[str], blocks: int, seed: int) -> list[list[str]]:
    """Return the order of the arms in each block: at random in every other block, and mirrored in the one after it."""
    generator, block_orders = np.random.default_rng(seed), []
    while len(block_orders) < blocks:
        order = [arms[at] for at in generator.permutation(len(arms))]
        block_orders += [order, order[::-1]]
    return block_orders[:blocks]


def timing_metrics(timing: TimingFile, seed: int, *, per_token: bool = False) -> TimingMetrics:
    """Return what the times of a cell tell in its last attempt, and in those before it; see `summarize`."""
    *earlier, last = (summarize(attempt, seed, per_token=per_token) for attempt in timing.attempts)
    return TimingMetrics(
        **{field.name: getattr(last, field.name) for field in fields(last)},
        residency=timing.residency,
        peak_memory_gib=timing.peak_memory_gib,
        earlier=earlier,
    )


def summarize(attempt: Attempt, seed: int, *, per_token: bool = False) -> AttemptMetrics:
    """Return what the times of an attempt tell; comparisons with an arm that took no turn are None.

    Answers that are drawn differ in length from arm to arm; `per_token` divides times by the tokens that were emitted.
    """
    blocks = 1 + max(turn.block for turn in attempt.turns)
    order = [[turn.arm for turn in attempt.turns if turn.block == block] for block in range(blocks)]
    speedup, ratios = _speedup(attempt, seed, per_token) if _turns(attempt, SPECULATIVE) else (None, None)
    control = control_ratio(attempt, seed)
    return AttemptMetrics(
        blocks=blocks,
        order=order,
        per_token=per_token,
        speedup=speedup,
        block_speedups=ratios,
        sign_test=ratios and mcnemar(sum(ratio > 1 for ratio in ratios), sum(ratio < 1 for ratio in ratios)),
        control=control,
        drift=_rank_correlation(_seconds_per_token(attempt, blocks)),
        autocorrelation=ratios and _autocorrelation(np.log(ratios)),
        steady=control and is_steady(control),
    )


def _speedup(attempt: Attempt, seed: int, per_token: bool) -> tuple[Interval, list[float]]:
    """Return the time of the baseline / of the speculative arm, of all blocks and of each."""
    (seconds, tokens), (drafted_seconds, drafted_tokens) = (
        (_block_seconds(attempt, arm), _block_tokens(attempt, arm)) for arm in (BASELINE, SPECULATIVE)
    )
    if not per_token:
        ratios = [plain / drafted for plain, drafted in zip(seconds, drafted_seconds, strict=True)]
        return block_ratio_interval(seconds, drafted_seconds, seed), ratios
    ratios = [one / other for one, other in zip(*(_pace(attempt, arm) for arm in (BASELINE, SPECULATIVE)), strict=True)]
    interval = block_ratio_change_interval((drafted_seconds, drafted_tokens), (seconds, tokens), seed)
    return interval, ratios


def control_ratio(attempt: Attempt, seed: int) -> Interval | None:
    """Return the time of the baseline / of the baseline once more; None where there was no control."""
    control = _block_seconds(attempt, CONTROL)
    return block_ratio_interval(_block_seconds(attempt, BASELINE), control, seed) if control else None


def is_steady(control: Interval) -> bool:
    """Return whether the control's interval holds 1 and is narrow: a wide one holds 1 because the machine was busy."""
    return holds(control, 1) and control.high <= WIDEST * control.low


def holds(interval: Interval, value: float) -> bool:
    """Return whether a value lies in an interval, which one without ends cannot show."""
    return interval.low is not None and interval.low <= value <= interval.high


def _block_seconds(attempt: Attempt, arm: str) -> list[float] | None:
    return [sum(turn.seconds) for turn in _turns(attempt, arm)] or None


def _block_tokens(attempt: Attempt, arm: str) -> list[int]:
    return [sum(turn.tokens) for turn in _turns(attempt, arm)]


def _turns(attempt: Attempt, arm: str) -> list[Turn]:
    return sorted((turn for turn in attempt.turns if turn.arm == arm), key=lambda turn: turn.block)


def _seconds_per_token(attempt: Attempt, blocks: int) -> list[float]:
    """Return the time of a token in each block, the mean over its arms, none of which counts more for being slower."""
    pace = {arm: _pace(attempt, arm) for arm in {turn.arm for turn in attempt.turns}}
    overall = {arm: fmean(values) for arm, values in pace.items()}
    return [fmean(pace[arm][block] / overall[arm] for arm in pace) for block in range(blocks)]


def _pace(attempt: Attempt, arm: str) -> list[float]:
    return [sum(turn.seconds) / sum(turn.tokens) for turn in _turns(attempt, arm)]


def _rank_correlation(values: Sequence[float]) -> float | None:
    """Return Spearman's correlation of values with their place; None where there are too few, or all are equal."""
    from scipy.stats import spearmanr

    if len(set(values)) < 2:
        return None
    return float(spearmanr(range(len(values)), values).statistic)


def _autocorrelation(values: np.ndarray) -> float | None:
    """Return the correlation of each value with the next one (lag 1); None where all are equal."""
    around = values - values.mean()
    total = (around**2).sum()
    return float((around[:-1] * around[1:]).sum() / total) if total > 0 else None
