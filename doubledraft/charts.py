"""Charts that several pages share: one value per row with its interval; a colour per type, a marker per scenario."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from doubledraft.plotting import COLOURS, INK, PAPER, canvas, note, nothing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "os^DvP*X"
LABEL = 36  # characters of a row's label; a longer one would leave no room for the plot


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """One quantity of one cell: value with its 95 % interval."""

    label: str
    type: str
    scenario: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    trained: bool = True
    predicted: float | None = None


def colours(types: Iterable[str]) -> dict[str, str]:
    """Return a colour for every reasoning type: always the same for CoT and CoD, the others by order of name."""
    order = ["cot", "cod", *sorted(set(types) - {"cot", "cod"})]
    return {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(order)}


def markers(scenarios: Iterable[str]) -> dict[str, str]:
    """Return a marker for every scenario, by order of first appearance."""
    return {name: MARKERS[index % len(MARKERS)] for index, name in enumerate(dict.fromkeys(scenarios))}


def count_text(counts: Iterable[int | None], unit: str = "questions a cell") -> str:
    """Return how many observations each point of a chart summarises, as text: "n = 40 to 60 questions a cell"."""
    sizes = sorted({count for count in counts if count is not None})
    if not sizes:
        return ""
    return f"n = {sizes[0]}{f' to {sizes[-1]}' if len(sizes) > 1 else ''} {unit}"


def error_bars(low: float | None, value: float, high: float | None) -> list[list[float]] | None:
    """Return the lengths of a value's bar below and above it, as matplotlib takes them; None without an interval."""
    if low is None or high is None:
        return None
    return [[max(value - low, 0.0)], [max(high - value, 0.0)]]


def dots_figure(
    dots: list[Dot],
    path: str | Path,
    *,
    quantity: str,
    reference: float | None = None,
    share: bool = False,
    unit: str = "questions a cell",
) -> None:
    """Draw one quantity for every cell, a row each, with its interval; `reference` is the value of no effect."""
    with canvas(path, 1.15 + 0.29 * max(len(dots), 3)) as (figure, axes):
        if not dots:
            return nothing(axes)
        palette, rows = colours(dot.type for dot in dots), range(len(dots))
        for row, dot in enumerate(dots):
            _draw_row(axes, row, dot, palette[dot.type])
            axes.annotate(
                _short(dot.value, share), (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=9
            )
        if any(dot.predicted is not None for dot in dots):
            axes.plot([], [], "d", markersize=6, markerfacecolor="none", color=INK, label="predicted")
            figure.legend(loc="outside upper right")
        if reference is not None:
            axes.axvline(reference, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.set_yticks(list(rows), [_clipped(dot.label) for dot in dots])
        axes.set_ylim(len(dots) - 0.4, -0.6)
        axes.set_xlim(*_limits(dots, reference, share))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(quantity)
        note(figure, f"Bars: 95 % intervals; {count_text((dot.n for dot in dots), unit)}")


def _limits(dots: list[Dot], reference: float | None, share: bool) -> tuple[float, float | None]:
    """Return the limits of the x axis: from 0, or from below the reference, as the distance from it is what matters."""
    if reference is None:
        return 0, 1.0 if share else None
    drawn = [end for dot in dots for end in (dot.value, dot.low, dot.predicted) if end is not None]
    return min(reference, *drawn) - 0.1 * abs(reference), None


def _draw_row(axes: "Axes", row: int, dot: Dot, colour: str) -> None:
    face = colour if dot.trained else PAPER
    bars = error_bars(dot.low, dot.value, dot.high)
    axes.errorbar(dot.value, row, xerr=bars, fmt="o", markersize=6.5, color=colour, markerfacecolor=face, capsize=2.5)
    if dot.predicted is not None:
        axes.plot(dot.predicted, row, "d", markersize=6, markerfacecolor="none", color=INK, zorder=4)


def _clipped(label: str) -> str:
    return label if len(label) <= LABEL else f"{label[: LABEL - 1]}…"


def _short(value: float, share: bool) -> str:
    if share:
        return f"{100 * value:.0f} %"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"
