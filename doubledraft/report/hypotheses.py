"""The study's three hypotheses, judged from the rows that exist.

Accuracies are paired by question and pooled over the cells, and so judged with the n of the whole study; cells that
contradict the pooled result are named. Equality is never concluded from a test that finds no difference: it takes a
test that finds the difference to be within the margin. Where data for a verdict are missing, the figures name them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from doubledraft.number_text import number_text, p_text, points_text, quantity_text, share_text
from doubledraft.report import comparisons, paired_accuracy, tables
from doubledraft.report.comparisons import DraftChange, Gain, names
from doubledraft.report.paired_accuracy import LEVEL, PooledAccuracy, TestedPair
from doubledraft.report.sections.speed import is_unsteady, step_cost
from doubledraft.report.tables import Row
from doubledraft.stats import Interval, geometric_mean, ratio_interval, side

SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"
ADVICE = {
    SUPPORTED: "serve {} with the draft",
    CONTRADICTED: "serve {} without the draft",
    UNDECIDED: "there is no clear difference for {}",
}
NAMES = {"cod": "chain of draft", "cot": "chain of thought"}  # of types, in sentences
TRAINING = "Training improves accuracy."
SPECULATION = "Speculation cuts time without changing accuracy."
DRAFTING = "Chain of draft cuts tokens at little cost in accuracy."
SEED = 0  # of the bootstrap over the questions of all scenarios


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A hypothesis, its verdict, and the figures that it rests on, in sentences."""

    claim: str
    verdict: str  # supported | contradicted | undecided
    figures: list[str]
    tests: list[TestedPair] = field(default_factory=list)


def judge(rows: Sequence[Row], gains: Sequence[Gain], margin: float) -> list[Hypothesis]:
    """Judge the three hypotheses; `margin` is the largest difference of accuracy that counts as none."""
    return [_training(rows, margin), _speculation(rows, margin), _drafting(rows, gains, margin)]


def _training(rows: Sequence[Row], margin: float) -> Hypothesis:
    """Judge by the pooled change of lenient accuracy against the better untrained prompt of each scenario."""
    pairs = [pair for row in rows if row.trained and (pair := comparisons.lift(row, rows))]
    pool = paired_accuracy.pooled(pairs, margin)
    if pool is None:
        needed = "Not measured yet: it needs a trained and an untrained cell of one scenario with their samples.csv."
        return Hypothesis(TRAINING, UNDECIDED, [needed])
    tests = paired_accuracy.tested(pairs, margin)
    gained, lost = (paired_accuracy.beyond_chance(tests, sign) for sign in (1, -1))
    figures = [
        f"Against the better untrained prompt, lenient accuracy changes by {points_text(pool.difference)} over "
        f"{_cells(pool.cells)}; it rises significantly in {len(gained)} and falls significantly in {len(lost)} of them."
    ]
    figures += _against(lost, pool.difference.value > 0)
    compared = {pair.cell for pair in pairs}
    figures += _not_compared(
        [row.cell for row in rows if row.trained and row.cell not in compared], "an untrained cell"
    )
    return Hypothesis(TRAINING, _verdict(pool.difference, 0), figures, tests)


def _speculation(rows: Sequence[Row], margin: float) -> Hypothesis:
    """Judge by the speedup of steady cells, and by whether strict accuracy is equal within the margin."""
    drafted = tables.drafted(rows)
    if not drafted:
        return Hypothesis(
            SPECULATION, UNDECIDED, ["Not measured yet: it needs a trained cell that was timed with a draft."]
        )
    steady = [row for row in drafted if not is_unsteady(row)]
    speedup = geometric_mean([row.metrics.speedup for row in steady])
    pairs = [pair for row in drafted if (pair := comparisons.with_draft(row))]
    tests, pool = paired_accuracy.tested(pairs, margin), paired_accuracy.pooled(pairs, margin)
    figures = _time(steady, drafted, speedup)
    if pool is None:
        return Hypothesis(
            SPECULATION, UNDECIDED, [*figures, "Which answers are right with the draft is not recorded in samples.csv."]
        )
    figures.append(
        f"Strict accuracy changes by {points_text(pool.difference)}, {pool.lost} right answers lost and {pool.gained} "
        "gained. " + _test(pool, margin, pool.within, f"Equality within {_points(margin)}", "shown")
    )
    changed = pool.within >= LEVEL and _verdict(pool.difference, 0) != UNDECIDED
    slower, faster = (speedup is not None and _verdict(speedup, 1) == verdict for verdict in (CONTRADICTED, SUPPORTED))
    verdict = CONTRADICTED if slower or changed else SUPPORTED if faster and pool.within < LEVEL else UNDECIDED
    dissent = [cell for sign in (1, -1) for cell in paired_accuracy.beyond_chance(tests, sign)]
    return Hypothesis(SPECULATION, verdict, figures + _against(dissent, not changed), tests)


