"""What the drafts are worth: acceptance, the audit, every target with every draft, and what drafts learn from."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from doubledraft.number_text import number_text, share_text
from doubledraft.report.page import PageTable, Section, TableCell, quantity, table, text
from doubledraft.report.sections.answers import groups
from doubledraft.report.tables import SMALL, Row
from doubledraft.stats import Interval
from doubledraft.summaries.cell_metrics import SpeculationMetrics, TokenClass
from doubledraft.summaries.run_file import RunFile

REPLAYED = (1, 2, 3, 4, 5, 6, 8)  # draft lengths that the page shows; metrics.json has them up to 16


def drafts(drafted: Sequence[Row]) -> Section:
    """Return how the drafts were accepted, in the engine and as the audit replays it."""
    definitions = dict.fromkeys(row.metrics.speculation.acceptance_definition for row in drafted)
    agreement = dict.fromkeys(filter(None, (row.metrics.speculation.agreement_definition for row in drafted)))
    return Section(
        id="drafts",
        title="What the drafts are worth",
        tables=[
            _served(drafted),
            _served_classes(drafted),
            _audits(drafted),
            _replayed(drafted),
            _classes(drafted),
            table(
                "Acceptance rate by level and subject",
                ["cell", "by", "acceptance rate"],
                [cells for row in drafted for cells in _acceptance_by(row)],
            ),
        ],
        alarms=[disagreement for row in drafted if (disagreement := _disagreement(row))],
        notes=[f"Acceptance rate: {'; '.join(definitions)}."] * bool(definitions)
        + [
            f"Order-independent agreement in the timed run: {'; '.join(agreement)}."
            if agreement
            else "The engine does not record which tokens it drafted, so agreement comes from the audit alone."
        ],
    )


def _disagreement(row: Row) -> str | None:
    served = row.metrics.draft_audit and row.metrics.draft_audit.against_served
    if served is None or served.agrees:
        return None
    return (
        f"{row.cell}: replaying the answers gives {number_text(served.simulated)} tokens per step, the engine served "
        f"{number_text(served.served)}; under greedy decoding they should agree within {share_text(served.tolerance)}."
    )


def _served(drafted: Sequence[Row]) -> PageTable:
    """Return acceptance in the timed run, and agreement where the engine recorded it, which only some do."""
    has_agreement = any(row.metrics.speculation.order_independent_agreement for row in drafted)
    columns = ["cell", "acceptance rate", "tokens per step"]
    if has_agreement:
        columns += ["order-independent agreement"]
    return table(
        "Acceptance in the timed run",
        columns,
        [[text(row.cell), *_acceptance(row.metrics.speculation)][: len(columns)] for row in drafted],
    )


def _acceptance(spec: SpeculationMetrics) -> list[TableCell]:
    return [
        quantity(spec.acceptance_rate, True),
        quantity(spec.tokens_per_step),
        quantity(spec.order_independent_agreement, True),
    ]


def _served_classes(drafted: Sequence[Row]) -> PageTable:
    """Return acceptance and agreement in the timed run by class of token, where the engine recorded the tokens."""
    by_cell = {row.cell: row.metrics.speculation.token_classes for row in drafted}
    names = dict.fromkeys(name for classes in by_cell.values() for name in classes or {})
    return table(
        "Acceptance rate in the timed run by class of token; below it the agreement, and n drafted tokens",
        ["cell", *names],
        [
            [text(cell), *[_class(classes[name]) if name in classes else text(None) for name in names]]
            for cell, classes in by_cell.items()
            if classes
        ],
    )


def _class(metrics: TokenClass) -> TableCell:
    agreement = share_text(metrics.order_independent_agreement)
    return text(share_text(metrics.acceptance_rate), f"agree {agreement}, n {metrics.drafted}")


def _audits(drafted: Sequence[Row]) -> PageTable:
    rows = []
    for row in drafted:
        if audit := row.metrics.draft_audit:
            served = audit.against_served
            rows.append(
                [
                    text(row.cell),
                    quantity(audit.agreement, True),
                    quantity(audit.overlap, True),
                    text(served and number_text(served.simulated), alarm=bool(served) and not served.agrees),
                    text(served and number_text(served.served), f"K = {served.draft_length}" if served else ""),
                    quantity(audit.own_text.accuracy, True),
                    quantity(audit.own_text.compliance, True) if audit.own_text.compliance else text("no rule"),
                ]
            )
    return table(
        "The draft audit: both models read the target’s own answers",
        ["cell", "agreement", "1 − TV", "tokens per step, replayed", "tokens per step, served",
         "accuracy of the draft alone", "it keeps the draft rule"],
        rows,
    )  # fmt: skip


def _replayed(drafted: Sequence[Row]) -> PageTable:
    """Return tokens per step at other draft lengths than the timed one: what a longer draft would still add."""
    audits = {row.cell: row.metrics.draft_audit.simulated for row in drafted if row.metrics.draft_audit}
    return table(
        "Tokens per step at other K, replayed along the answers",
        ["cell", *(f"K = {length}" for length in REPLAYED)],
        [
            [text(cell), *[quantity(replay.tokens_per_step) for replay in lengths if replay.draft_length in REPLAYED]]
            for cell, lengths in audits.items()
            if lengths
        ],
    )


def _classes(drafted: Sequence[Row]) -> PageTable:
    """Return the agreement of each class of token, of which those with most tokens matter most."""
    by_cell = {row.cell: row.metrics.draft_audit.token_classes for row in drafted if row.metrics.draft_audit}
    names = dict.fromkeys(name for classes in by_cell.values() for name in classes)
    return table(
        "Agreement by class of token; n counts tokens",
        ["cell", *names],
        [
            [
                text(cell),
                *[quantity(classes[name].agreement, True) if name in classes else text(None) for name in names],
            ]
            for cell, classes in by_cell.items()
        ],
    )


def _acceptance_by(row: Row) -> list[list[TableCell]]:
    lines = []
    for by, rates in (row.metrics.acceptance_by or {}).items():
        large = {value: rate for value, rate in rates.items() if rate and rate.n >= SMALL}
        if large and len(rates) > 1:
            lines.append([text(row.cell), text(by), text(groups(large.items(), len(rates) - len(large)))])
    return lines


def matrix(paths: Sequence[str | Path]) -> Section:
    """Return the agreement of every trained target with every draft of the study, where it was measured."""
    lines = [line for path in paths for line in _lines(path)]
    names, targets = (list(dict.fromkeys(line[key] for line in lines)) for key in ("draft", "target"))
    by_pair = {(line["target"], line["draft"]): line for line in lines}
    return Section(
        id="matrix",
        title="Every target with every draft",
        before=["Is a style easier to draft, or its draft better trained, and does a draft serve another target?"],
        tables=[
            table(
                "Order-independent agreement of each target (row) with each draft (column)",
                ["target", *names],
                [
                    [text(target), *[_agreement(by_pair.get((target, name)), target == name) for name in names]]
                    for target in targets
                ],
            )
        ],
        notes=[
            "Both models read the target’s own answers; a target with its own draft is in bold. Down a column, one "
            "draft serves several targets; along a row, several drafts serve one. acceptance_matrix.csv has tokens "
            "per step too."
        ],
    )


def _lines(path: str | Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _agreement(line: Mapping[str, str] | None, is_own_draft: bool) -> TableCell:
    if line is None:
        return text(None)
    value, low, high = (float(line[name]) for name in ("agreement", "agreement_low", "agreement_high"))
    return quantity(Interval(value, low, high, int(line["n"])), True, strong=is_own_draft)


def training_rows(distilled: Mapping[str, RunFile]) -> Section:
    """Return what the drafts learn from: the target's answers that were kept, and why others were dropped."""
    return Section(
        id="distilled",
        title="What the drafts learn from",
        before=[
            "The trained target answers questions that are not in the test set; its answers, less those dropped here, "
            "train the draft."
        ],
        tables=[
            table(
                "Distilled rows",
                ["cell", "answers", "kept", "dropped, and why"],
                [
                    [
                        text(cell),
                        text(run.n),
                        text(run.kept, share_text(Interval(run.kept / run.n, None, None, run.n))),
                        text(
                            ", ".join(f"{reason}: {count}" for reason, count in (run.dropped or {}).items()) or "none"
                        ),
                    ]
                    for cell, run in distilled.items()
                    if run.kept is not None
                ],
            )
        ],
    )
