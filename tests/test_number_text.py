"""Numbers as the pages write them: digits follow n, a missing value is said, and a minus is a minus sign."""

import pytest

from doubledraft.number_text import (
    MISSING,
    change_range_text,
    number_text,
    p_text,
    p_value_text,
    points_text,
    quantity_text,
    range_text,
    share_text,
)
from doubledraft.stats import Interval


def interval(value: float, low: float | None = None, high: float | None = None, n: int = 48) -> Interval:
    return Interval(value, low, high, n)


@pytest.mark.parametrize(("n", "text"), [(48, "46 %"), (199, "46 %"), (200, "45.8 %")])
def test_a_share_has_a_decimal_once_one_observation_moves_it_by_less_than_half_a_point(n, text):
    assert share_text(interval(22 / 48, n=n)) == text


@pytest.mark.parametrize(("value", "text"), [(2.2149, "2.21"), (47.84, "47.8"), (1234.5, "1234"), (-0.5, "−0.50")])
def test_a_number_has_about_three_digits(value, text):
    assert number_text(value) == number_text(interval(value)) == text
    assert number_text(value, " s") == f"{text} s"


def test_nothing_measured_is_said_and_never_zero():
    assert {share_text(None), number_text(None), quantity_text(None), points_text(None)} == {MISSING}
    assert range_text(None) == p_text(None) == "" and p_value_text(None) == "–"


def test_an_interval_names_its_ends_and_n_and_a_quantity_without_one_says_so():
    assert quantity_text(interval(0.458, 0.326, 0.597), share=True) == "46 % (33–60, n 48)"
    assert range_text(interval(0.5, -1, 2)) == "−1.00 to 2.00, n 48", "a dash between minus signs could not be read"
    assert range_text(interval(0.5, n=1)) == change_range_text(interval(0.5, n=1)) == "no interval, n 1 is too small"


def test_a_change_has_its_sign_and_zero_has_no_minus():
    assert points_text(interval(-0.021, -0.104, 0.062)) == "−2 points (−10 to +6, n 48)"
    assert points_text(interval(-0.0001, -0.01, 0.0, n=400)) == "+0.0 points (−1.0 to +0.0, n 400)"
    assert share_text(interval(-0.001)) == "0 %"


def test_small_p_values_are_not_told_apart():
    assert (p_text(0.04321), p_text(1e-9), p_value_text(1e-9)) == ("p = 0.043", "p < 0.001", "< 0.001")
