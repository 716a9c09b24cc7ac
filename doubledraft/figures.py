"""The report's figures: cells beside each other, every value with its interval as a bar.

A figure is drawn from plain values and knows nothing of metrics files or folders. Colour tells the reasoning type, the
marker's shape the scenario, and a hollow marker an untrained model.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from doubledraft.plots import COLOURS, INK, PAPER, canvas, note, nothing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = "os^DvP*X"
LABEL = 36  # characters of a row's label; a longer one would leave no room for the figure


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
    """Give every reasoning type its colour: CoT and CoD always theirs, others in order of name."""
    order = ["cot", "cod", *sorted(set(types) - {"cot", "cod"})]
    return {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(order)}


def markers(scenarios: Iterable[str]) -> dict[str, str]:
    """Give every scenario its marker, in order of first appearance."""
    return {name: MARKERS[index % len(MARKERS)] for index, name in enumerate(dict.fromkeys(scenarios))}


def count_text(counts: Iterable[int | None], unit: str = "questions a cell") -> str:
    """Say how many observations stand behind a figure's points."""
    known = sorted({count for count in counts if count is not None})
    if not known:
        return ""
    return f"n = {known[0]}{f' to {known[-1]}' if len(known) > 1 else ''} {unit}"


def _bars(low: float | None, value: float, high: float | None) -> list[list[float]] | None:
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
    """Start at 0, but where no effect is a value of its own, just below it: distance from there is what is read."""
    if reference is None:
        return 0, 1.0 if share else None
    least = min([reference, *(dot.value if dot.low is None else dot.low for dot in dots)])
    return least - 0.1 * abs(reference), None


def _draw_row(axes: "Axes", row: int, dot: Dot, colour: str) -> None:
    face = colour if dot.trained else PAPER
    bars = _bars(dot.low, dot.value, dot.high)
    axes.errorbar(dot.value, row, xerr=bars, fmt="o", markersize=6.5, color=colour, markerfacecolor=face, capsize=2.5)
    if dot.predicted is not None:
        axes.plot(dot.predicted, row, "d", markersize=6, markerfacecolor="none", color=INK, zorder=4)


def _clipped(label: str) -> str:
    return label if len(label) <= LABEL else f"{label[: LABEL - 1]}…"


def _short(value: float, share: bool) -> str:
    if share:
        return f"{100 * value:.0f} %"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"


def tradeoff_figure(points: list[tuple[Dot, Dot]], path: str | Path) -> None:
    """Draw accuracy against tokens per answer: (tokens, accuracy) a point; a scenario's trained types are joined."""
    with canvas(path, 4.1) as (figure, axes):
        if not points:
            return nothing(axes)
        palette = colours(tokens.type for tokens, _ in points)
        shapes = markers(tokens.scenario for tokens, _ in points)
        for scenario in shapes:
            joined = [(t.value, a.value) for t, a in points if t.scenario == scenario and t.trained]
            if joined:
                axes.plot(*zip(*joined, strict=True), color=INK, linewidth=0.8, alpha=0.55)
        for tokens, accuracy in points:
            axes.errorbar(
                tokens.value,
                accuracy.value,
                xerr=_bars(tokens.low, tokens.value, tokens.high),
                yerr=_bars(accuracy.low, accuracy.value, accuracy.high),
                fmt=shapes[tokens.scenario],
                markersize=7,
                linewidth=0.9,
                color=palette[tokens.type],
                markerfacecolor=palette[tokens.type] if tokens.trained else PAPER,
            )
        axes.set(xlabel="tokens per answer (mean)", ylabel="accuracy, strict (share)", ylim=(-0.03, 1.03))
        axes.set_xlim(left=0)
        _legend(figure, [tokens for tokens, _ in points], palette, shapes)
        note(figure, f"Bars: 95 % intervals; {count_text(accuracy.n for _, accuracy in points)}")


def _legend(figure: "Figure", dots: list[Dot], palette: dict[str, str], shapes: dict[str, str]) -> None:
    from matplotlib.lines import Line2D

    def entry(marker: str, colour: str, face: str, label: str) -> Line2D:
        return Line2D(
            [], [], marker=marker, color=colour, markerfacecolor=face, linestyle="", markersize=6, label=label
        )

    used = {dot.type for dot in dots}
    entries = [entry("o", colour, colour, name) for name, colour in palette.items() if name in used]
    entries += [entry(shape, INK, INK, name) for name, shape in shapes.items()]
    if not all(dot.trained for dot in dots):
        entries.append(entry("o", INK, PAPER, "untrained"))
    figure.legend(
        handles=entries,
        loc="outside upper left",
        ncols=len(entries) if len(entries) <= 6 else 4,
        columnspacing=0.9,
        handletextpad=0.2,
    )


def positions_figure(curves: list[list[Dot]], path: str | Path) -> None:
    """Draw the acceptance rate of every draft position (1 to K), one curve a cell."""
    with canvas(path, 3.7) as (figure, axes):
        if not curves:
            return nothing(axes)
        flat = [dot for curve in curves for dot in curve]
        palette, shapes = colours(dot.type for dot in flat), markers(dot.scenario for dot in flat)
        for index, curve in enumerate(curves):
            places = [place + 0.05 * (index - (len(curves) - 1) / 2) for place in range(1, len(curve) + 1)]
            colour = palette[curve[0].type]
            axes.plot(places, [dot.value for dot in curve], color=colour, linewidth=0.9, alpha=0.7)
            for place, dot in zip(places, curve, strict=True):
                bars = _bars(dot.low, dot.value, dot.high)
                axes.errorbar(
                    place, dot.value, yerr=bars, fmt=shapes[dot.scenario], color=colour, markersize=5.5, linewidth=0.9
                )
        axes.set_xticks(range(1, max(len(curve) for curve in curves) + 1))
        axes.grid(axis="x", visible=False)
        axes.set(xlabel="position in the draft (token)", ylabel="accepted (share of steps)", ylim=(0, 1.03))
        _legend(figure, flat, palette, shapes)
        note(figure, f"Bars: 95 % intervals; {count_text((curve[0].n for curve in curves), 'drafting steps a cell')}")
