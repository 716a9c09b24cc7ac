"""Numbers as text: shares, quantities and their 95 % intervals, rounded to what their n can bear."""

MISSING = "not measured"
FINE = 200  # observations from which a share is written with one decimal: below, one of them moves it by half a point


def share_text(interval: dict | None) -> str:
    """Write a share as a percentage."""
    return MISSING if interval is None else f"{_percent(interval['value'], interval['n'])} %"


def number_text(interval: dict | float | None, unit: str = "") -> str:
    """Write a number with three figures or so."""
    if isinstance(interval, dict):
        interval = interval["value"]
    return MISSING if interval is None else f"{_rounded(interval)}{unit}"


def range_text(interval: dict | None, share: bool = False) -> str:
    """Write the 95 % interval and n of a quantity; empty where there is no quantity."""
    if interval is None:
        return ""
    low, high, n = interval["low"], interval["high"], interval["n"]
    if low is None or high is None:
        return f"no interval, n {n}"
    ends = [_percent(low, n), _percent(high, n)] if share else [_rounded(low), _rounded(high)]
    return f"{'–'.join(ends)}, n {n}"


def _percent(value: float, n: int) -> str:
    return f"{round(100 * value, 1 if n >= FINE else None) + 0:g}"  # + 0 turns -0.0 into 0.0


def _rounded(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"
