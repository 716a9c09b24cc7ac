"""What the cells say together: the gain of both ideas at once, what each gives, and the sentences of the answer.

Only cells of one scenario are compared. Runs over the same questions in the same batches are paired and resampled
together; shares are compared as if independent, which for paired answers gives the wider, safer interval. Every number
in a sentence was computed from the rows.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from doubledraft.evaluation.runs import batch_seconds
from doubledraft.log import log
from doubledraft.number_text import number_text, points_text, quantity_text, share_text
from doubledraft.records import Generation, read_records
from doubledraft.report.tables import Row
from doubledraft.stats import Interval, ratio_interval

NO_GAIN = (
    "The combined gain is not measured yet: that takes a CoT cell and a cell of a shorter type, of one scenario, "
    "measured alike (where they were not, the log of the report names what differs)."
)
Rows = list[Generation]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """A short type against CoT in one scenario."""

    scenario: str
    type: str
    combined: Interval  # wall time of CoT without speculation / of the short type with it
    brevity: Interval  # wall time of CoT / of the short type, both without speculation
    speculation: Interval  # wall time of the short type without speculation / with it
    tokens: Interval  # tokens of the short type / of CoT, both without speculation
    accuracy: Interval | None  # strict accuracy of the short type - of CoT


def gains(rows: Sequence[Row]) -> list[Gain]:
    """Compare every other trained type with CoT, scenario by scenario, where both answered the same questions alike."""
    trained = {(row.scenario, row.type): row for row in rows if row.trained and row.metrics.speculation}
    pairs = [(trained.get((scenario, "cot")), row) for (scenario, type), row in trained.items() if type != "cot"]
    return [_gain(cot, short) for cot, short in pairs if cot and _comparable(cot, short)]


def _comparable(cot: Row, short: Row) -> bool:
    first, second = _conditions(cot), _conditions(short)
    unlike = [key for key in first if first[key] != second[key]]
    if unlike:
        log.warning("%s and %s differ in %s: their times are not compared", cot.cell, short.cell, " and ".join(unlike))
    return not unlike


def _conditions(row: Row) -> dict[str, object]:
    """Return what must be equal where the times of two cells are compared."""
    made = row.metrics.provenance
    run = made.runs[0]
    return {
        "questions_hash": row.metrics.questions_hash,
        "n": row.answers.n,
        "concurrency": row.answers.concurrency,
        "engine": run.engine,
        "kernel": run.kernel,
        "dtype": run.dtype,
        "target": made.settings.get("target"),
        "hardware": made.hardware,
    }


def _gain(cot: Row, short: Row) -> Gain:
    long, brief, drafted = cot.metrics.baseline, short.metrics.baseline, short.metrics.speculative
    runs, seed = _paired_rows(cot, short), short.metrics.provenance.seed

    def ratio(above: int, below: int, values: Callable[[Rows], Sequence[float]], total: float) -> Interval:
        measured = ratio_interval(values(runs[above]), values(runs[below]), seed) if runs else None
        return measured or Interval(total, None, None, long.n)

    return Gain(
        scenario=short.scenario,
        type=short.type,
        combined=ratio(0, 2, batch_seconds, long.wall_seconds / drafted.wall_seconds),
        brevity=ratio(0, 1, batch_seconds, long.wall_seconds / brief.wall_seconds),
        speculation=short.metrics.speedup,
        tokens=ratio(1, 0, _lengths, brief.tokens.total / long.tokens.total),
        accuracy=difference(brief.accuracy.strict, long.accuracy.strict),
    )


def _paired_rows(cot: Row, short: Row) -> list[Rows] | None:
    """Read the generations beside both metrics files, which alone can be paired; None where they are gone."""
    paths = [
        cot.path.with_name("baseline.jsonl"),
        *(short.path.with_name(f"{mode}.jsonl") for mode in ("baseline", "speculative")),
    ]
    without = f"{cot.cell} and {short.cell}: ratios between them have no interval, since"
    if not all(path.exists() for path in paths):
        log.warning("%s there are no generations beside the metrics", without)
        return None
    runs = [read_records(path, Generation) for path in paths]
    if len({tuple((row.id, row.batch) for row in rows) for rows in runs}) > 1:
        log.warning("%s they ran other questions or batches", without)
        return None
    return runs


def _lengths(rows: Rows) -> list[int]:
    return [len(row.token_ids) for row in rows]


def difference(one: Interval | None, other: Interval | None) -> Interval | None:
    """Return the difference of two independent shares, one - other, with Newcombe's interval.

    Newcombe 1998, Statistics in Medicine 17:873, method 10, from both Wilson intervals.
    """
    if one is None or other is None:
        return None
    value = one.value - other.value
    below = ((one.value - one.low) ** 2 + (other.high - other.value) ** 2) ** 0.5
    above = ((one.high - one.value) ** 2 + (other.value - other.low) ** 2) ** 0.5
    return Interval(value, value - below, value + above, min(one.n, other.n))


def conclusions(rows: Sequence[Row], compared: Sequence[Gain]) -> list[str]:
    """Return the answer to the study's question in sentences, which also name the parts that are not measured."""
    if not rows:
        return ["Nothing is measured yet, so there is nothing to conclude."]
    trained = [row for row in rows if row.trained]
    together = [_together(compared), _shorter(compared)] if compared else [NO_GAIN]
    drafted = [row for row in trained if row.metrics.speculation]
    alone = [_drafting(drafted), _same(drafted)] if drafted else []
    return [sentence for sentence in [*together, _training(rows), *alone, _cut(rows)] if sentence]


