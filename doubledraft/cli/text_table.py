"""Figures as text, in columns."""

from collections.abc import Callable, Iterable, Mapping, Sequence

MISSING = "-"


def columns(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Set rows under a header; the first column stands to the left, figures to the right."""
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
    """Write a number with three figures or so."""
    return MISSING if value is None else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def quantity(interval: Mapping | None) -> str:
    """Write a figure with its 95 % interval."""
    return _with_ends(interval, number)


def share(interval: Mapping | None) -> str:
    """Write a share as a percentage, with its 95 % interval."""
    return _with_ends(interval, lambda value: f"{value:.0%}")


def _with_ends(interval: Mapping | None, show: Callable[[float], str]) -> str:
    if interval is None:
        return MISSING
    ends = [interval["low"], interval["high"]]
    return show(interval["value"]) + ("" if None in ends else f" [{show(ends[0])}-{show(ends[1])}]")
