"""The published study's figures cell by cell beside ours, with their definitions and what to know before comparing."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from doubledraft.number_text import number_text
from doubledraft.report.comparisons import Gain
from doubledraft.report.page import Section, TableCell, quantity, table, text
from doubledraft.report.tables import Row
from doubledraft.stats import Interval

PUBLISHED = Path(__file__).parents[1] / "published.json"


def read() -> dict:
    """Return the published figures, which `benchmarks/published_study.py` makes from the study's raw results."""
    return json.loads(PUBLISHED.read_text(encoding="utf-8"))


def beside_ours(published: Mapping, rows: Sequence[Row], gains: Sequence[Gain]) -> Section:
    """Return the published figures beside ours."""
    ours = {(row.type, row.scenario): row for row in rows if row.trained}
    combined = {(gain.type, gain.scenario): gain.combined for gain in gains}
    scenarios = "; ".join(
        f"{name} is {scenario['questions']} (n {scenario['n']})" for name, scenario in published["scenarios"].items()
    )
    cells = [(row, ours.get((row["type"], row["scenario"]))) for row in published["rows"]]
    return Section(
        id="published",
        title="The published study beside ours",
        before=[
            f"{published['title']}: {published['setup']}. Its scenarios have the names of ours, but other questions "
            f"and models: {scenarios}.",
            f"Its figures are counted from the raw results in {published['source']} at commit "
            f"{published['commit'][:12]}, by {published['made_by']}.",
        ],
        tables=[
            table(
                "Speed and accuracy, theirs and ours",
                ["cell", "speedup, theirs", "speedup, ours", "accuracy, theirs", "accuracy, theirs, finished answers",
                 "accuracy, ours, strict", "tokens per answer, theirs", "tokens per answer, ours"],
                [[text(f"{row['type']}_{row['scenario']}"), *_quality(row, mine)] for row, mine in cells],
            ),
            table(
                "What the drafts did, theirs and ours",
                ["cell", "tokens per step, theirs", "tokens per step, ours", "acceptance rate, theirs",
                 "acceptance rate, ours", "same answers, theirs", "same answers, ours"],
                [[text(f"{row['type']}_{row['scenario']}"), *_drafting(row, mine)] for row, mine in cells],
            ),
            table(
                "Order-independent agreement, which is larger than the acceptance rate and not to be compared with it",
                ["cell", "agreement, theirs", "agreement, ours, in the audit"],
                [[text(f"{row['type']}_{row['scenario']}"), *_agreement(row, mine)] for row, mine in cells],
            ),
            table(
                "Combined gain, theirs and ours",
                ["scenario", "combined gain, theirs", "combined gain, ours"],
                [
                    [text(name), text(number_text(value)), quantity(combined.get(("cod", name)))]
                    for name, value in published["combined"].items()
                ],
            ),
        ],
        notes=[f"Theirs, {_name(key)}: {meaning}." for key, meaning in published["definitions"].items()],
        points=published["caveats"],
    )  # fmt: skip


def _name(key: str) -> str:
    return key.replace("_", " ").replace("order independent", "order-independent")


def _percent(share: float) -> TableCell:
    return text(f"{100 * share:.1f} %")


def _quality(theirs: Mapping, ours: Row | None) -> list[TableCell]:
    return [
        text(number_text(theirs["speedup"])),
        quantity(ours and ours.metrics.speedup),
        _percent(theirs["accuracy"]),
        _percent(theirs["accuracy_finished"]),
        quantity(ours and ours.answers.accuracy.strict, True),
        text(number_text(theirs["tokens"])),
        quantity(ours and ours.answers.tokens.mean),
    ]


def _drafting(theirs: Mapping, ours: Row | None) -> list[TableCell]:
    spec, lossless = (ours.metrics.speculation, ours.metrics.lossless) if ours else (None, None)
    return [
        text(number_text(theirs["tokens_per_step"])),
        quantity(spec and spec.tokens_per_step),
        _percent(theirs["acceptance_rate"]),
        quantity(spec and spec.acceptance_rate, True),
        _percent(theirs["identical"]),
        quantity(lossless and lossless.identical_rate, True),
    ]


def _agreement(theirs: Mapping, ours: Row | None) -> list[TableCell]:
    return [_percent(theirs["order_independent_agreement"]), quantity(_audited(ours), True)]


def _audited(row: Row | None) -> Interval | None:
    return row and row.metrics.draft_audit and row.metrics.draft_audit.agreement
