"""Numbers as text: shares, quantities and their 95 % intervals, rounded to what their n supports."""

from doubledraft.stats import FEWEST_UNITS, Interval

MISSING = "not measured"
SMALL_P = 0.001  # p-values below are not told apart
FINE = 200  # observations from which a share has a decimal: with fewer, one of them moves it by half a point


def share_text(interval: Interval | float | None) -> str:
    """Return a share as a percentage."""
    if isinstance(interval, Interval):
        return f"{_percent(interval.value, interval.n)} %"
    return MISSING if interval is None else f"{_percent(interval, 0)} %"


def number_text(value: Interval | float | None, unit: str = "") -> str:
    """Return a number with about three significant digits."""
    if isinstance(value, Interval):
        value = value.value
    return MISSING if value is None else f"{_rounded(value)}{unit}"


def range_text(interval: Interval | None, share: bool = False) -> str:
    """Return the 95 % interval and n of a quantity; empty where there is no quantity."""
    if interval is None:
        return ""
    if interval.low is None or interval.high is None:
        return _no_interval(interval.n)
    ends = [_percent(end, interval.n) if share else _rounded(end) for end in (interval.low, interval.high)]
    return f"{(' to ' if interval.low < 0 else '–').join(ends)}, n {interval.n}"


def quantity_text(interval: Interval | None, share: bool = False) -> str:
    """Return a quantity with its interval and n in brackets."""
    text = share_text(interval) if share else number_text(interval)
    return text if interval is None else f"{text} ({range_text(interval, share)})"


def points_text(interval: Interval | None) -> str:
    """Return a difference of shares in percentage points, with its interval and n in brackets."""
    return MISSING if interval is None else f"{change_text(interval)} ({change_range_text(interval)})"


def change_text(interval: Interval) -> str:
    """Return a difference of shares in percentage points."""
    return f"{_points(interval.value, interval.n)} points"


def change_range_text(interval: Interval) -> str:
    """Return the 95 % interval of a difference of shares in percentage points, and n."""
    if interval.low is None or interval.high is None:
        return _no_interval(interval.n)
    return f"{_points(interval.low, interval.n)} to {_points(interval.high, interval.n)}, n {interval.n}"


def p_text(value: float | None) -> str:
    """Return a p-value as it stands in a sentence; empty where nothing was tested."""
    return "" if value is None else f"p {'' if value < SMALL_P else '= '}{p_value_text(value)}"


def p_value_text(value: float | None) -> str:
    """Return a p-value, which says little beyond three digits; a dash where nothing was tested."""
    return "–" if value is None else f"< {SMALL_P}" if value < SMALL_P else f"{value:.3f}"


def _no_interval(n: int) -> str:
    return f"no interval, n {n}{' is too small' if n < FEWEST_UNITS else ''}"


def _points(value: float, n: int) -> str:
    digits = 1 if n >= FINE else 0
    return f"{round(100 * value, digits) + 0:+.{digits}f}".replace("-", "−")


def _percent(value: float, n: int) -> str:
    return f"{round(100 * value, 1 if n >= FINE else None) + 0:g}"  # + 0 turns -0.0 into 0.0


def _rounded(value: float) -> str:
    text = f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"
    return text.replace("-", "−")
