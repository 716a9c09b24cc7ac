"""What the cells say together: the gain of both ideas at once, what each gives, and the sentences that say so.

Only cells of one scenario are compared. Runs over the same questions in the same batches are paired and resampled
together; shares are compared as if independent, which for paired answers gives the wider, safer interval. No figure is
written here that was not computed from the rows.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

from doubledraft.evaluation.runs import Run
from doubledraft.log import log
from doubledraft.number_text import MISSING, number_text, range_text, share_text
from doubledraft.records import Generation, read_records
from doubledraft.report.tables import Row, pick
from doubledraft.stats import ratio_interval

NO_GAIN = (
    "The combined gain is not measured yet: that takes a CoT cell and a cell of a shorter type, of one scenario, "
    "measured alike (where they were not, the log of the report says in what they differ)."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """A short type against CoT in one scenario; every quantity is {value, low, high, n}."""

    scenario: str
    type: str
    combined: dict  # wall time of CoT without speculation / of the short type with it
    brevity: dict  # wall time of CoT / of the short type, both without speculation
    speculation: dict  # wall time of the short type without speculation / with it
    tokens: dict  # tokens of the short type / of CoT, both without speculation
    accuracy: dict | None  # strict accuracy of the short type - of CoT


def gains(rows: Sequence[Row]) -> list[Gain]:
    """Compare every other trained type with CoT, scenario by scenario, where both answered the same questions alike."""
    trained = {(row.scenario, row.type): row for row in rows if row.trained}
    pairs = [(trained.get((scenario, "cot")), row) for (scenario, type), row in trained.items() if type != "cot"]
    return [_gain(cot, short) for cot, short in pairs if cot and _comparable(cot, short)]


def _comparable(cot: Row, short: Row) -> bool:
    first, second = _measured(cot), _measured(short)
    unlike = [key for key in first if first[key] != second[key]]
    if unlike:
        log.warning("%s and %s differ in %s: their times are not compared", cot.cell, short.cell, " and ".join(unlike))
    return not unlike


def _measured(row: Row) -> dict[str, object]:
    """Give what must be equal where the times of two cells are compared."""
    run = pick(row.metrics, "provenance", "runs", path=row.path)[0]
    return {
        "questions_hash": pick(row.metrics, "questions_hash", path=row.path),
        **{key: pick(row.mode, key, path=row.path) for key in ("n", "concurrency")},
        **{key: pick(run, key, path=row.path) for key in ("engine", "kernel", "dtype")},
        "target": pick(row.metrics, "provenance", "settings", "target", path=row.path),
        "hardware": pick(row.metrics, "provenance", "hardware", path=row.path),
    }


def _gain(cot: Row, short: Row) -> Gain:
    long, brief, drafted = (
        pick(row.metrics, mode) for row, mode in ((cot, "baseline"), (short, "baseline"), (short, "speculative"))
    )
    runs = _runs(cot, short)
    seed = pick(short.metrics, "provenance", "seed", path=short.path)

    def ratio(above: int, below: int, values: Callable[[Run], Sequence[float]], total: float) -> dict:
        measured = ratio_interval(values(runs[above]), values(runs[below]), seed) if runs else None
        return asdict(measured) if measured else {"value": total, "low": None, "high": None, "n": long["n"]}

    return Gain(
        scenario=short.scenario,
        type=short.type,
        combined=ratio(0, 2, _seconds, long["wall_seconds"] / drafted["wall_seconds"]),
        brevity=ratio(0, 1, _seconds, long["wall_seconds"] / brief["wall_seconds"]),
        speculation=pick(short.metrics, "speedup", path=short.path),
        tokens=ratio(1, 0, _lengths, brief["tokens"]["total"] / long["tokens"]["total"]),
        accuracy=difference(brief["accuracy"]["strict"], long["accuracy"]["strict"]),
    )


def _runs(cot: Row, short: Row) -> list[Run] | None:
    """Read the generations beside both metrics files, which alone can be paired; None where they are gone."""
    paths = [
        cot.path.with_name("baseline.jsonl"),
        *(short.path.with_name(f"{mode}.jsonl") for mode in ("baseline", "speculative")),
    ]
    if not all(path.exists() for path in paths):
        log.warning(
            "%s and %s: no generations beside the metrics, so ratios between them have no interval",
            cot.cell,
            short.cell,
        )
        return None
    runs = [Run(str(path), read_records(path, Generation), {}) for path in paths]
    if len({tuple((row.id, row.batch) for row in run.rows) for run in runs}) > 1:
        log.warning(
            "%s and %s ran other questions or batches, so ratios between them have no interval", cot.cell, short.cell
        )
        return None
    return runs


def _seconds(run: Run) -> list[float]:
    return run.batches


def _lengths(run: Run) -> list[int]:
    return [len(row.token_ids) for row in run.rows]


def difference(one: dict | None, other: dict | None) -> dict | None:
    """Difference of two shares, one - other, with the interval that Newcombe builds from both Wilson intervals.

    Newcombe 1998, Statistics in Medicine 17:873, method 10: for independent shares.
    """
    if one is None or other is None:
        return None
    value = one["value"] - other["value"]
    below = ((one["value"] - one["low"]) ** 2 + (other["high"] - other["value"]) ** 2) ** 0.5
    above = ((one["high"] - one["value"]) ** 2 + (other["value"] - other["low"]) ** 2) ** 0.5
    return {"value": value, "low": value - below, "high": value + above, "n": min(one["n"], other["n"])}


def conclusions(rows: Sequence[Row], compared: Sequence[Gain]) -> list[str]:
    """Answer the study's question in sentences, from rows and their gains; say so where a part is not measured."""
    if not rows:
        return ["Nothing is measured yet, so there is nothing to conclude."]
    trained = [row for row in rows if row.trained]
    together = [_together(compared), _shorter(compared)] if compared else [NO_GAIN]
    alone = [_drafting(trained), _same(trained)] if trained else []
    return [sentence for sentence in [*together, _training(rows), *alone, _cut(rows)] if sentence]


