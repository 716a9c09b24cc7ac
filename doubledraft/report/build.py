"""The report: one table, one page in Markdown and one in HTML, and the figures, from the metrics that exist.

The page first answers the study's question, in sentences computed from the metrics; then come tables, figures, how to
read them, and the published study beside ours. What is missing is named with the reason and the log to read. The HTML
page is one file: figures are inside, nothing is loaded from elsewhere, no script runs, and all text is escaped.
"""

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from doubledraft import number_text, pages, plotting
from doubledraft.charts import Dot, dots_figure
from doubledraft.files import whole_directory, whole_file
from doubledraft.log import log
from doubledraft.report import findings, tables
from doubledraft.report.figures import positions_figure, tradeoff_figure
from doubledraft.report.tables import Quantities, Row
from doubledraft.stats import Interval
from doubledraft.summaries.provenance import CellProvenance
from doubledraft.summaries.table import write_csv

HERE = Path(__file__).parent
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

FILTERS = {  # how the pages write numbers
    "share": number_text.share_text,
    "number": number_text.number_text,
    "range": number_text.range_text,
    "quantity": number_text.quantity_text,
    "points": number_text.points_text,
}


def build(
    *,
    metrics: Sequence[str | Path],
    asked: Sequence[str | Path],
    expected: Mapping[str, str],
    study: str,
    missing: Mapping[str, str],
    table: str | Path,
    markdown: str | Path,
    html: str | Path,
    figures: str | Path,
) -> None:
    """Write table.csv, report.md, report.html and the folder of figures.

    `metrics` are the existing metrics.json files, with their generations beside them. `expected` maps all cells of the
    study, in order, to the hash of their present settings; metrics of other settings count as missing. `missing` maps
    cells without metrics to the reason. `asked` are files {type}/{scenario}/asked.json, with what a teacher was asked
    for traces. Raise ReportError naming a bad file.
    """
    rows, old = _current(tables.read_rows(metrics, list(expected)), expected)
    missing = {**missing, **old}
    for cell, reason in missing.items():
        log.warning("%s is not measured: %s", cell, reason)
    compared = findings.gains(rows)
    write_csv(table, [tables.columns(row, _comparisons(row, rows, compared)) for row in rows])
    with whole_directory(figures) as folder:
        _draw(rows, folder)
        images = {name: inline(folder / name, caption) for name, caption in CAPTIONS.items()}
    page = _shown(rows, compared) | {
        "study": tables.visible(study),
        "expected": len(expected),
        "missing": tables.visible(list(map(list, missing.items()))),
        "costs": costs(asked),
        "images": images,
        "folder": Path(figures).name,
    }
    for path, template in ((markdown, "report.md.j2"), (html, "report.html.j2")):
        with whole_file(path) as file:
            file.write(pages.render(template, page, **FILTERS))
    log.info("report: %d of %d cells", len(expected) - len(missing), len(expected))


def _shown(rows: Sequence[Row], compared: Sequence[findings.Gain]) -> dict[str, object]:
    """Return what both pages show of the rows."""
    return {
        "rows": rows,
        "drafted": drafted(rows),
        "fewer": tables.fewer_questions(rows),
        "breakdowns": tables.breakdowns(rows),
        "small": tables.SMALL,
        "conclusions": findings.conclusions(rows, compared),
        "gains": compared,
        "published": json.loads((HERE / "published.json").read_text(encoding="utf-8")),
        "ours": {(row.scenario, row.type): row for row in rows if row.trained},
        "together": {(gain.scenario, gain.type): gain for gain in compared},
        "provenance": made_by(rows),
        "captions": CAPTIONS,
    }


def _current(rows: Sequence[Row], expected: Mapping[str, str]) -> tuple[list[Row], dict[str, str]]:
    """Return the rows that were measured with the present settings, and for every other cell why it is not shown."""
    why = "{}/metrics.json is of other settings than the config and the prompts have now: make it again"
    old = {row.cell: why.format(row.cell) for row in rows if row.metrics.provenance.config_hash != expected[row.cell]}
    return [row for row in rows if row.cell not in old], old


