"""The plan of turns, what their times tell, and by simulation how often the interval holds the truth.

In the simulation engines of known speed answer 48 questions in 8 blocks, on machines whose speed changes meanwhile. Of
200 cells on each machine between 0.90 and 0.99 must have the true speedup in their 95 % interval.
"""

from collections import Counter

import numpy as np
import pytest
from scipy.stats import norm, t

from doubledraft.evaluation.interleave import (
    BASELINE,
    CONTROL,
    SPECULATIVE,
    WIDEST,
    blocks_of,
    holds,
    is_steady,
    orders,
    summarize,
)
from doubledraft.stats import Interval, ratio_interval
from doubledraft.summaries.timing_file import Attempt, Turn

ARMS = [BASELINE, SPECULATIVE, CONTROL]
CELLS, BLOCKS, QUESTIONS = 200, 8, 6  # questions of a block
TURNS = BLOCKS * len(ARMS)
SPEEDUP, VARIED, NOISE = 1.3, 0.15, 0.04  # of engines, of questions, of a single call: logarithms' spreads
TRUTH = SPEEDUP / np.exp(VARIED**2 / 2)  # ratio of expected totals, when questions' own speedups are lognormal


def attempt(seconds: dict[str, list[float]], order: list[list[str]] | None = None, tokens: int = 10) -> Attempt:
    """Make an attempt of the total time of every block by arm."""
    blocks = len(next(iter(seconds.values())))
    order = order or [list(seconds)] * blocks
    turns = [
        Turn(block=block, arm=arm, seconds=[seconds[arm][block]], tokens=[tokens])
        for block in range(blocks)
        for arm in order[block]
    ]
    return Attempt(turns=turns)


# the plan


def test_blocks_are_consecutive_and_as_even_as_can_be():
    assert [list(block) for block in blocks_of("abcdefg", 3)] == [list("ab"), list("cde"), list("fg")]
    assert [list(block) for block in blocks_of("ab", 8)] == [["a"], ["b"]], "no block is empty"
    assert [len(block) for block in blocks_of(range(48), 8)] == [6] * 8


def test_every_other_block_mirrors_the_one_before_and_pairs_are_drawn_anew():
    plan = orders(ARMS, 40, seed=3)
    assert plan == orders(ARMS, 40, seed=3) != orders(ARMS, 40, seed=4)
    assert all(second == first[::-1] for first, second in zip(plan[::2], plan[1::2], strict=True))
    assert len({tuple(order) for order in plan[::2]}) == 6, "all orders of three occur"
    places = Counter((arm, place) for order in plan for place, arm in enumerate(order))
    assert all(places[arm, 0] == places[arm, 2] for arm in ARMS), "mirrored: as often first as last"


# what times tell


def test_the_speedup_is_a_ratio_of_totals_and_blocks_are_its_unit():
    found = summarize(attempt({BASELINE: [2, 4, 6], SPECULATIVE: [1, 4, 3], CONTROL: [2, 4, 6]}), seed=17)
    assert found.speedup.value == 12 / 8 and found.speedup.n == found.blocks == 3
    assert found.speedup.low < 12 / 8 < found.speedup.high
    assert found.block_speedups == [2, 1, 2]
    assert found.sign_test == 0.5, "two of two blocks that differ"
    assert found.control == Interval(1.0, 1.0, 1.0, 3) and found.steady


def test_the_speedup_of_drawn_answers_is_one_of_seconds_per_token():
    """The speculative arm drew answers twice as long, in the same time."""
    drawn = attempt({BASELINE: [2, 4, 6], SPECULATIVE: [2, 4, 6], CONTROL: [2, 4, 6]})
    for turn in drawn.turns:
        turn.tokens[0] *= 2 if turn.arm == SPECULATIVE else 1
    found = summarize(drawn, seed=17, per_token=True)
    assert found.speedup.value == pytest.approx(2) and found.block_speedups == pytest.approx([2, 2, 2])
    assert found.per_token and summarize(drawn, seed=17).speedup.value == 1 and found.steady