def _list(items: Iterable[str]) -> str:
    *most, last = items
    return f"{', '.join(most)} and {last}" if most else last


def _each(compared: Sequence[Gain], text: Callable[[Gain], str]) -> str:
    return _list(
        f"{text(gain)} on {gain.scenario}" + (f" with {gain.type}" if gain.type != "cod" else "") for gain in compared
    )


def _extremes(found: dict[str, Interval], text: Callable[[Interval], str]) -> str:
    """Return the least and the greatest of some cells' quantities, with the cells."""
    least, most = (choose(found, key=lambda cell: found[cell].value) for choose in (min, max))
    if len(found) == 1:
        return f"{text(found[least])} on {least}"
    if found[least].value == found[most].value:
        return f"{text(found[least])} in every cell"
    return f"between {text(found[least])} on {least} and {text(found[most])} on {most}"


def _together(compared: Sequence[Gain]) -> str:
    factors = _each(compared, lambda gain: quantity_text(gain.combined))
    causes = _each(compared, lambda gain: f"{number_text(gain.brevity)} × {number_text(gain.speculation)}")
    return (
        "Against chain of thought without speculation, shorter reasoning with it is faster by a factor of "
        f"{factors}. The factors are shorter reasoning × speculation: {causes}."
    )


def _shorter(compared: Sequence[Gain]) -> str:
    tokens = _each(compared, lambda gain: number_text(gain.tokens))
    known = [gain for gain in compared if gain.accuracy]
    clear = [gain.scenario for gain in known if gain.accuracy.low > 0 or gain.accuracy.high < 0]
    points = _each(known, lambda gain: points_text(gain.accuracy)) if known else ""
    chance = f"beyond chance on {_list(clear)}" if clear else "none of it beyond chance at this n"
    accuracy = f" Strict accuracy changes by {points}; {chance}." if known else ""
    return f"The shorter answers take {tokens} of chain of thought's tokens.{accuracy}"


def lift(row: Row, rows: Sequence[Row]) -> Interval | None:
    """Return the lenient accuracy of a trained row, less that of the better untrained prompt of its scenario."""
    untrained = [other for other in rows if not other.trained and other.scenario == row.scenario]
    known = [share for other in untrained if (share := other.answers.accuracy.lenient)]
    return difference(row.answers.accuracy.lenient, max(known, key=lambda share: share.value, default=None))


def _training(rows: Sequence[Row]) -> str:
    lifts = {row.cell: gained for row in rows if row.trained and (gained := lift(row, rows))}
    if not lifts:
        return "What training changes is not measured yet: that takes a trained and an untrained cell of one scenario."
    ends = _extremes(lifts, points_text)
    return f"Over the better untrained prompt, training changes lenient accuracy by {ends}."


def _drafting(drafted: Sequence[Row]) -> str:
    speedups = {row.cell: row.metrics.speedup for row in drafted}
    rates = {row.cell: rate for row in drafted if (rate := row.metrics.speculation.acceptance_rate)}
    sure = [cell for cell, speedup in speedups.items() if speedup.low is not None and speedup.low > 1]
    accepted = f" The acceptance rate is {_extremes(rates, share_text)}." if rates else ""
    return (
        f"The speedup of speculation alone is {_extremes(speedups, quantity_text)}; its interval lies above 1 in "
        f"{len(sure)} of {len(drafted)} trained cells.{accepted}"
    )


def _same(drafted: Sequence[Row]) -> str:
    rates = {row.cell: rate for row in drafted if (rate := row.metrics.lossless.identical_rate)}
    if not rates:
        return ""
    return (
        f"The share of answers that have the same tokens with and without the draft is {_extremes(rates, share_text)}."
    )


def _cut(rows: Sequence[Row]) -> str:
    cut = [f"{row.label} ({share_text(row.answers.truncated)})" for row in rows if row.answers.truncation_warning]
    return f"Do not trust the accuracy of {_list(cut)}: that many answers were cut at the token cap." if cut else ""
