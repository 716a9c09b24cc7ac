"""Tests of paired differences give published values, hold their level, and correct for several tests and clusters."""

from statistics import NormalDist

import numpy as np
import pytest

from doubledraft.evaluation.significance import (
    design_effect,
    holm,
    mcnemar,
    not_below,
    paired_difference,
    within_margin,
)


def test_mcnemar_is_a_coin_test_of_the_discordant_pairs():
    assert mcnemar(0, 5) == pytest.approx(2 / 2**5)
    assert mcnemar(3, 3) == 1
    assert mcnemar(0, 0) is None


def test_a_paired_difference_has_tango_s_published_interval():
    """Bentur et al. 2009: 7 of 21 children lost, 1 gained; the interval as in Fagerland et al. 2014, table V."""
    found = paired_difference(lost=7, gained=1, n=21)
    assert [round(end, 3) for end in (found.value, found.low, found.high)] == [-0.286, -0.517, -0.026]
    assert paired_difference(0, 0, 0) is None


@pytest.mark.parametrize("n", [10, 48, 288])
def test_pairs_that_never_differ_leave_a_width(n):
    """With no discordant pair the score is n D^2 / (n D (1 - D)) = z^2, so D = z^2 / (n + z^2)."""
    z = NormalDist().inv_cdf(0.975)
    found = paired_difference(0, 0, n)
    assert (found.low, found.high) == pytest.approx((-(z**2) / (n + z**2), z**2 / (n + z**2)))


def test_paired_differences_hold_their_level():
    generator, n = np.random.default_rng(3), 48
    counts = generator.multinomial(n, [0.12, 0.04, 0.84], size=400)
    held = [found.low <= 0.08 <= found.high for found in (paired_difference(lost, won, n) for won, lost, _ in counts)]
    assert 0.91 <= sum(held) / 400 <= 0.985


def test_equality_takes_enough_pairs_even_where_none_differs():
    few, enough = (within_margin(0, 0, n, 0.05) for n in (51, 52))
    assert enough < 0.05 < few, "z^2 (1 - margin) / margin = 51.4 pairs for z of 95 %, one-sided"
    assert within_margin(0, 8, 100, 0.05) > 0.5, "the difference found is above the margin"
    assert not_below(0, 8, 100, -0.05) < 0.001, "but more is no loss"


def test_holm_adjusts_for_the_number_of_tests_and_keeps_their_order():
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx([0.03, 0.06, None, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0] and holm([]) == []


def test_values_that_come_in_pairs_count_once():
    once = [1, 0, -1, 0, 1, 1]
    assert design_effect(once, range(6)) == 1.0
    assert design_effect(once * 2, [*range(6)] * 2) == pytest.approx(2)
    assert design_effect([0, 0], [1, 2]) == 1.0