def test_a_control_that_is_slower_in_every_block_is_not_steady():
    times = {BASELINE: [2, 2.1, 2, 2.2], SPECULATIVE: [1, 1, 1, 1], CONTROL: [2.4, 2.5, 2.4, 2.6]}
    found = summarize(attempt(times), seed=17)
    assert found.control.high < 1 and not found.steady


def test_a_control_that_holds_1_by_its_width_alone_is_not_steady():
    """Another process had a core in some blocks: baseline and control met it in different ones."""
    busy = {BASELINE: [2, 3, 2, 2, 3, 2, 3, 2], SPECULATIVE: [1] * 8, CONTROL: [3, 2, 2, 3, 2, 3, 2, 2]}
    found = summarize(attempt(busy), seed=17)
    assert found.control.low < 1 < found.control.high and found.control.high > WIDEST * found.control.low
    assert not found.steady


def test_one_block_has_no_interval_and_so_cannot_be_steady():
    found = summarize(attempt({BASELINE: [2], SPECULATIVE: [1], CONTROL: [2]}), seed=17)
    assert found.speedup == Interval(2.0, None, None, 1) and not found.steady and found.drift is None


def test_drift_and_autocorrelation_are_those_of_series_worked_by_hand():
    slower = [2 * (1 + at / 10) for at in range(8)]
    assert summarize(attempt({BASELINE: slower, CONTROL: slower}), seed=1).drift == pytest.approx(1)
    swing = {BASELINE: [1, 2, 1, 2], SPECULATIVE: [1, 1, 1, 1], CONTROL: [1, 2, 1, 2]}
    assert summarize(attempt(swing), seed=1).autocorrelation == pytest.approx(-0.75)  # -3 products of 4 squares


def test_one_arm_alone_has_no_comparison():
    found = summarize(attempt({BASELINE: [1, 2, 3]}), seed=1)
    assert [found.speedup, found.sign_test, found.control, found.steady, found.autocorrelation] == [None] * 5
    assert found.drift == 1


# the simulation


def steady(random: np.random.Generator, calls: int) -> np.ndarray:
    return np.ones((CELLS, calls))


