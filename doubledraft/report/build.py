"""The report: one table, one page in Markdown and one in HTML, and the figures, from the metrics that exist.

The first screen judges the study's hypotheses and has the main table, both computed from the metrics; then come
sections, figures, how to read them, and the published study beside ours. What is missing is named with the reason and
the log to read. The HTML page is one file: figures are inside, nothing is loaded from elsewhere, no script runs, and
all text is escaped.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from doubledraft import pages
from doubledraft.files import whole_file
from doubledraft.log import log
from doubledraft.report import comparisons, hypotheses, images, page, tables
from doubledraft.report.sections import answers, drafts, lossless, overview, published, speed
from doubledraft.report.tables import Quantities, Row
from doubledraft.summaries.cross_check import CrossCheck
from doubledraft.summaries.provenance import CellProvenance
from doubledraft.summaries.run_file import RunFile
from doubledraft.summaries.table import write_csv


def build(
    *,
    metrics: Sequence[str | Path],
    asked: Sequence[str | Path],
    distilled: Sequence[str | Path],
    checks: Sequence[str | Path],
    matrix: Sequence[str | Path],
    links: Mapping[str, str | Path],
    expected: Mapping[str, str],
    study: str,
    missing: Mapping[str, str],
    margin: float,
    price: float | None,
    table: str | Path,
    markdown: str | Path,
    html: str | Path,
    figures: str | Path,
) -> None:
    """Write table.csv, report.md, report.html and the folder of figures.

    `metrics` are the existing metrics.json files, with generations, samples and timing beside them. `expected` maps all
    cells of the study, in order, to the hash of their present settings; metrics of other settings count as missing.
    `missing` maps cells without metrics to the reason. Where they exist: `asked`, files {type}/{scenario}/asked.json of
    teachers; `distilled` and `checks`, files {cell}/distilled_run.json and {cell}/cross_check.json; `matrix`,
    acceptance_matrix.csv; `links`, other pages by title. `margin` is the largest difference of accuracy that counts as
    none, `price` that of an hour of the machine. Raise ReportError naming a bad file.
    """
    rows, missing = _current(tables.read_rows(metrics, list(expected)), expected, missing)
    compared = comparisons.compared_cells(rows)
    gains = [comparisons.gain(*cells) for cells in compared]
    write_csv(table, [tables.csv_row(row, _comparisons(row, rows, gains)) for row in rows])
    beside = [
        drafts.training_rows({_cell(path): tables.read(Path(path), RunFile) for path in distilled}),
        answers.correct_answers(rows, price),
        answers.teacher(costs(asked)),
        drafts.matrix(matrix),
        overview.cross_checks({_cell(path): tables.read(Path(path), CrossCheck) for path in checks}),
        overview.elsewhere(_relative(links, Path(html).parent)),
    ]
    values = _judged(rows, compared, gains, margin, beside) | {
        "study": tables.visible(study),
        "measured": (len(expected) - len(missing), len(expected)),
        "missing": tables.visible(list(map(list, missing.items()))),
        "images": images.write(rows, figures),
        "folder": Path(figures).name,
    }
    for path, template in ((markdown, "report.md.j2"), (html, "report.html.j2")):
        with whole_file(path) as file:
            file.write(pages.render(template, values))
    log.info("report: %d of %d cells", *values["measured"])


def _judged(
    rows: Sequence[Row],
    compared: Sequence[tuple[Row, Row]],
    gains: Sequence[comparisons.Gain],
    margin: float,
    beside: Sequence[page.Section],
) -> dict[str, object]:
    """Return the values of both templates that the rows decide; the sections `beside` come from other files."""
    judged = hypotheses.judge(rows, gains, margin)
    changes = [change for cells in compared if (change := comparisons.draft_change(*cells))]
    theirs, drafted = published.read(), tables.drafted(rows)
    sections = [
        overview.styles(gains, changes),
        overview.accuracy_tests([test for hypothesis in judged for test in hypothesis.tests], margin),
        speed.speed(drafted),
        drafts.drafts(drafted),
        lossless.differences(drafted),
        answers.answers(rows),
        *beside,
    ]
    return {
        "judged": judged if rows else [],
        "sentences": _sentences(rows, changes, theirs),
        "main": overview.main_table(rows),
        "fewer": tables.fewer_questions(rows),
        "sections": [section for section in sections if not section.empty],
        "published": published.beside_ours(theirs, rows, gains),
        "provenance": made_by(rows),
        "captions": images.CAPTIONS if rows else {},
    }


def _sentences(rows: Sequence[Row], changes: Sequence[comparisons.DraftChange], theirs: Mapping) -> list[str]:
    """Return what the first screen says below the hypotheses."""
    if not rows:
        return ["Nothing is measured yet, so there is nothing to conclude."]
    types = dict.fromkeys(change.type for change in changes) or [None]
    pooled = [comparisons.over_all([change for change in changes if change.type == type]) for type in types]
    draft_sentences = [hypotheses.drafts_sentence(change, theirs["rows"]) for change in pooled]
    return [*hypotheses.serving(rows), *draft_sentences, *filter(None, [hypotheses.cut(rows)])]


def _cell(path: str | Path) -> str:
    return Path(path).parent.name


def _relative(links: Mapping[str, str | Path], folder: Path) -> dict[str, str]:
    """Return links by title, relative to the page's folder, as they stand in an address."""
    return {title: quote(os.path.relpath(path, folder)) for title, path in links.items()}