def _time(steady: Sequence[Row], drafted: Sequence[Row], speedup: Interval | None) -> list[str]:
    """Return in a sentence what the speedup is; `speedup` is None where no steady cell was timed."""
    unsteady = [row.cell for row in drafted if row not in steady]
    left_out = f" Left out, as the machine was not steady: {names(unsteady)}." if unsteady else ""
    if speedup is None:
        return [f"No cell was timed on a steady machine, so no speedup counts here.{left_out}"]
    faster, slower = (
        sum(_verdict(row.metrics.speedup, 1) == verdict for row in steady) for verdict in (SUPPORTED, CONTRADICTED)
    )
    how = f"the geometric mean of {_cells(len(steady))}, " if len(steady) > 1 else ""
    return [
        f"The speedup is {quantity_text(speedup)}, {how}and significantly above 1 in {faster} and below 1 in "
        f"{slower} of {_cells(len(steady))}.{left_out}"
    ]


def serving(rows: Sequence[Row]) -> list[str]:
    """Return in a sentence which cells are faster with their draft, and which without it; none where none was timed."""
    drafted = [row for row in tables.drafted(rows) if not is_unsteady(row)]
    groups = {verdict: [row for row in drafted if _verdict(row.metrics.speedup, 1) == verdict] for verdict in ADVICE}
    parts = [ADVICE[verdict].format(names(map(_cost, cells))) for verdict, cells in groups.items() if cells]
    return [f"By the measured wall times, {'; '.join(parts)}."] if parts else []


def _cost(row: Row) -> str:
    """Return a cell; where its draft slows it, with what a step costs and emits."""
    cost, emitted = step_cost(row), row.metrics.speculation.tokens_per_step
    if cost is None or _verdict(row.metrics.speedup, 1) != CONTRADICTED:
        return row.cell
    costs = f"a step with the draft costs {number_text(cost)} plain ones and emits {number_text(emitted)} tokens"
    return f"{row.cell} ({costs})"


def _drafting(rows: Sequence[Row], gains: Sequence[Gain], margin: float) -> Hypothesis:
    """Judge by the ratio of tokens to those of CoT, and by whether a loss of accuracy beyond the margin is excluded."""
    short = "cod" if any(gain.type == "cod" for gain in gains) else None
    compared = [gain for gain in gains if short is None or gain.type == short]
    if not compared:
        needed = "Not measured yet: it needs a CoT cell and a cell of a shorter type, of one scenario, measured alike."
        return Hypothesis(DRAFTING, UNDECIDED, [needed])
    tokens = _tokens(compared)
    figures = [f"The answers take {quantity_text(tokens)} times as many tokens as chain of thought's."]
    pairs = [gain.accuracy for gain in compared if gain.accuracy]
    tests, pool = paired_accuracy.tested(pairs, margin), paired_accuracy.pooled(pairs, margin)
    if pool is None:
        return Hypothesis(DRAFTING, UNDECIDED, [*figures, "Which answers are right is not recorded in samples.csv."])
    figures.append(
        f"Strict accuracy changes by {points_text(pool.difference)} over {_cells(pool.cells, 'scenario')}. "
        + _test(pool, margin, pool.not_below, f"A loss of {_points(margin)} or more", "excluded")
    )
    longer, shorter = (_verdict(tokens, 1) == verdict for verdict in (SUPPORTED, CONTRADICTED))
    costly = pool.difference.high < -margin
    verdict = CONTRADICTED if longer or costly else SUPPORTED if shorter and pool.not_below < LEVEL else UNDECIDED
    figures += _against(paired_accuracy.beyond_chance(tests, -1), not costly)
    scenarios = {gain.scenario for gain in compared}
    figures += _not_compared(
        [row.cell for row in rows if row.trained and row.scenario not in scenarios],
        "cells of both types, measured alike",
    )
    return Hypothesis(DRAFTING, verdict, figures, tests)


