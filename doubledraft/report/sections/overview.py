"""The first screen's table, the comparisons of cells, the cross check, and links."""

from collections.abc import Mapping, Sequence

from doubledraft.number_text import number_text, p_value_text, share_text
from doubledraft.report.comparisons import DraftChange, Gain
from doubledraft.report.page import Section, TableCell, points, quantity, table, text
from doubledraft.report.paired_accuracy import TestedPair
from doubledraft.report.sections.speed import best_length, is_unsteady, unsteady_warning
from doubledraft.report.tables import Row
from doubledraft.summaries.cell_metrics import RunMetrics
from doubledraft.summaries.cross_check import CheckedEngine, CrossCheck


def main_table(rows: Sequence[Row]) -> Section:
    """Return the table of the first screen: a row for each trained cell."""
    trained = [row for row in rows if row.trained]
    return Section(
        id="cells",
        title="",
        tables=[
            table(
                "Accuracy, tokens, speedup and acceptance of each trained cell",
                ["cell", "accuracy", "accuracy with draft", "tokens per answer", "speedup", "best K", "acceptance rate",
                 "tokens per step", "same answers"],
                [_main_row(row) for row in trained],
            )
        ],
        alarms=[unsteady_warning(row) for row in trained if is_unsteady(row)],
    )  # fmt: skip


def _main_row(row: Row) -> list[TableCell]:
    metrics, spec = row.metrics, row.metrics.speculation
    cells = [text(row.cell), _accuracy(row.answers)]
    if spec is None:
        return [*cells, text("not timed"), quantity(row.answers.tokens.mean), *[text("not timed")] * 5]
    return [
        *cells,
        _accuracy(metrics.speculative),
        quantity(row.answers.tokens.mean),
        quantity(metrics.speedup, strong=True, alarm=is_unsteady(row)),
        text(best_length(row), f"timed: {spec.draft_length}{' at most' * spec.adaptive}"),
        quantity(spec.acceptance_rate, True),
        quantity(spec.tokens_per_step),
        quantity(metrics.lossless.identical_rate, True),
    ]


def _accuracy(answers: RunMetrics) -> TableCell:
    return quantity(answers.accuracy.strict, True, alarm=answers.truncation_warning)


def styles(gains: Sequence[Gain], changes: Sequence[DraftChange]) -> Section:
    """Return what a shorter type gains over chain of thought, and how its drafts differ."""
    return Section(
        id="styles",
        title="Both together: from chain of thought without the draft to the shorter type with it",
        tables=[
            table(
                "Combined gain and its factors",
                [
                    "scenario",
                    "combined gain",
                    "= shorter reasoning",
                    "× speculation",
                    "tokens / CoT’s",
                    "accuracy − CoT’s",
                ],
                [
                    [
                        text(f"{gain.scenario}, {gain.type}"),
                        quantity(gain.combined, strong=True),
                        quantity(gain.brevity),
                        quantity(gain.speculation),
                        quantity(gain.tokens),
                        points(gain.accuracy and gain.accuracy.difference),
                    ]
                    for gain in gains
                ],
            ),
            table(
                "How drafts of the shorter type differ from those of chain of thought",
                [
                    "scenario",
                    "acceptance rate",
                    "its difference",
                    "tokens per step",
                    "their difference",
                    "speedup / CoT’s",
                ],
                [_change(change) for change in changes],
            ),
        ],
        notes=["Differences are paired by question, the speedups by block of questions."],
    )


def _change(change: DraftChange) -> list[TableCell]:
    (cot_rate, rate), (cot_tokens, tokens) = change.acceptance_rates(), change.tokens_per_step()
    return [
        text(f"{change.scenario}, {change.type}"),
        text(share_text(rate), f"CoT {share_text(cot_rate)}"),
        points(change.acceptance_change),
        text(number_text(tokens), f"CoT {number_text(cot_tokens)}"),
        quantity(change.tokens_per_step_change),
        quantity(change.speedup),
    ]


def accuracy_tests(tests: Sequence[TestedPair], margin: float) -> Section:
    """Return every comparison of accuracies, with its tests."""
    return Section(
        id="accuracy-tests",
        title="Accuracies compared, question by question",
        tables=[
            table(
                "Paired differences of accuracy with their tests",
                [
                    "cell",
                    "what",
                    "difference",
                    "lost, gained",
                    "p, equal",
                    "p, Holm",
                    f"p, not within {100 * margin:g} points",
                ],
                [
                    [
                        text(test.pair.cell),
                        text(test.pair.what),
                        points(test.pair.difference),
                        text(f"{test.pair.lost}, {test.pair.gained}"),
                        *[text(_differs(p_value)) for p_value in (test.differs, test.differs_adjusted)],
                        text(p_value_text(test.margin_adjusted)),
                    ]
                    for test in tests
                ],
            )
        ],
        notes=[
            "“Equal” is McNemar’s exact test of equal accuracies: a small p says that they differ. “Not within” tests "
            "equivalence: a small p says that they differ by less than the margin, report.accuracy_margin of the "
            "config. Holm adjusts both for the number of cells."
        ],
    )


def _differs(p_value: float | None) -> str:
    return "none differs" if p_value is None else p_value_text(p_value)


def cross_checks(checks: Mapping[str, CrossCheck]) -> Section:
    """Return whether three engines agree on the pairs of cells, where that was asked for."""
    return Section(
        id="cross-check",
        title="Three engines on one pair",
        before=["In float32, greedily; each answer is compared with that of the target alone in transformers."],
        tables=[
            table(
                "Cross check of the engines",
                ["cell", "engine", "same answers", "ties", "bugs", "tokens per step"],
                [
                    [text(cell), text(name), *_checked(engine, check)]
                    for cell, check in checks.items()
                    for name, engine in check.engines.items()
                ],
            )
        ],
        alarms=[
            f"{cell}: {check.bugs} answers are bugs, and the engines’ tokens per step are "
            f"{100 * check.tokens_per_step.spread:.2f} % apart, where {100 * check.tokens_per_step.tolerance:g} % is "
            "allowed."
            for cell, check in checks.items()
            if check.bugs or not check.tokens_per_step.agree
        ],
    )


def _checked(engine: CheckedEngine, check: CrossCheck) -> list[TableCell]:
    verdicts = [difference.verdict for difference in engine.differences]
    bugs = verdicts.count("bug")
    return [
        quantity(engine.identical_rate, True),
        text(verdicts.count("tie")),
        text(bugs, alarm=bool(bugs)),
        text(f"{engine.tokens_per_step:.3f}", alarm=not check.tokens_per_step.agree),
    ]


def elsewhere(links: Mapping[str, str]) -> Section:
    """Return links to pages and pictures beside the report; `links` maps a text to a path from the report's folder."""
    return Section(id="elsewhere", title="More pages of this study", links=list(links.items()))