def _current(
    rows: Sequence[Row], expected: Mapping[str, str], missing: Mapping[str, str]
) -> tuple[list[Row], dict[str, str]]:
    """Return the rows that were measured with the present settings, and for every other cell why it is not shown."""
    why = "{}/metrics.json was made with other settings than those of the config and prompts now: make it again"
    old = {row.cell: why.format(row.cell) for row in rows if row.metrics.provenance.config_hash != expected[row.cell]}
    for cell, reason in (missing := {**missing, **old}).items():
        log.warning("%s is not measured: %s", cell, reason)
    return [row for row in rows if row.cell not in old], missing


def costs(asked: Sequence[str | Path]) -> list[tuple[str, dict]]:
    """Return (type and scenario, what was asked and paid) of every trace set that a paid teacher wrote."""
    entries = [(" ".join(path.parts[-3:-1]), json.loads(path.read_text(encoding="utf-8"))) for path in map(Path, asked)]
    return [(name, entry) for name, entry in entries if entry["rounds"]]


def _comparisons(row: Row, rows: Sequence[Row], gains: Sequence[comparisons.Gain]) -> Quantities:
    """Return the quantities of table.csv that compare a trained row with CoT and with the base model."""
    if not row.trained:
        return {}
    gain = next((gain for gain in gains if (gain.scenario, gain.type) == (row.scenario, row.type)), None)
    lift = comparisons.lift(row, rows)
    return {
        "combined_gain": gain and gain.combined,
        "brevity_gain": gain and gain.brevity,
        "tokens_of_cot": gain and gain.tokens,
        "accuracy_change": gain and gain.accuracy and gain.accuracy.difference,
        "lift_over_untrained": lift and lift.difference,
    }


def made_by(rows: Sequence[Row]) -> list[tuple[str, list[tuple[str, list[str]]]]]:
    """Return (what, [(value, cells that have it)]): one value where all cells agree, else each with its cells."""
    facts: dict[str, dict[str, list[str]]] = {}
    for cell, provenance in {row.cell: row.metrics.provenance for row in rows}.items():
        for what, value in _facts(provenance):
            facts.setdefault(what, {}).setdefault(value, []).append(cell)
    return [(what, list(values.items())) for what, values in facts.items()]


def _facts(provenance: CellProvenance) -> list[tuple[str, str]]:
    facts = {
        "doubledraft": provenance.doubledraft,
        "commit": provenance.commit,
        "Python": provenance.python,
        "seed": provenance.seed,
        "libraries": ", ".join(f"{name} {version}" for name, version in provenance.libraries.items()),
        "hardware": provenance.hardware,
        "measured": provenance.time[:10],
    }
    return [(name, str(value)) for name, value in facts.items() if value not in (None, "")]
