"""What services write into Retry-After."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from doubledraft.traces.teacher import retry_after


@pytest.mark.parametrize(("value", "expected"), [("0", 0), ("34", 34), ("1.5", 1.5)])
def test_a_number_is_seconds(value, expected):
    assert retry_after.seconds(value) == expected


def test_a_date_is_the_time_until_then_and_a_past_one_no_wait():
    soon, past = (datetime.now(UTC) + timedelta(seconds=shift) for shift in (60, -60))
    assert retry_after.seconds(format_datetime(soon, usegmt=True)) == pytest.approx(60, abs=2)
    assert retry_after.seconds(format_datetime(past, usegmt=True)) == 0


@pytest.mark.parametrize("value", ["soon", "", "nan", "inf", "-5"])
def test_anything_else_says_nothing(value):
    assert retry_after.seconds(value) is None