def drafted(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of trained cells that were timed with a draft too."""
    return [row for row in rows if row.trained and row.metrics.speculation]


def costs(asked: Sequence[str | Path]) -> list[tuple[str, dict]]:
    """Return (type and scenario, what was asked and paid) of every trace set that a paid teacher wrote."""
    found = [(" ".join(path.parts[-3:-1]), json.loads(path.read_text(encoding="utf-8"))) for path in map(Path, asked)]
    return [(name, entry) for name, entry in found if entry["rounds"]]


def _comparisons(row: Row, rows: Sequence[Row], compared: Sequence[findings.Gain]) -> Quantities:
    """Return the quantities of table.csv that compare a trained row with CoT and with the base model."""
    if not row.trained:
        return {}
    gain = next((gain for gain in compared if (gain.scenario, gain.type) == (row.scenario, row.type)), None)
    return {
        "combined_gain": gain and gain.combined,
        "brevity_gain": gain and gain.brevity,
        "tokens_of_cot": gain and gain.tokens,
        "accuracy_change": gain and gain.accuracy,
        "lift_over_untrained": findings.lift(row, rows),
    }


def _dot(row: Row, interval: Interval, **extra: object) -> Dot:
    bounds = {name: getattr(interval, name) for name in ("value", "low", "high", "n")}
    label = row.cell if row.trained else f"{row.cell} ({row.asked.replace(' prompt', '')})"
    return Dot(label=label, type=row.type, scenario=row.scenario, trained=row.trained, **bounds, **extra)


def _draw(rows: Sequence[Row], folder: Path) -> None:
    sped = drafted(rows)
    one_at_a_time = all(row.answers.concurrency == 1 for row in sped)
    dots_figure(
        [_dot(row, row.metrics.speedup, predicted=row.metrics.speedup.predicted) for row in sped],
        folder / "speedup.svg",
        quantity="speedup (times)",
        reference=1,
        unit="questions a cell" if one_at_a_time else "batches a cell",
    )
    dots_figure(
        [_dot(row, rate) for row in sped if (rate := row.metrics.speculation.acceptance_rate)],
        folder / "acceptance.svg",
        quantity="acceptance rate (accepted / drafted)",
        share=True,
    )
    lengths = [(row, row.answers.tokens.mean, row.answers.accuracy.strict) for row in rows]
    tradeoff_figure(
        [(_dot(row, tokens), _dot(row, accuracy)) for row, tokens, accuracy in lengths if tokens and accuracy],
        folder / "accuracy_tokens.svg",
    )
    curves = [[_dot(row, share) for share in row.metrics.speculation.per_position_acceptance if share] for row in sped]
    positions_figure([curve for curve in curves if curve], folder / "positions.svg")
    dots_figure(
        [_dot(row, tokens) for row, tokens, _ in lengths if tokens],
        folder / "tokens.svg",
        quantity="tokens per answer (mean)",
    )


def inline(path: Path, caption: str) -> str:
    """Return an SVG figure for use inside a page: ids of its own, no comments, the page's colours for ink and paper."""
    svg = path.read_text(encoding="utf-8")
    svg = re.sub(r"<!--.*?-->|<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|"#|url\(#)', rf"\g<1>{path.stem}-", svg)
    svg = re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="img" aria-label="LABEL">', svg, count=1
    )
    svg = svg.replace("LABEL", escape(caption), 1)
    for colour, name in (
        (plotting.INK, "ink"),
        (plotting.GRID, "grid"),
        (plotting.PAPER, "paper"),
        (plotting.COLOURS[0], "blue"),
    ):
        svg = svg.replace(colour, f"var(--{name})")
    return svg.strip()


def made_by(rows: Sequence[Row]) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    """Return (what, [(value, cells that have it)]): one value where all cells agree, else each with its cells."""
    facts: dict[str, dict[str, list[str]]] = {}
    for cell, made in {row.cell: row.metrics.provenance for row in rows}.items():
        for what, value in _facts(made):
            facts.setdefault(what, {}).setdefault(value, []).append(cell)
    return [(what, list(values.items())) for what, values in facts.items()]


def _facts(made: CellProvenance) -> list[tuple[str, str]]:
    facts = {
        "doubledraft": made.doubledraft,
        "commit": made.commit,
        "Python": made.python,
        "seed": made.seed,
        "libraries": ", ".join(f"{name} {version}" for name, version in made.libraries.items()),
        "hardware": made.hardware,
        "measured": made.time[:10],
    }
    return [(name, str(value)) for name, value in facts.items() if value not in (None, "")]
