"""Whether answers with the draft are the target's own, and what it means where they are not."""

from collections.abc import Sequence

from doubledraft.number_text import p_text
from doubledraft.report.page import Section, TableCell, points, quantity, table, text
from doubledraft.report.tables import Row


def differences(drafted: Sequence[Row]) -> Section:
    """Return how answers with the draft differ from those without it."""
    return Section(
        id="differences",
        title="How answers with the draft differ",
        before=["Greedy speculation promises the target’s own tokens, up to the rounding of the hardware."],
        tables=[
            table(
                "Answers that differ, where, and why",
                ["cell", "same answers", "differ", "first difference at token", "gap of the two best there",
                 "ties", "bugs", "right answers lost, gained", "accuracy"],
                [[text(row.cell), *_difference(row)] for row in drafted],
            )
        ],
        alarms=[
            f"{row.cell}: {row.metrics.lossless.bugs} answers first differ at a gap above "
            f"{row.metrics.lossless.tie_gap:g}, which the rounding of {row.metrics.lossless.dtype} does not explain; "
            "the cross check finds out more."
            for row in drafted
            if row.metrics.lossless.bugs
        ],
        notes=[
            "The gap is that of the log-probabilities of the target’s two best tokens where answers part. A tie is a "
            "gap that rounding explains; a larger one points to a bug.",
            *[f"{row.cell}: {row.metrics.lossless.reason}." for row in drafted if row.metrics.lossless.reason],
        ],
    )  # fmt: skip


def _difference(row: Row) -> list[TableCell]:
    metrics, verdicts = row.metrics.lossless, row.metrics.lossless.verdicts
    first, gap = metrics.first_difference, metrics.top2_gap
    none = text(None if metrics.different is None else "none")
    return [
        quantity(metrics.identical_rate, True),
        text(metrics.different),
        text(f"median {first.median:g}", f"earliest {first.min}") if first else none,
        text(f"median {gap.median:.2g}", f"largest {gap.max:.2g}, n {gap.n}") if gap else none,
        text(metrics.ties, f"gap ≤ {metrics.tie_gap:g}"),
        text(metrics.bugs, alarm=bool(metrics.bugs)),
        text(f"{verdicts.lost}, {verdicts.gained}", p_text(verdicts.p_value)),
        points(verdicts.difference),
    ]
