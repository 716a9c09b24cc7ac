"""The style of every figure.

One restrained style: n under every figure, Okabe and Ito's palette, which colour-blind readers can tell apart, and text
that is readable at the width of a phone. Equal values give equal bytes: no dates, fixed ids, the font that ships with
matplotlib, and no text parsed as mathematics.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from doubledraft.files import whole_path

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
    """Yield a figure and its axes in this style; it is saved at `path` when the block ends without an error."""
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
    """Write into an empty figure that there is nothing to draw."""
    axes.set_axis_off()
    axes.text(0.5, 0.5, "Nothing measured yet", ha="center", va="center", transform=axes.transAxes)