def slows_in_the_middle(random: np.random.Generator, calls: int) -> np.ndarray:
    """Lose a third of the speed at a call somewhere about the middle."""
    when = random.integers(3 * calls // 8, 5 * calls // 8, size=(CELLS, 1))
    return np.where(np.arange(calls) >= when, 1.5, 1.0)


def slow_for_a_while(random: np.random.Generator, calls: int) -> np.ndarray:
    start = random.integers(calls // 2, size=(CELLS, 1))
    at = np.arange(calls)
    return np.where((at >= start) & (at < start + calls // 3), 1.5, 1.0)


def jumps(random: np.random.Generator, calls: int) -> np.ndarray:
    """Change between full speed and two thirds of it, every 30 calls on average."""
    flips = np.cumsum(random.random((CELLS, calls)) < 1 / 30, axis=1) + random.integers(2, size=(CELLS, 1))
    return np.where(flips % 2, 1.5, 1.0)


def wanders(random: np.random.Generator, calls: int) -> np.ndarray:
    return np.exp(np.cumsum(random.normal(0, 0.02, (CELLS, calls)), axis=1))


MACHINES = [steady, slows_in_the_middle, slow_for_a_while, jumps, wanders]


def engines(random: np.random.Generator) -> dict[str, np.ndarray]:
    """Give the seconds of each question on an undisturbed machine, by arm: (cells, questions)."""
    shape = (CELLS, BLOCKS * QUESTIONS)
    plain = np.exp(random.normal(0, 0.4, shape))
    drafted = plain / (SPEEDUP * np.exp(random.normal(0, VARIED, shape)))
    return {BASELINE: plain, SPECULATIVE: drafted, CONTROL: plain}


def in_turns(machine, seed: int) -> list[tuple[Interval, Interval]]:
    """Time each cell by the plan; give its speedup and its control."""
    random = np.random.default_rng(seed)
    seconds, calls = engines(random), TURNS * QUESTIONS
    slowness = machine(random, calls) * np.exp(random.normal(0, NOISE, (CELLS, calls)))
    slowness = slowness.reshape(CELLS, TURNS, QUESTIONS)
    found = []
    for cell in range(CELLS):
        turns = [(block, arm) for block, order in enumerate(orders(ARMS, BLOCKS, seed=cell)) for arm in order]
        totals = {arm: [0.0] * BLOCKS for arm in ARMS}
        for turn, (block, arm) in enumerate(turns):
            asked = seconds[arm][cell].reshape(BLOCKS, QUESTIONS)[block]
            totals[arm][block] = float(asked @ slowness[cell, turn])
        summary = summarize(attempt(totals), seed=17)
        found.append((summary.speedup, summary.control))
    return found


def one_after_the_other(machine, seed: int) -> list[tuple[Interval, Interval]]:
    """Time each cell as before there were turns, all of an arm at once, with intervals over questions."""
    random = np.random.default_rng(seed)
    seconds, each = engines(random), BLOCKS * QUESTIONS
    slowness = machine(random, TURNS * QUESTIONS) * np.exp(random.normal(0, NOISE, (CELLS, TURNS * QUESTIONS)))
    runs = {arm: seconds[arm] * slowness[:, at * each : (at + 1) * each] for at, arm in enumerate(ARMS)}
    first = ratio_interval(runs[BASELINE][0], runs[SPECULATIVE][0], seed=17)
    found = list(zip(*(over_questions(runs[BASELINE], runs[arm]) for arm in (SPECULATIVE, CONTROL)), strict=True))
    assert found[0][0].low == pytest.approx(first.low, rel=0.02)
    assert found[0][0].high == pytest.approx(first.high, rel=0.02)
    return found


def over_questions(above: np.ndarray, below: np.ndarray) -> list[Interval]:
    """Give the interval that `ratio_interval` has, of all cells at once and of fewer resamples."""
    n = above.shape[1]
    counts = np.random.default_rng(17).multinomial(n, [1 / n] * n, size=2000).T
    tail = norm.cdf((n / (n - 1)) ** 0.5 * t.ppf(0.025, n - 1))
    ends = np.quantile((above @ counts) / (below @ counts), [tail, 1 - tail], axis=1)
    return [
        Interval(one / other, *pair, n) for one, other, pair in zip(above.sum(1), below.sum(1), ends.T, strict=True)
    ]


def coverage(found: list[tuple[Interval, Interval]]) -> tuple[float, float]:
    """Give the share of cells whose speedup's interval holds the truth, and of those whose control's holds 1."""
    speedup, control = (np.mean([holds(pair[at], truth) for pair in found]) for at, truth in ((0, TRUTH), (1, 1.0)))
    return float(speedup), float(control)


@pytest.mark.parametrize("machine", MACHINES)
def test_the_interval_of_turns_holds_the_truth_as_often_as_it_says(machine):
    found = in_turns(machine, seed=12)
    assert 0.90 <= coverage(found)[0] <= 0.99
    assert 0.90 <= coverage([pair for pair in found if is_steady(pair[1])])[0] <= 0.99


def test_most_cells_of_a_machine_that_jumps_are_not_steady_and_hardly_any_of_a_steady_one():
    jumped, undisturbed = (
        sum(is_steady(control) for _, control in in_turns(machine, 12)) for machine in (jumps, steady)
    )
    assert jumped < CELLS / 2 and undisturbed > 0.9 * CELLS


@pytest.mark.parametrize("machine", MACHINES[1:])
def test_the_interval_of_runs_one_after_the_other_does_not(machine):
    speedup, control = coverage(one_after_the_other(machine, seed=12))
    assert speedup < 0.6 and control < 0.6


def test_on_a_steady_machine_runs_one_after_the_other_would_do():
    assert coverage(one_after_the_other(steady, seed=12))[0] >= 0.9
