"""The style of every figure, and the figures of one step: the audit of traces and the loss of a training.

One restrained style: n under every figure, Okabe and Ito's palette, which colour-blind readers can tell apart, and text
that still reads at the width of a phone. Equal values give equal bytes: no dates, fixed ids, the font that travels with
matplotlib, and no text read as mathematics. The report's figures are in `figures.py`, so that an edit there reruns no
training.
"""

import csv
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from doubledraft.records import whole_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GRID, PAPER = "#1c1c1e", "#d9d9dc", "#fefefe"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
WIDTH = 4.7  # inches; 450 pixels on a page, so that text still reads when a phone shows it at 360
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


@contextmanager
def canvas(
    path: str | Path, height: float, *, width: float = WIDTH, **grid: object
) -> "Iterator[tuple[Figure, object]]":
    """Give a figure and its axes in the house style; without an error it is saved at `path`, whole or not at all."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    path = Path(path)
    with rc_context(STYLE), whole_path(path) as partial:
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots(**grid)
        undated = {".svg": {"Date": None}, ".png": {"Software": None}}
        figure.savefig(partial, format=path.suffix[1:], metadata=undated.get(path.suffix))


def note(figure: "Figure", text: str) -> None:
    """Write a line under a figure: what its bars are, and n."""
    figure.supxlabel(text, fontsize=8, x=0.01, ha="left")


def nothing(axes: "Axes") -> None:
    """Say in place of a figure that there is nothing to draw."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, "Nothing measured yet", ha="center", va="center", transform=axes.transAxes)


def loss_figure(table: str | Path, path: str | Path) -> None:
    """Draw the loss and the learning rate of a training from its CSV (columns step, epoch, loss, learning_rate)."""
    with open(table, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"step", "epoch", "loss", "learning_rate"} <= rows[0].keys():
        raise ValueError(f"{table}: expected rows with the columns step, epoch, loss, learning_rate")
    steps = [float(row["step"]) for row in rows]
    with canvas(path, 3.9, nrows=2, sharex=True, height_ratios=(3, 1)) as (figure, (top, bottom)):
        top.plot(steps, [float(row["loss"]) for row in rows], color=COLOURS[0], linewidth=1.2, marker=".", markersize=4)
        top.set(ylabel="loss (nats per token)")
        top.set_ylim(bottom=0)
        bottom.plot(steps, [float(row["learning_rate"]) for row in rows], color=COLOURS[1], linewidth=1.2)
        bottom.set(ylabel="learning rate", xlabel="optimizer step")
        bottom.set_ylim(bottom=0)
        bottom.ticklabel_format(axis="y", style="sci", scilimits=(0, 0), useMathText=False)
        figure.align_ylabels()
        note(figure, f"n = {len(rows)} logged steps, {float(rows[-1]['epoch']):g} epochs")


def audit_figure(audit: dict, path: str | Path) -> None:
    """Draw an audit (`audit.describe`): rows kept and dropped, tokens, steps, and words per step beside the rule."""
    rule = audit["rule"] or {}
    with canvas(path, 5.2, width=7.2, nrows=2, ncols=2) as (figure, ((rows, tokens), (steps, words))):
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
        note(figure, "; ".join([f"n = {audit['n']} rows, {audit['kept']} kept", *bounds]) + f"\n{'; '.join(shares)}")


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
        return nothing(axes)
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
