"""Tables as text."""

from collections.abc import Callable, Iterable, Mapping, Sequence

MISSING = "-"


def columns(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows under a header; the first column is left-aligned, the others right-aligned."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join(
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        + "\n"
        for line in lines
    )


def number(value: float | None) -> str:
    """Return a number with about three digits."""
    return MISSING if value is None else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def quantity(interval: Mapping | None) -> str:
    """Return a value with its 95 % interval."""
    return _with_ends(interval, number)


def share(interval: Mapping | None) -> str:
    """Return a share as a percentage, with its 95 % interval."""
    return _with_ends(interval, lambda value: f"{value:.0%}")


def _with_ends(interval: Mapping | None, show: Callable[[float], str]) -> str:
    if interval is None:
        return MISSING
    ends = [interval["low"], interval["high"]]
    return show(interval["value"]) + ("" if None in ends else f" [{show(ends[0])}-{show(ends[1])}]")
