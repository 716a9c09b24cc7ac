"""Intervals are right on cases worked by hand, hold their level in simulation, and never invent a number.

Run:
"""

import math

import numpy as np
import pytest

from doubledraft import stats
from doubledraft.stats import (
    Interval,
    as_json,
    mean_interval,
    median_interval,
    percentiles,
    ratio_interval,
    wilson,
)


def test_wilson_equals_published_example():
    # Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, table I, method 3
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (successes, n), ends in published.items():
        share = wilson(successes, n)
        assert (share.low, share.high) == pytest.approx(ends, abs=5e-5), f"{successes} of {n}"


@pytest.mark.parametrize("n", [1, 2, 7, 60, 1319])
def test_wilson_contains_its_share_and_stays_a_share(n):
    for successes in range(n + 1):
        share = wilson(successes, n)
        assert 0 <= share.low <= share.value <= share.high <= 1
        mirrored = wilson(n - successes, n)
        assert (share.low, share.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low))


def test_an_interval_lies_beside_a_value_or_holds_it():
    interval = Interval(2.0, 1.5, 3.0, 9)
    assert [stats.side(interval, value) for value in (1, 1.5, 3, 4)] == [1, 0, 0, -1]
    assert stats.side(Interval(2.0, None, None, 1), 0) == 0


def test_share_of_nothing_is_null():
    assert wilson(0, 0) is None
    assert as_json(wilson(0, 0)) is None


@pytest.mark.parametrize(("successes", "n"), [(3, 2), (-1, 2), (0, -1)])
def test_impossible_counts_are_refused(successes, n):
    with pytest.raises(ValueError, match="0 <= successes <= n"):
        wilson(successes, n)


@pytest.mark.parametrize(("p", "n"), [(0.05, 60), (0.5, 60), (0.9, 60), (0.7, 300)])
def test_wilson_covers_the_true_share(p, n):
    # Exact coverage, no chance involved: the average over n's binomial outcomes stays within 3 points of 95 %.
    covered = sum(
        math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1) if wilson(k, n).low <= p <= wilson(k, n).high
    )
    assert 0.92 < covered < 0.98


def simulate_coverage(draw, truth, monkeypatch, trials=400):
    monkeypatch.setattr(stats, "RESAMPLES", 1000)
    generator = np.random.default_rng(20)
    found = [ratio_interval(*draw(generator), seed) for seed in range(trials)]
    return sum(interval.low <= truth <= interval.high for interval in found) / trials


# Of 400 trials at a true level of 95 %, under 91 % or over 98.5 % cover with probability 0.0004 (binomial tails).
def test_bootstrap_covers_the_true_mean(monkeypatch):
    coverage = simulate_coverage(lambda g: (g.normal(5, 2, 30), np.ones(30)), 5, monkeypatch)
    assert 0.91 <= coverage <= 0.985


def test_bootstrap_covers_the_true_ratio_of_totals(monkeypatch):
    def draw(generator):
        drafted = generator.poisson(20, 60) + 5
        return generator.binomial(drafted, 0.7), drafted

    assert 0.91 <= simulate_coverage(draw, 0.7, monkeypatch) <= 0.985


def test_pairing_narrows_the_interval():
    generator = np.random.default_rng(1)
    baseline = generator.gamma(3, 1, 60)  # questions differ much, the ratio hardly
    speculative = baseline / generator.normal(1.5, 0.05, 60)
    paired = ratio_interval(baseline, speculative, 0)
    unpaired = ratio_interval(baseline, generator.permutation(speculative), 0)
    assert paired.high - paired.low < 0.2 * (unpaired.high - unpaired.low)


def test_ratio_is_of_totals_not_mean_of_ratios():
    ratio = ratio_interval([1, 1, 1, 90, 90, 90], [1, 1, 1, 10, 10, 10], seed=0)
    assert ratio.value == pytest.approx(91 / 11), "the mean of ratios would be 5"
    assert (ratio.low, ratio.high, ratio.n) == (1, 9, 6)


def test_units_too_few_for_their_range_to_hold_the_truth_have_no_interval():
    values = [1, 2, 3, 4, 5, 6]
    for n in range(1, stats.FEWEST_UNITS):
        assert mean_interval(values[:n], 0) == Interval((n + 1) / 2, None, None, n)
        assert median_interval(values[:n]) == Interval((n + 1) / 2, None, None, n)
    assert mean_interval(values, 0).low < 3.5 > median_interval(values).low


def test_constant_ratio_has_no_width():
    assert ratio_interval([2, 4, 6] * 2, [1, 2, 3] * 2, seed=0) == Interval(2.0, 2.0, 2.0, 6)


def test_same_seed_gives_same_ends():
    values = [3, 1, 4, 1, 5, 9, 2, 6]
    assert mean_interval(values, 7) == mean_interval(values, 7) != mean_interval(values, 8)


def test_many_units_are_drawn_in_blocks_without_changing_their_number(monkeypatch):
    monkeypatch.setattr(stats, "DRAWN_AT_ONCE", 100)
    monkeypatch.setattr(stats, "RESAMPLES", 1003)
    small = mean_interval(list(range(60)), 0)
    assert small.low < 29.5 < small.high


def test_mean_of_nothing_is_null():
    assert mean_interval([], 0) is None


def test_ratio_over_zero_is_null():
    assert ratio_interval([0, 0], [0, 0], 0) is None


