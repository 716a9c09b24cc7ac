"""The figures of the report: which values of the rows each shows, and its caption; `figures` and `charts` draw them."""

from collections.abc import Sequence
from pathlib import Path

from doubledraft.charts import Dot, dots_figure
from doubledraft.files import whole_directory
from doubledraft.report import page
from doubledraft.report.figures import positions_figure, tradeoff_figure
from doubledraft.report.tables import Row, drafted
from doubledraft.stats import Interval

CAPTIONS = {  # figure file: what it shows; its n is written below it
    "speedup.svg": "Speedup: wall time without the draft / with it, same questions, same order, same concurrency. "
    "Right of the dashed line is faster. Diamonds: the cost model's prediction from measured step times.",
    "acceptance.svg": "Acceptance rate: accepted / drafted tokens, counted up to the first rejection of each step.",
    "accuracy_tokens.svg": "Accuracy against length, without speculation. Upper left is better. A line joins the "
    "trained models of one scenario; hollow markers are the base model with examples in its prompt.",
    "positions.svg": "Share of drafting steps whose first, second, … token was accepted. "
    "A token is accepted only where all before it in its step were.",
    "tokens.svg": "Tokens per answer, without speculation. Hollow markers are the base model.",
}


def write(rows: Sequence[Row], figures: str | Path) -> dict[str, str]:
    """Draw the figures into a folder; return them as they stand inside the page."""
    with whole_directory(figures) as folder:
        _draw(rows, folder)
        return {name: page.inline(folder / name, caption) for name, caption in CAPTIONS.items()}


def _draw(rows: Sequence[Row], folder: Path) -> None:
    timed = drafted(rows)
    units = dict.fromkeys(row.metrics.speedup.units for row in timed)
    dots_figure(
        [_dot(row, row.metrics.speedup, predicted=row.metrics.speedup.predicted) for row in timed],
        folder / "speedup.svg",
        quantity="speedup (times)",
        reference=1,
        unit=" or ".join(f"{unit} a cell" for unit in units),
    )
    dots_figure(
        [_dot(row, rate) for row in timed if (rate := row.metrics.speculation.acceptance_rate)],
        folder / "acceptance.svg",
        quantity="acceptance rate (accepted / drafted)",
        share=True,
    )
    lengths = [(row, row.answers.tokens.mean, row.answers.accuracy.strict) for row in rows]
    tradeoff_figure(
        [(_dot(row, tokens), _dot(row, accuracy)) for row, tokens, accuracy in lengths if tokens and accuracy],
        folder / "accuracy_tokens.svg",
    )
    curves = [[_dot(row, share) for share in row.metrics.speculation.per_position_acceptance if share] for row in timed]
    positions_figure([curve for curve in curves if curve], folder / "positions.svg")
    dots_figure(
        [_dot(row, tokens) for row, tokens, _ in lengths if tokens],
        folder / "tokens.svg",
        quantity="tokens per answer (mean)",
    )


def _dot(row: Row, interval: Interval, **extra: object) -> Dot:
    bounds = {name: getattr(interval, name) for name in ("value", "low", "high", "n")}
    label = row.cell if row.trained else f"{row.cell} ({row.asked.replace(' prompt', '')})"
    return Dot(label=label, type=row.type, scenario=row.scenario, trained=row.trained, **bounds, **extra)
