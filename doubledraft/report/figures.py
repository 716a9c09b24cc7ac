"""The report's figures: cells beside each other, every value with its interval as a bar.

A figure is drawn from plain values and knows nothing of metrics files or folders. The colour is the reasoning type, the
shape of the marker the scenario, and a hollow marker an untrained model.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from doubledraft.charts import Dot, colours, count_text, error_bars, markers
from doubledraft.plotting import INK, PAPER, canvas, note, nothing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def tradeoff_figure(points: list[tuple[Dot, Dot]], path: str | Path) -> None:
    """Draw accuracy against tokens per answer, of (tokens, accuracy) pairs; a line joins a scenario's trained types."""
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
                xerr=error_bars(tokens.low, tokens.value, tokens.high),
                yerr=error_bars(accuracy.low, accuracy.value, accuracy.high),
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
    """Draw the share of steps that accepted 1 to K tokens or more, one curve per cell."""
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
                bars = error_bars(dot.low, dot.value, dot.high)
                axes.errorbar(
                    place, dot.value, yerr=bars, fmt=shapes[dot.scenario], color=colour, markersize=5.5, linewidth=0.9
                )
        axes.set_xticks(range(1, max(len(curve) for curve in curves) + 1))
        axes.grid(axis="x", visible=False)
        axes.set(xlabel="position in the draft (token)", ylabel="accepted (share of steps)", ylim=(0, 1.03))
        _legend(figure, flat, palette, shapes)
        note(figure, f"Bars: 95 % intervals; {count_text((curve[0].n for curve in curves), 'drafting steps a cell')}")