def _list(items: Iterable[str]) -> str:
    *most, last = items
    return f"{', '.join(most)} and {last}" if most else last


def _each(compared: Sequence[Gain], text: Callable[[Gain], str]) -> str:
    return _list(
        f"{text(gain)} on {gain.scenario}" + (f" with {gain.type}" if gain.type != "cod" else "") for gain in compared
    )


def _bracket(interval: dict) -> str:
    return f"({range_text(interval)})"


def _extremes(found: dict[str, dict], text: Callable[[dict], str]) -> str:
    """Name the least and the greatest of some cells' quantities."""
    least, most = (choose(found, key=lambda cell: found[cell]["value"]) for choose in (min, max))
    if len(found) == 1:
        return f"{text(found[least])} on {least}"
    if found[least]["value"] == found[most]["value"]:
        return f"{text(found[least])} in every cell"
    return f"between {text(found[least])} on {least} and {text(found[most])} on {most}"


def _together(compared: Sequence[Gain]) -> str:
    factors = _each(compared, lambda gain: f"{number_text(gain.combined)} {_bracket(gain.combined)}")
    causes = _each(compared, lambda gain: f"{number_text(gain.brevity)} × {number_text(gain.speculation)}")
    return (
        "Against chain of thought without speculation, drafting the reasoning and the tokens multiplies speed by "
        f"{factors}. The factors are shorter reasoning × speculation: {causes}."
    )


def _shorter(compared: Sequence[Gain]) -> str:
    known = [gain for gain in compared if gain.accuracy]
    tokens = _each(compared, lambda gain: number_text(gain.tokens))
    clear = [gain for gain in known if gain.accuracy["low"] > 0 or gain.accuracy["high"] < 0]
    points = _each(known, lambda gain: points_text(gain.accuracy)) if known else ""
    chance = (
        f"beyond chance on {_list(gain.scenario for gain in clear)}" if clear else "none of it beyond chance at this n"
    )
    accuracy = f"Strict accuracy changes by {points}, {chance}." if known else ""
    return f"The share of chain of thought's tokens that is left is {tokens}. {accuracy}".strip()


def points_text(interval: dict | None) -> str:
    """Write a difference of shares in percentage points, with its interval."""
    if interval is None:
        return MISSING
    value, low, high = (f"{round(100 * interval[key]):+d}".replace("-", "−") for key in ("value", "low", "high"))
    return f"{value} points ({low} to {high}, n {interval['n']})"


def lift(row: Row, rows: Sequence[Row]) -> dict | None:
    """Lenient accuracy of a trained row, less that of the better untrained prompt of its scenario."""
    untrained = [other for other in rows if not other.trained and other.scenario == row.scenario]
    known = [share for other in untrained if (share := pick(other.mode, "accuracy", "lenient", path=other.path))]
    best = max(known, key=lambda share: share["value"], default=None)
    return difference(pick(row.mode, "accuracy", "lenient", path=row.path), best)


def _training(rows: Sequence[Row]) -> str:
    lifts = {row.cell: gained for row in rows if row.trained and (gained := lift(row, rows))}
    if not lifts:
        return "What training gives is not measured yet: that takes a trained and an untrained cell of one scenario."
    ends = _extremes(lifts, points_text)
    return f"The lift from training, in lenient accuracy over the better untrained prompt, is {ends}."


def _drafting(trained: Sequence[Row]) -> str:
    speedups = {row.cell: pick(row.metrics, "speedup", path=row.path) for row in trained}
    rates = {
        row.cell: rate
        for row in trained
        if (rate := pick(row.metrics, "speculation", "acceptance_rate", path=row.path))
    }
    sure = [cell for cell, speedup in speedups.items() if speedup["low"] is not None and speedup["low"] > 1]
    ends = _extremes(speedups, lambda speedup: f"{number_text(speedup)} {_bracket(speedup)}")
    accepted = (
        f" The share of drafted tokens that the target accepts is {_extremes(rates, share_text)}." if rates else ""
    )
    return (
        f"The speedup of speculation alone is {ends}; its interval lies above 1 in {len(sure)} of {len(trained)} "
        f"trained cells.{accepted}"
    )


def _same(trained: Sequence[Row]) -> str:
    rates = {
        row.cell: rate for row in trained if (rate := pick(row.metrics, "lossless", "identical_rate", path=row.path))
    }
    if not rates:
        return ""
    return f"The share of answers that are the same with the draft, token for token, is {_extremes(rates, share_text)}."


def _cut(rows: Sequence[Row]) -> str:
    cut = [
        f"{row.label} ({share_text(pick(row.mode, 'truncated', path=row.path))})"
        for row in rows
        if pick(row.mode, "truncation_warning", path=row.path)
    ]
    return f"Do not trust the accuracy of {_list(cut)}: so many answers were cut at the token cap." if cut else ""
