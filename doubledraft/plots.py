"""Figures: one restrained style, intervals as bars, n under every figure, readable at the width of a phone.

A figure is drawn from plain values and knows nothing of metrics files or cells' folders. Colour tells the reasoning
type (Okabe and Ito's palette, safe for colour-blind readers), the marker's shape the scenario, a hollow marker an
untrained model. Equal values give equal bytes: no dates, fixed ids, the font that travels with matplotlib, and no text
read as mathematics.
"""

import csv
import textwrap
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GRID, PAPER = "#1c1c1e", "#d9d9dc", "#fefefe"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
MARKERS = "os^DvP*X"
WIDTH = 4.7  # inches; 450 pixels on a page, so that text still reads when a phone shows it at 360
LABEL = 36  # characters of a row's label; a longer one would leave no room for the figure
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.labelsize": 9.5,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "savefig.dpi": 160,
    "svg.hashsalt": "doubledraft",
    "text.parse_math": False,
}


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


@contextmanager
def _figure(
    path: str | Path, height: float, *, width: float = WIDTH, **grid: object
) -> "Iterable[tuple[Figure, object]]":
    """Give a figure and its axes in the house style, saved at `path` in the format of its suffix."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots(**grid)
        dated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {"Software": None}}
        figure.savefig(path, metadata=dated.get(path.suffix))


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


def _note(figure: "Figure", text: str) -> None:
    figure.supxlabel(text, fontsize=8, x=0.01, ha="left")


def _nothing(axes: "Axes") -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, "Nothing measured yet", ha="center", va="center", transform=axes.transAxes)


def dots_figure(
    dots: list[Dot], path: str | Path, *, quantity: str, reference: float | None = None, share: bool = False
) -> None:
    """Draw one quantity for every cell, a row each, with its interval; `reference` is the value of no effect."""
    with _figure(path, 1.15 + 0.29 * max(len(dots), 3)) as (figure, axes):
        if not dots:
            return _nothing(axes)
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
        _note(figure, f"Bars: 95 % intervals; {count_text(dot.n for dot in dots)}")


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
    with _figure(path, 4.1) as (figure, axes):
        if not points:
            return _nothing(axes)
        palette = colours(tokens.type for tokens, _ in points)
        shapes = markers(tokens.scenario for tokens, _ in points)
        for scenario in shapes:
            joined = [(t.value, a.value) for t, a in points if t.scenario == scenario and t.trained]
            axes.plot(*zip(*joined, strict=True), color=INK, linewidth=0.8, alpha=0.55) if len(joined) > 1 else None
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
        axes.set(xlabel="tokens per answer (mean)", ylabel="accuracy, strict (share)", ylim=(0, 1.03))
        axes.set_xlim(left=0)
        _legend(figure, [tokens for tokens, _ in points], palette, shapes)
        _note(figure, f"Bars: 95 % intervals; {count_text(accuracy.n for _, accuracy in points)}")


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
        handles=entries, loc="outside upper left", ncols=min(len(entries), 4), columnspacing=1.2, handletextpad=0.3
    )


def positions_figure(curves: list[list[Dot]], path: str | Path) -> None:
    """Draw the acceptance rate of every draft position (1 to K), one curve a cell."""
    with _figure(path, 3.7) as (figure, axes):
        if not curves:
            return _nothing(axes)
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
        _note(figure, f"Bars: 95 % intervals; {count_text((curve[0].n for curve in curves), 'drafting steps a cell')}")


def loss_figure(table: str | Path, path: str | Path) -> None:
    """Draw the loss and the learning rate of a training from its CSV (columns step, epoch, loss, learning_rate)."""
    with open(table, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"step", "epoch", "loss", "learning_rate"} <= rows[0].keys():
        raise ValueError(f"{table}: expected rows with the columns step, epoch, loss, learning_rate")
    steps = [float(row["step"]) for row in rows]
    with _figure(path, 3.9, nrows=2, sharex=True, height_ratios=(3, 1)) as (figure, (top, bottom)):
        top.plot(steps, [float(row["loss"]) for row in rows], color=COLOURS[0], linewidth=1.2, marker=".", markersize=4)
        top.set(ylabel="loss (nats per token)")
        top.set_ylim(bottom=0)
        bottom.plot(steps, [float(row["learning_rate"]) for row in rows], color=COLOURS[1], linewidth=1.2)
        bottom.set(ylabel="learning rate", xlabel="optimizer step")
        bottom.set_ylim(bottom=0)
        bottom.ticklabel_format(axis="y", style="sci", scilimits=(0, 0), useMathText=False)
        figure.align_ylabels()
        _note(figure, f"n = {len(rows)} logged steps, {float(rows[-1]['epoch']):g} epochs")


def audit_figure(audit: dict, path: str | Path) -> None:
    """Draw an audit (`traces.audit`): rows kept and dropped, tokens, steps, and words per step beside the rule."""
    rule = audit["rule"] or {}
    with _figure(path, 5.2, width=7.2, nrows=2, ncols=2) as (figure, ((rows, tokens), (steps, words))):
        _kept_bars(rows, {"kept": audit["kept"]} | audit["reasons"])
        _histogram(tokens, audit["tokens"], "tokens per trace", "traces")
        _histogram(steps, audit["steps"], "steps per trace", "traces", rule.get("min_steps"), rule.get("max_steps"))
        _histogram(words, audit["words_per_step"], "words per step", "steps", None, rule.get("max_words"))
        shares = [
            f"{name} {100 * share['value']:.0f} %"
            for name, share in (
                ("answer equals gold:", audit["verified"]),
                ("keeps the rule:", audit["compliant"]),
                ("steps with an equation:", audit["numeric_density"]),
            )
            if share
        ]
        bounds = ["dashed: bounds of the rule"] if rule else []
        _note(figure, "; ".join([f"n = {audit['n']} rows, {audit['kept']} kept", *bounds]) + f"\n{'; '.join(shares)}")


def _kept_bars(axes: "Axes", counts: dict[str, int]) -> None:
    names = [textwrap.fill(name, 20) for name in counts]
    bars = axes.barh(range(len(names)), list(counts.values()), color=[COLOURS[0]] + [COLOURS[1]] * (len(names) - 1))
    axes.bar_label(bars, padding=3, fontsize=9)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(max(len(names), 3) - 0.4, -0.6)
    axes.margins(x=0.15)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel="rows", title="kept and dropped")


def _histogram(
    axes: "Axes", found: dict | None, label: str, unit: str, least: float | None = None, most: float | None = None
) -> None:
    if found is None:
        return _nothing(axes)
    edges, counts = found["histogram"]["edges"], found["histogram"]["counts"]
    shift = 0.5 if edges[1] - edges[0] == 1 else 0  # a bin of one whole number is centred on it
    axes.stairs(counts, [edge - shift for edge in edges], fill=True, color=COLOURS[0])
    for bound, side in ((least, -0.5), (most, 0.5)):
        if bound is not None:
            axes.axvline(bound + side, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.margins(x=0.05)
    axes.set_ylim(bottom=0)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel=label, ylabel=unit, title=f"median {found['median']:g}, largest {found['max']:g}, n {found['n']}")
