"""What compares cells of one scenario: the gain of both ideas at once, and how one type's drafts differ from another's.

Runs over the same questions in the same batches are paired and resampled together; accuracies are paired by question.
Cells that were measured under different conditions are not compared, and the log says in what they differ.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from doubledraft.evaluation.interleave import BASELINE, SPECULATIVE
from doubledraft.evaluation.runs import batch_seconds
from doubledraft.log import log
from doubledraft.records import Generation, asked_id, read_records
from doubledraft.report import paired_accuracy
from doubledraft.report.paired_accuracy import PairedAccuracy
from doubledraft.report.tables import Row, drafted
from doubledraft.stats import (
    Interval,
    block_ratio_change_interval,
    geometric_mean,
    ratio_change_interval,
    ratio_interval,
    totals,
)
from doubledraft.summaries import json_file
from doubledraft.summaries.timing_file import TimingFile

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
    lengths: tuple[list[int], list[int]] | None  # tokens of each answer, of the short type and of CoT
    accuracy: PairedAccuracy | None  # strict, of the short type - of CoT, without speculation


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftChange:
    """How drafts of a short type differ from those of CoT."""

    scenario: str  # or "all"
    type: str
    accepted: tuple[list[int], list[int], list[int], list[int]]  # of each question: CoT's accepted, drafted; the type's
    emitted: tuple[list[int], list[int], list[int], list[int]]  # CoT's emitted tokens, steps; the type's
    speedup: Interval  # of the short type / of CoT
    seed: int

    @property
    def acceptance_change(self) -> Interval | None:
        """Acceptance rate of the type - of CoT, paired by question."""
        return ratio_change_interval(self.accepted[:2], self.accepted[2:], self.seed)

    @property
    def tokens_per_step_change(self) -> Interval | None:
        """Tokens per step of the type - of CoT, paired by question."""
        return ratio_change_interval(self.emitted[:2], self.emitted[2:], self.seed)

    def acceptance_rates(self) -> tuple[float, float]:
        """Return the acceptance rates of CoT and of the type."""
        return _ratio(*self.accepted[:2]), _ratio(*self.accepted[2:])

    def tokens_per_step(self) -> tuple[float, float]:
        """Return the tokens per step of CoT and of the type."""
        return _ratio(*self.emitted[:2]), _ratio(*self.emitted[2:])


def _ratio(above: Sequence[float], below: Sequence[float]) -> float:
    return sum(above) / sum(below)


def compared_cells(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Return (CoT, other trained type) of every scenario where both were timed with a draft and measured alike."""
    timed = {(row.scenario, row.type): row for row in drafted(rows)}
    pairs = [(timed.get((scenario, "cot")), row) for (scenario, type), row in timed.items() if type != "cot"]
    return [(cot, short) for cot, short in pairs if cot and _comparable(cot, short)]


def _comparable(cot: Row, short: Row) -> bool:
    first, second = _conditions(cot), _conditions(short)
    unlike = [key for key in first if first[key] != second[key]]
    if unlike:
        log.warning("%s and %s differ in %s: their times are not compared", cot.cell, short.cell, " and ".join(unlike))
    return not unlike


def _conditions(row: Row) -> dict[str, object]:
    """Return what must be equal where the times of two cells are compared."""
    provenance = row.metrics.provenance
    run = provenance.runs[0]
    return {
        "questions_hash": row.metrics.questions_hash,
        "n": row.answers.n,
        "samples": row.answers.samples,
        "temperature": row.answers.temperature,
        "concurrency": row.answers.concurrency,
        "engine": run.engine,
        "kernel": run.kernel,
        "dtype": run.dtype,
        "target": provenance.settings.get("target"),
        "hardware": provenance.hardware,
    }


def gain(cot: Row, short: Row) -> Gain:
    """Compare a short type with CoT."""
    long, brief, drafted = cot.metrics.baseline, short.metrics.baseline, short.metrics.speculative
    runs, seed = _paired_rows([(cot, BASELINE), (short, BASELINE), (short, SPECULATIVE)]), _seed(short)

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
        lengths=(_lengths(runs[1]), _lengths(runs[0])) if runs else None,
        accuracy=paired_accuracy.paired(
            short, f"{short.type} − cot, strict", *(paired_accuracy.verdicts(row, BASELINE) for row in (cot, short))
        ),
    )


def _seed(row: Row) -> int:
    return row.metrics.provenance.seed


