"""What the cells say together: the gain of both ideas at once, what each gives, and the sentences that say so.

Only cells of one scenario are compared. Runs over the same questions in the same batches are paired and resampled together;
shares are compared as if independent, which for paired answers gives the wider, safer interval. No figure is written here that
was not computed from the rows.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

from doubledraft.records import Generation, read_records
from doubledraft.runs import Run
from doubledraft.runtime import log
from doubledraft.stats import ratio_interval
from doubledraft.tables import Row, number_text, pick, range_text, share_text


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
    unlike = [key for key in ("n", "concurrency") if pick(cot.mode, key) != pick(short.mode, key)]
    if unlike:
        log.warning("%s and %s differ in %s: their times are not compared", cot.cell, short.cell, " and ".join(unlike))
    return not unlike


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
    """Read the generations beside both metrics files: only they can be paired. None, and no interval, where they are gone."""
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

    Method 10 of Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I, for independent shares.
    """
    if one is None or other is None:
        return None
    value = one["value"] - other["value"]
    below = ((one["value"] - one["low"]) ** 2 + (other["high"] - other["value"]) ** 2) ** 0.5
    above = ((one["high"] - one["value"]) ** 2 + (other["value"] - other["low"]) ** 2) ** 0.5
    return {"value": value, "low": value - below, "high": value + above, "n": min(one["n"], other["n"])}


def conclusions(rows: Sequence[Row]) -> list[str]:
    """Answer the study's question in sentences, from what is measured; says so where a part is not."""
    if not rows:
        return ["Nothing is measured yet, so there is nothing to conclude."]
    compared, trained = gains(rows), [row for row in rows if row.trained]
    parts = [
        _together(compared),
        _brevity(compared),
        _accuracy(compared),
        _training(rows),
        _drafting(trained),
        _same(trained),
    ]
    return [sentence for sentence in [*parts, _cut(rows)] if sentence]


def _list(items: Iterable[str]) -> str:
    *most, last = items
    return f"{', '.join(most)} and {last}" if most else last


def _bracket(interval: dict, share: bool = False) -> str:
    return f"({range_text(interval, share)})"


def _together(compared: Sequence[Gain]) -> str:
    if not compared:
        return (
            "The combined gain is not measured yet: it takes a CoT cell and a cell of a shorter type, of one scenario, "
            "on the same questions."
        )
    parts = _list(f"{number_text(gain.combined)} times {_bracket(gain.combined)} on {_what(gain)}" for gain in compared)
    causes = _list(
        f"{number_text(gain.brevity)} × {number_text(gain.speculation)} on {_what(gain)}" for gain in compared
    )
    return (
        "Drafting the reasoning and drafting the tokens, together, answer the same questions faster than chain of thought "
        f"without speculation by a factor of {parts}. The factor is shorter reasoning × speculation: {causes}."
        if all(gain.combined["value"] > 1 for gain in compared)
        else "Drafting the reasoning and drafting the tokens, together, change the speed of chain of thought without "
        f"speculation by a factor of {parts} (above 1 is faster): shorter reasoning × speculation gives {causes}."
    )


def _what(gain: Gain) -> str:
    return gain.scenario if gain.type == "cod" else f"{gain.scenario} ({gain.type})"


def _brevity(compared: Sequence[Gain]) -> str:
    if not compared:
        return ""
    parts = _list(f"{number_text(gain.tokens)} {_bracket(gain.tokens)} on {_what(gain)}" for gain in compared)
    return f"Drafted reasoning takes this share of chain of thought's tokens: {parts}."


def _accuracy(compared: Sequence[Gain]) -> str:
    known = [gain for gain in compared if gain.accuracy]
    if not known:
        return ""
    parts = _list(f"{points_text(gain.accuracy)} on {_what(gain)}" for gain in known)
    clear = [_what(gain) for gain in known if gain.accuracy["low"] > 0 or gain.accuracy["high"] < 0]
    verdict = f"beyond chance on {_list(clear)}" if clear else "none of it beyond chance at this n"
    return f"Strict accuracy changes by {parts}: {verdict}."


def points_text(interval: dict | None) -> str:
    """Write a difference of shares in percentage points, with its interval."""
    if interval is None:
        return "not measured"
    value, low, high = (round(100 * interval[key]) for key in ("value", "low", "high"))
    return f"{value:+d} points ({low:+d} to {high:+d}, n {interval['n']})"


def lift(row: Row, rows: Sequence[Row]) -> dict | None:
    """Lenient accuracy of a trained cell over the better untrained prompt of its scenario, as a difference of shares."""
    lenient = [
        pick(other.mode, "accuracy", "lenient")
        for other in rows
        if not other.trained and other.scenario == row.scenario
    ]
    known = [share for share in lenient if share]
    best = max(known, key=lambda share: share["value"], default=None)
    return difference(pick(row.mode, "accuracy", "lenient"), best)


def _training(rows: Sequence[Row]) -> str:
    lifts = {row.cell: gained for row in rows if row.trained and (gained := lift(row, rows))}
    if not lifts:
        return "What training gives is not measured yet: it takes a trained and an untrained cell of one scenario."
    least, most = (choose(lifts, key=lambda cell: lifts[cell]["value"]) for choose in (min, max))
    ends = f"{points_text(lifts[least])} on {least}"
    if most != least:
        ends = f"from {ends} to {points_text(lifts[most])} on {most}"
    return f"Over the better untrained prompt, training changes lenient accuracy by {ends}."


def _drafting(trained: Sequence[Row]) -> str:
    if not trained:
        return ""
    speedups = {row.cell: pick(row.metrics, "speedup", path=row.path) for row in trained}
    sure = [cell for cell, speedup in speedups.items() if speedup["low"] is not None and speedup["low"] > 1]
    least, most = (choose(speedups, key=lambda cell: speedups[cell]["value"]) for choose in (min, max))
    ends = f"{number_text(speedups[least])} times {_bracket(speedups[least])} on {least}"
    if most != least:
        ends = f"from {ends} to {number_text(speedups[most])} times {_bracket(speedups[most])} on {most}"
    rates = [rate for row in trained if (rate := pick(row.metrics, "speculation", "acceptance_rate"))]
    rates.sort(key=lambda rate: rate["value"])
    span = _list(dict.fromkeys(share_text(rate) for rate in rates[:1] + rates[-1:])) if rates else ""
    accepted = f" The target accepts {'between ' * (' and ' in span)}{span} of the drafted tokens." if rates else ""
    return f"Speculation alone gives {ends}; the interval lies above 1 in {len(sure)} of {len(trained)} trained cells.{accepted}"


def _same(trained: Sequence[Row]) -> str:
    rates = {
        row.cell: rate for row in trained if (rate := pick(row.metrics, "lossless", "identical_rate", path=row.path))
    }
    if not rates:
        return ""
    least = min(rates, key=lambda cell: rates[cell]["value"])
    return f"With the draft, at least {share_text(rates[least])} of a cell's answers are the same token for token ({least} has the fewest)."


def _cut(rows: Sequence[Row]) -> str:
    cut = [f"{row.label} ({share_text(pick(row.mode, 'truncated'))})" for row in rows if row.mode["truncation_warning"]]
    if not cut:
        return ""
    return f"Do not trust the accuracy of {_list(cut)}: that share of its answers was cut off at the token cap."
