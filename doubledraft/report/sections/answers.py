"""Accuracy, length and form of the answers, and what they cost."""

from collections.abc import Iterable, Sequence

from doubledraft.number_text import number_text, quantity_text
from doubledraft.report.page import Section, TableCell, quantity, table, text
from doubledraft.report.tables import SMALL, Row, breakdowns
from doubledraft.stats import Interval
from doubledraft.summaries.cell_metrics import CostPerCorrect, RunMetrics


def answers(rows: Sequence[Row]) -> Section:
    """Return accuracy, truncation, length and form of the answers without the draft."""
    parts = breakdowns(rows)
    return Section(
        id="answers",
        title="Answers, without speculation",
        tables=[
            table(
                "Accuracy, length and form of the answers",
                ["cell", "accuracy, strict", "accuracy, lenient", "cut at the cap", "no strict answer",
                 "tokens per answer", "keeps draft rule"],
                [[_named(row), *_answer(row.answers)] for row in rows],
            ),
            table(
                "Strict accuracy by level and subject",
                ["cell", "by", "accuracy, strict"],
                [[_named(part.row), text(part.by), text(groups(part.groups, part.small))] for part in parts],
            ),
        ],
        alarms=[
            "So many answers were cut at the token cap that their accuracy measures the cap rather than the model: "
            + ", ".join(row.label for row in rows if row.answers.truncation_warning)
            + "."
        ]
        * any(row.answers.truncation_warning for row in rows),
        notes=[
            f"Lenient accuracy by group, and groups of fewer than {SMALL} questions, are in each cell’s metrics.json."
            if parts
            else f"Accuracy by level and subject, in groups of fewer than {SMALL} questions here, is in each cell’s "
            "metrics.json."
        ],
    )  # fmt: skip


def _named(row: Row) -> TableCell:
    return text(row.cell) if row.trained else text(row.label)


def _answer(run: RunMetrics) -> list[TableCell]:
    alarm = run.truncation_warning
    return [
        quantity(run.accuracy.strict, True, alarm=alarm),
        quantity(run.accuracy.lenient, True, alarm=alarm),
        quantity(run.truncated, True, alarm=alarm),
        text(run.unparsable, f"of {run.n}"),
        quantity(run.tokens.mean),
        quantity(run.compliance, True) if run.compliance else text("no rule"),
    ]


def correct_answers(rows: Sequence[Row], price: float | None) -> Section:
    """Return what a correct answer costs; `price` is that of the machine, per hour."""
    costs = [
        (row, run, cost)
        for row in rows
        for run, cost in (row.metrics.cost or {}).items()
        if row.trained or run == row.run
    ]
    reasons = dict.fromkeys(cost.energy_reason for _, _, cost in costs if cost.energy_reason)
    sources = dict.fromkeys(cost.energy_source for _, _, cost in costs if cost.energy_source)
    columns = [
        "cell",
        "run",
        "correct",
        "tokens",
        "seconds",
        *["money"] * (price is not None),
        *["joules"] * bool(sources),
    ]
    return Section(
        id="cost",
        title="What a correct answer costs",
        tables=[
            table(
                f"For each correct answer: {', '.join(columns[3:])}",
                columns,
                [
                    [
                        _named(row),
                        text({"baseline": "alone", "speculative": "with the draft"}.get(run, "untrained")),
                        text(cost.correct, f"of {row.answers.n}"),
                        quantity(cost.tokens),
                        quantity(cost.seconds),
                        *([] if price is None else [_money(cost, price)]),
                        *([text(None if cost.joules is None else number_text(cost.joules))] if sources else []),
                    ]
                    for row, run, cost in costs
                ],
            )
        ],
        notes=[
            "All answers of a run, the wrong ones too, over those that are right by the strict reading.",
            *(["No price: report.price_per_hour of the config is not set."] if price is None else []),
            *[f"Joules are those of the whole machine while an arm answers: {source}." for source in sources],
            *[f"No joules: {reason}." for reason in reasons],
        ],
    )


def _money(cost: CostPerCorrect, price: float) -> TableCell:
    if cost.seconds is None:
        return text(None)
    seconds = cost.seconds
    ends = "" if seconds.low is None else f"{seconds.low * price / 3600:.2g}–{seconds.high * price / 3600:.2g}"
    return text(f"{seconds.value * price / 3600:.2g}", ends)


def teacher(costs: Sequence[tuple[str, dict]]) -> Section:
    """Return what the traces of a paid teacher cost."""
    return Section(
        id="teacher",
        title="What the teacher’s traces cost",
        tables=[
            table(
                "Requests, tokens and price of the traces",
                ["traces", "kept", "requests", "tokens, sent and received", "USD", "USD per kept trace",
                 "USD at most, usage not reported"],
                [
                    [
                        text(name),
                        text(sum(entry["kept"] for entry in cost["rounds"])),
                        text(sum(entry["asked"] for entry in cost["rounds"])),
                        text(f"{cost['input_tokens']} + {cost['output_tokens']}"),
                        text(f"{cost['usd']:.4f}"),
                        text("–" if cost["usd_per_kept"] is None else f"{cost['usd_per_kept']:.6f}"),
                        text(f"{cost['usd_set_aside']:.4f}"),
                    ]
                    for name, cost in costs
                ],
            )
        ],
    )  # fmt: skip


def groups(shown: Iterable[tuple[str, Interval]], small: int) -> str:
    """Return the shares of groups in one text, and how many groups are too `small` to show."""
    parts = [f"{value}: {quantity_text(share, True)}" for value, share in shown]
    return "; ".join([*parts, f"{small} more with fewer than {SMALL} questions"] if small else parts)