def _paired_rows(sources: Sequence[tuple[Row, str]]) -> list[Rows] | None:
    """Read the generations beside metrics files, which alone can be paired; None where they are gone."""
    cells = " and ".join(dict.fromkeys(row.cell for row, _ in sources))
    paths = [row.path.with_name(f"{run}.jsonl") for row, run in sources]
    if not all(path.exists() for path in paths):
        log.warning(
            "%s: ratios between them have no interval, since there are no generations beside the metrics", cells
        )
        return None
    runs = [read_records(path, Generation) for path in paths]
    if len({tuple((row.id, row.batch) for row in rows) for rows in runs}) > 1:
        log.warning("%s: ratios between them have no interval, since they ran other questions or batches", cells)
        return None
    return runs


def _lengths(rows: Rows) -> list[int]:
    return [len(row.token_ids) for row in rows]


def draft_change(cot: Row, short: Row) -> DraftChange | None:
    """Compare the drafts of a short type with those of CoT; None where there is nothing to pair."""
    runs = _paired_rows([(cot, SPECULATIVE), (short, SPECULATIVE)])
    if runs is None or any(row.drafted is None for rows in runs for row in rows):
        return None
    units = [asked_id(row.id, short.answers.samples) for row in runs[0]]
    names = ("accepted", "drafted", "steps")
    counts = [[totals(units, [getattr(row, name) for row in rows]) for name in names] for rows in runs]
    emitted = [totals(units, _lengths(rows)) for rows in runs]
    return DraftChange(
        scenario=short.scenario,
        type=short.type,
        accepted=(*counts[0][:2], *counts[1][:2]),
        emitted=(emitted[0], counts[0][2], emitted[1], counts[1][2]),
        speedup=_speedup_change(cot, short),
        seed=_seed(short),
    )


def _speedup_change(cot: Row, short: Row) -> Interval:
    """Return the speedup of the short type / of CoT, over the same blocks of questions where both have them."""
    times = [_block_seconds(row) for row in (cot, short)]
    if None in times or len(times[0][0]) != len(times[1][0]):
        return Interval(short.metrics.speedup.value / cot.metrics.speedup.value, None, None, short.answers.n)
    return block_ratio_change_interval(*times, seed=_seed(short))


def _block_seconds(row: Row) -> tuple[list[float], list[float]] | None:
    """Return the seconds of each block without and with the draft, in the last attempt; None where they are gone."""
    path = row.path.with_name("timing.json")
    if not path.exists():
        return None
    turns = sorted(json_file.read(path, TimingFile).attempts[-1].turns, key=lambda turn: turn.block)
    plain, drafted = ([sum(turn.seconds) for turn in turns if turn.arm == arm] for arm in (BASELINE, SPECULATIVE))
    return plain, drafted


def over_all(changes: Sequence[DraftChange]) -> DraftChange | None:
    """Return the comparison over the questions of all scenarios, for one type; None where nothing is compared."""
    if not changes:
        return None
    joined = {
        name: tuple([value for change in changes for value in getattr(change, name)[at]] for at in range(4))
        for name in ("accepted", "emitted")
    }
    return replace(changes[0], scenario="all", speedup=geometric_mean([change.speedup for change in changes]), **joined)


def lift(row: Row, rows: Sequence[Row]) -> PairedAccuracy | None:
    """Compare a trained row with the best untrained way of asking its questions, by the lenient reading.

    The best of several ways is chosen on the same questions, which favours the untrained model.
    """
    untrained = [
        other
        for other in rows
        if not other.trained
        and other.metrics.questions_hash == row.metrics.questions_hash
        and other.answers.accuracy.lenient
    ]
    best = max(untrained, key=lambda other: other.answers.accuracy.lenient.value, default=None)
    if best is None:
        return None
    before, after = (paired_accuracy.verdicts(side, side.run, "lenient") for side in (best, row))
    return paired_accuracy.paired(row, f"trained − untrained ({best.asked}), lenient", before, after)


def with_draft(row: Row) -> PairedAccuracy | None:
    """Compare the answers with the draft with those without it, by the strict reading."""
    before, after = (paired_accuracy.verdicts(row, run) for run in (BASELINE, SPECULATIVE))
    return paired_accuracy.paired(row, "with − without the draft, strict", before, after)


def names(items: Iterable[str]) -> str:
    """Return some names as a list in a sentence."""
    *most, last = items
    return f"{', '.join(most)} and {last}" if most else last