def test_ratio_whose_denominator_can_vanish_in_a_draw_has_no_interval():
    ratio = ratio_interval([3, 0, 0, 0, 0, 0], [4, 0, 0, 0, 0, 0], 0)
    assert ratio == Interval(0.75, None, None, 6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_and_infinity_are_refused(bad):
    with pytest.raises(ValueError, match="finite"):
        mean_interval([1, bad], 0)


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError):
        ratio_interval([1, 2], [1], 0)


def test_the_tail_is_told_from_enough_values_on_and_else_why_not():
    few, some, many = (percentiles(range(n)) for n in (63, 64, 662))
    assert (few.p50.value, few.p90, few.p99, few.n) == (31, None, None, 63)
    assert few.reason == "p90 takes 64 values and p99 takes 662 values, and there are 63"
    assert (some.p90, some.p99) == (pytest.approx(56.7), None) and some.reason.startswith("p99 takes 662")
    assert (many.p99, many.reason) == (pytest.approx(654.39), None)
    assert percentiles([]) is None


def test_the_median_lies_between_order_statistics():
    assert median_interval([3, 1, 2, 6, 5, 4]) == Interval(3.5, 1, 6, 6), "covers with 1 - 2 / 2**6"
    assert median_interval([]) is None


def test_the_median_s_interval_holds_its_level():
    draws = np.random.default_rng(5).exponential(size=(2000, 48))
    held = sum(found.low <= np.log(2) <= found.high for found in map(median_interval, draws.tolist()))
    assert 0.945 <= held / 2000 <= 0.98, "the exact level is 0.9704; beyond with a probability under 1e-6"


def test_a_ratio_over_blocks_is_wider_than_its_percentiles_and_symmetric_in_the_logarithm(monkeypatch):
    above, below = [4.0, 5.0, 6.0, 5.0], [2.0, 2.5, 2.0, 3.0]
    found = stats.block_ratio_interval(above, below, seed=1)
    assert found.value == 20 / 9.5 and found.n == 4
    assert found.value / found.low == pytest.approx(found.high / found.value)
    monkeypatch.setattr(stats, "FEWEST_UNITS", 4)
    narrow = ratio_interval(above, below, seed=1)
    assert found.low < narrow.low and narrow.high < found.high


def test_blocks_that_took_no_time_are_refused():
    with pytest.raises(ValueError, match="positive finite"):
        stats.block_ratio_interval([1.0, 0.0], [1.0, 1.0], seed=1)


def test_equal_blocks_have_an_interval_without_width_and_one_block_has_none():
    equal = stats.block_ratio_interval([2.0, 2.0], [1.0, 1.0], seed=1)
    assert (equal.low, equal.high) == pytest.approx((2, 2)) and equal.low <= 2 <= equal.high
    assert stats.block_ratio_interval([2.0], [1.0], seed=1) == Interval(2.0, None, None, 1)


def test_answers_to_one_question_are_one_unit():
    """Ten questions with all four answers right or none: forty answers tell no more than ten."""
    units = [f"q{question}" for question in range(10) for _ in range(4)]
    right = [question < 5 for question in range(10) for _ in range(4)]
    found, naive = stats.share_interval(units, right, seed=1), stats.wilson(20, 40)
    assert found.value == 0.5 and found.n == 10
    assert found.high - found.low > 1.5 * (naive.high - naive.low)
    assert stats.share_interval(units[::4], right[::4], seed=1) == stats.wilson(5, 10), "one answer each"
    assert stats.share_interval([], [], seed=1) is None
    assert stats.totals(["b", "a", "b"], [1, 2, 3]) == [4, 2]


def test_a_change_of_a_rate_is_paired_and_undefined_over_nothing():
    before, after = ([8, 6, 9, 7, 8, 6], [10] * 6), ([7, 5, 8, 6, 7, 5], [10] * 6)
    assert stats.ratio_change_interval(before, after, 0) == Interval(pytest.approx(-0.1), *[pytest.approx(-0.1)] * 2, 6)
    assert stats.ratio_change_interval(([1, 2], [2, 2]), ([0, 0], [0, 0]), 0) is None


def test_a_mean_of_ratios_has_the_interval_of_one_and_narrows_with_more():
    one = stats.block_ratio_interval([4.0, 5.0, 6.0, 5.0], [2.0, 2.5, 2.0, 3.0], seed=1)
    alone, four = stats.geometric_mean([one]), stats.geometric_mean([one] * 4)
    assert (alone.low, alone.high, alone.n) == pytest.approx((one.low, one.high, one.n))
    assert math.log(four.high / four.low) < 0.5 * math.log(one.high / one.low), "half of it, and 12 degrees of freedom"
    assert stats.geometric_mean([Interval(2.0, None, None, 1), one]).low is None
    assert stats.geometric_mean([]) is None


def test_a_change_of_a_ratio_over_blocks_is_the_ratio_itself_where_the_other_is_one():
    above, below = [4.0, 5.0, 6.0, 5.0], [2.0, 2.5, 2.0, 3.0]
    found = stats.block_ratio_change_interval((below, below), (above, below), seed=1)
    assert found == stats.block_ratio_interval(above, below, seed=1)
    same = stats.block_ratio_change_interval((above, below), (above, below), seed=1)
    assert (same.low, same.value, same.high) == (1, 1, 1), "the same blocks are resampled together"
