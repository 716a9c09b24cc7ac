"""Answers to the same questions, compared question by question: what one run gained and lost against another.

Verdicts are read from samples.csv beside a cell's metrics, in the order of the questions.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import NormalDist

from doubledraft.evaluation.significance import (
    design_effect,
    holm,
    mcnemar,
    not_below,
    paired_difference,
    within_margin,
)
from doubledraft.log import log
from doubledraft.report.tables import Row
from doubledraft.stats import Interval

LEVEL = 0.05  # of every test


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedAccuracy:
    """Verdicts of one run against those of another, on the same questions."""

    cell: str
    what: str  # name of the comparison
    scenario: str
    changes: list[int]  # of each answer: 1 right only in the new run, -1 only in the old one, 0 the same
    questions: int  # fewer than answers where each has several: the first answers to all come first

    @property
    def lost(self) -> int:
        """Answers that are right only in the old run."""
        return self.changes.count(-1)

    @property
    def gained(self) -> int:
        """Answers that are right only in the new run."""
        return self.changes.count(1)

    @property
    def difference(self) -> Interval:
        """Accuracy of the new run - of the old one."""
        return paired_difference(*self.counts)

    @property
    def counts(self) -> tuple[float, float, float]:
        """Lost, gained and all answers, as effective counts, since answers to one question are not independent."""
        return _independent([self])


@dataclass(frozen=True, slots=True, kw_only=True)
class TestedPair:
    """A comparison with its tests; p-values are adjusted for the number of cells by Holm's method."""

    pair: PairedAccuracy
    differs: float | None  # p-value of equal accuracies, McNemar's exact test; None where no verdict differs
    differs_adjusted: float | None
    margin_adjusted: float  # p-value of a difference as large as the margin; small shows equivalence


@dataclass(frozen=True, slots=True)
class PooledAccuracy:
    """The difference over the questions of several cells, and how sure it is."""

    difference: Interval
    cells: int
    lost: int
    gained: int
    within: float  # p-value of a difference as large as the margin, up or down
    not_below: float  # p-value of a loss as large as the margin


def verdicts(row: Row, run: str, reading: str = "strict") -> list[bool] | None:
    """Return whether each answer of a run is right, in the order of the questions; None where that is not recorded."""
    path, column = row.path.with_name("samples.csv"), f"{run}_{reading}_verdict"
    if not path.exists():
        log.warning("%s has no samples.csv beside its metrics, so its answers cannot be paired", row.cell)
        return None
    with open(path, encoding="utf-8", newline="") as file:
        values = [line.get(column) for line in csv.DictReader(file)]
    return None if None in values or len(values) != row.answers.n else [verdict == "equal" for verdict in values]


def paired(row: Row, what: str, before: Sequence[bool] | None, after: Sequence[bool] | None) -> PairedAccuracy | None:
    """Return the comparison of two runs' verdicts; None where either is not recorded, or of other questions.

    One answer to each question is compared with each of several.
    """
    questions = row.metrics.n
    if before is None or after is None or len(before) not in (questions, len(after)):
        return None
    before = list(before) * (len(after) // len(before))
    changes = [int(now) - int(then) for then, now in zip(before, after, strict=True)]
    return PairedAccuracy(cell=row.cell, what=what, scenario=row.scenario, changes=changes, questions=questions)


def tested(pairs: Sequence[PairedAccuracy], margin: float) -> list[TestedPair]:
    """Return comparisons of several cells with their tests."""
    differs = [mcnemar(pair.gained, pair.lost) for pair in pairs]
    within = [within_margin(*pair.counts, margin) for pair in pairs]
    return [
        TestedPair(pair=pair, differs=raw, differs_adjusted=adjusted, margin_adjusted=equal)
        for pair, raw, adjusted, equal in zip(pairs, differs, holm(differs), holm(within), strict=True)
    ]


def pooled(pairs: Sequence[PairedAccuracy], margin: float) -> PooledAccuracy | None:
    """Return the difference over all cells; a question that several cells answered counts as a cluster."""
    if not pairs:
        return None
    counts = _independent(pairs)
    difference = paired_difference(*counts)
    return PooledAccuracy(
        Interval(difference.value, difference.low, difference.high, sum(len(pair.changes) for pair in pairs)),
        cells=len(pairs),
        lost=sum(pair.lost for pair in pairs),
        gained=sum(pair.gained for pair in pairs),
        within=within_margin(*counts, margin),
        not_below=not_below(*counts, -margin),
    )


def _independent(pairs: Sequence[PairedAccuracy]) -> tuple[float, float, float]:
    """Return lost, gained and all answers, divided by the design effect of answers to one question."""
    changes = [change for pair in pairs for change in pair.changes]
    clusters = [(pair.scenario, place % pair.questions) for pair in pairs for place in range(len(pair.changes))]
    effect = design_effect(changes, clusters)
    return changes.count(-1) / effect, changes.count(1) / effect, len(changes) / effect


def beyond_chance(tests: Iterable[TestedPair], sign: int) -> list[str]:
    """Return the cells whose accuracy rose (sign 1) or fell (-1) beyond chance."""
    return [
        test.pair.cell
        for test in tests
        if test.differs_adjusted is not None and test.differs_adjusted < LEVEL and sign * test.pair.difference.value > 0
    ]


def fewest_for(margin: float) -> int:
    """Return how many pairs it takes to show equivalence where none differs."""
    return ceil(NormalDist().inv_cdf(1 - LEVEL) ** 2 * (1 - margin) / margin)
