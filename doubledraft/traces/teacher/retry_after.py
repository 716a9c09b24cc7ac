"""How long a service asks to wait before the next try (RFC 9110, section 10.2.3)."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def seconds(value: str) -> float | None:
    """Return the seconds of the header Retry-After, a number or a date; None for anything else."""
    if value.isdecimal() or value.replace(".", "", 1).isdecimal():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