def _tokens(compared: Sequence[Gain]) -> Interval:
    """Return tokens of the short type / of CoT over all scenarios' questions."""
    if all(gain.lengths for gain in compared):
        short, long = ([length for gain in compared for length in gain.lengths[at]] for at in (0, 1))
        return ratio_interval(short, long, SEED)
    return geometric_mean([gain.tokens for gain in compared])


def _verdict(interval: Interval, nothing: float) -> str:
    """Return whether an interval lies above (supported) or below (contradicted) the value of no effect."""
    return {1: SUPPORTED, 0: UNDECIDED, -1: CONTRADICTED}[side(interval, nothing)]


def _test(pool: PooledAccuracy, margin: float, p_value: float, claim: str, outcome: str) -> str:
    """Return the result of a test against the margin, and how many answers it takes where there were too few."""
    needed = paired_accuracy.fewest_for(margin)
    few = f": {pool.difference.n} answers are too few: even if none differed, it would need {needed}" * (
        pool.difference.n < needed
    )
    return f"{claim} is {'' if p_value < LEVEL else 'not '}{outcome} ({p_text(p_value)}){few}."


def _against(cells: Sequence[str], others: bool) -> list[str]:
    return (
        [f"Against the result over all cells, the change is significant on {names(cells)}."] if cells and others else []
    )


def _not_compared(cells: Sequence[str], needed: str) -> list[str]:
    return [f"Not compared, since that needs {needed}: {names(cells)}."] if cells else []


def _cells(count: int, what: str = "cell") -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def _points(margin: float) -> str:
    return f"{100 * margin:g} points"


def drafts_sentence(change: DraftChange | None, published: Sequence[dict]) -> str:
    """Return in a sentence how drafted tokens fare in a short type against chain of thought."""
    if change is None:
        return (
            "How drafted tokens fare in chain of draft against chain of thought is not measured yet: that needs both "
            "types of one scenario, timed with a draft and measured alike."
        )
    (cot_rate, rate), (cot_tokens, tokens) = change.acceptance_rates(), change.tokens_per_step()
    accepted = change.acceptance_change
    theirs = {type: [row["acceptance_rate"] for row in published if row["type"] == type] for type in ("cod", "cot")}
    spans = " against ".join(f"{100 * min(values):.0f}–{100 * max(values):.0f} %" for values in theirs.values())
    finding = (
        "as in the published study"
        if side(accepted, 0) > 0
        else "where the published study has them accepted more often"
    )
    style = NAMES.get(change.type, change.type)
    return (
        f"Drafted tokens are accepted {_how_often(accepted)} in {style} than in chain of thought, {finding} ({spans}): "
        f"{share_text(rate)} against {share_text(cot_rate)}, "
        f"{points_text(accepted)}. A step emits {number_text(tokens)} against {number_text(cot_tokens)} tokens, a "
        f"difference of {quantity_text(change.tokens_per_step_change)}, and the speedup is "
        f"{quantity_text(change.speedup)} times chain of thought's."
    )


def _how_often(change: Interval) -> str:
    return {1: "more often", 0: "neither clearly more nor clearly less often", -1: "less often"}[side(change, 0)]


def cut(rows: Sequence[Row]) -> str:
    """Return a warning of the rows whose accuracy measures the token cap; empty where there is none."""
    cells = [f"{row.label} ({share_text(row.answers.truncated)})" for row in rows if row.answers.truncation_warning]
    return f"Do not trust the accuracy of {names(cells)}: so many answers were cut at the token cap." if cells else ""
