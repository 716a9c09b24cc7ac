"""Metrics files as rows: one per trained cell, one per way of asking for an untrained cell; and table.csv.

Every quantity keeps its interval and its n, in four columns of the CSV. What is undefined is an empty CSV cell and "not
measured" on a page, never NaN. Text from files is made visible (control and direction characters become escapes) where
it is read.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from doubledraft import escaping
from doubledraft.records import RecordError, from_json, parse_object
from doubledraft.stats import Interval
from doubledraft.summaries.cell_metrics import CellMetrics, RunMetrics

SMALL = 10  # groups of fewer questions are not shown: at n = 10 a 95 % interval is about +-26 points
Summary = TypeVar("Summary")
Quantities = dict[str, Interval | None]


class ReportError(ValueError):
    """Metrics that a report cannot be built from; the message names the file and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the report: how one model answered one scenario in one reasoning type."""

    cell: str
    scenario: str
    type: str  # of a trained cell, or of the prompt of an untrained one
    thinking: str = ""  # of an untrained cell whose prompt sets it: "thinking enabled" or "thinking disabled"
    trained: bool
    run: str  # of the answers: "baseline", or how an untrained model was asked
    answers: RunMetrics  # of the run without speculation
    metrics: CellMetrics
    path: Path  # of metrics.json

    @property
    def label(self) -> str:
        """Name of the row on a page."""
        return self.cell if self.trained else f"{self.cell}, {self.asked}"

    @property
    def asked(self) -> str:
        """How an untrained model was asked."""
        return ", ".join(filter(None, (f"{self.type} prompt", self.thinking)))


def read(path: Path, kind: type[Summary]) -> Summary:
    """Return a result file with all text in it made visible; raise ReportError where it is not of the kind."""
    try:
        return from_json(visible(parse_object(path.read_bytes(), str(path))), kind, str(path))
    except RecordError as error:
        raise ReportError(f"{error}; delete it and make it again") from None


def visible(value: object) -> object:
    """Return a JSON value with the characters that would hide or move others written as escapes."""
    if isinstance(value, str):
        return escaping.visible(value)
    if isinstance(value, dict):
        return {visible(key): visible(item) for key, item in value.items()}
    return [visible(item) for item in value] if isinstance(value, list) else value


def read_rows(metrics: Iterable[str | Path], expected: Sequence[str]) -> list[Row]:
    """Read metrics files into rows, scenario by scenario, in the order of the expected cells.

    Raise ReportError where a file is not metrics, or its cell is unknown or was read before.
    """
    cells: dict[str, tuple[Path, CellMetrics]] = {}
    for path in map(Path, metrics):
        summary = read(path, CellMetrics)
        if summary.cell in cells:
            raise ReportError(f"{path}: cell {summary.cell!r} was already read from {cells[summary.cell][0]}")
        if summary.cell not in expected:
            raise ReportError(
                f"{path}: cell {summary.cell!r} is not of this study, which has {', '.join(expected)}; leave it out"
            )
        cells[summary.cell] = (path, summary)
    rows = [row for cell in expected if cell in cells for row in _rows(*cells[cell])]
    return sorted(rows, key=lambda row: [cell.partition("_")[2] for cell in expected].index(row.scenario))


def drafted(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of trained cells that were timed with a draft too."""
    return [row for row in rows if row.trained and row.metrics.speculation]


def _rows(path: Path, metrics: CellMetrics) -> list[Row]:
    """Return the one row of a trained cell, or a row for each prompt of an untrained one."""
    cell, kind, scenario = metrics.cell, metrics.type, metrics.scenario
    if cell != f"{kind}_{scenario}":
        raise ReportError(f"{path}: cell {cell!r} should be '{kind}_{scenario}', its type and scenario; make it again")
    common = {"cell": cell, "scenario": scenario, "metrics": metrics, "path": path}
    untrained = kind == "untrained"
    if (metrics.prompts if untrained else metrics.baseline) is None:
        raise ReportError(f"{path}: field {'prompts' if untrained else 'baseline'!r} is null; make the file again")
    if not untrained:
        return [Row(type=kind, trained=True, run="baseline", answers=metrics.baseline, **common)]
    named = {name: name.partition("_") for name in metrics.prompts}  # no type has an underscore in its name
    return [
        Row(
            type=type, thinking=mode.replace("_", " "), trained=False, run=name, answers=metrics.prompts[name], **common
        )
        for name, (type, _, mode) in named.items()
    ]


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Strict accuracy of a row by the level or the subject of its questions."""

    row: Row
    by: str  # "level" or "subject"
    groups: list[tuple[str, Interval]]  # value and its share
    small: int  # groups that are too small to show


def breakdowns(rows: Iterable[Row]) -> list[Breakdown]:
    """Break the accuracy of rows down by level and subject of their questions; nothing where all groups are small."""
    parts = []
    for row in rows:
        for by, groups in row.answers.accuracy_by.items():
            shares = [(value, group.strict) for value, group in groups.items()]
            large = [(value, share) for value, share in shares if share and share.n >= SMALL]
            if large and len(groups) > 1:
                parts.append(Breakdown(row, by, large, len(groups) - len(large)))
    return parts


def fewer_questions(rows: Iterable[Row]) -> list[tuple[str, str, int, int]]:
    """Return (scenario, split, asked, got) where a scenario has fewer questions than its config asks for."""
    facts = [
        (row.scenario, split, counts.asked, counts.got)
        for row in rows
        for split, counts in row.metrics.questions.items()
    ]
    return [fact for fact in dict.fromkeys(facts) if fact[3] < fact[2]]


def csv_row(row: Row, compared: Quantities) -> dict[str, object]:
    """Return a row of table.csv; `compared` holds the quantities that compare the row with other cells."""
    metrics, provenance = row.metrics, row.metrics.provenance
    flat: dict[str, object] = {
        "cell": row.cell,
        "scenario": row.scenario,
        "type": row.type,
        "thinking": row.thinking,
        "trained": "yes" if row.trained else "no",
        "n": row.answers.n,
        **_answer_columns(row.answers),
    }
    if metrics.speculation:
        flat |= {f"speculative_{name}": value for name, value in _answer_columns(metrics.speculative).items()}
        flat |= _speculation_columns(metrics)
    return flat | _interval_columns(compared) | {
        "seed": provenance.seed,
        "config_hash": provenance.config_hash,
        "commit": provenance.commit,
        "time": provenance.time,
    }  # fmt: skip


def _answer_columns(answers: RunMetrics) -> dict[str, object]:
    accuracy, tokens, latency = answers.accuracy, answers.tokens, answers.latency
    quantities = {
        "accuracy_strict": accuracy.strict,
        "accuracy_lenient": accuracy.lenient,
        "accuracy_strict_finished": accuracy.strict_finished,
        "accuracy_lenient_finished": accuracy.lenient_finished,
        "truncated": answers.truncated,
        "tokens": tokens.mean,
        "compliance": answers.compliance,
        "steps_per_answer": answers.steps_per_answer,
        "words_per_step": answers.words_per_step,
        "latency_p50": latency and latency.p50,
    }
    return _interval_columns(quantities) | {
        "latency_p90": latency and latency.p90,
        "latency_p99": latency and latency.p99,
        "tokens_median": tokens.median,
        "tokens_total": tokens.total,
        "undecided": answers.undecided,
        "unparsable": answers.unparsable,
        "wall_seconds": answers.wall_seconds,
        "tokens_per_second": answers.tokens_per_second,
        "bound_tokens_per_second": answers.bound_tokens_per_second,
        "share_of_bound": answers.share_of_bound,
        "concurrency": answers.concurrency,
    }


def _speculation_columns(metrics: CellMetrics) -> dict[str, object]:
    spec, speedup, bandwidth = metrics.speculation, metrics.speedup, metrics.bandwidth
    timing = metrics.timing
    quantities = {
        "speedup": speedup,
        "control": timing and timing.control,
        "acceptance_rate": spec.acceptance_rate,
        "tokens_per_step": spec.tokens_per_step,
        "order_independent_agreement": spec.order_independent_agreement,
        "identical_rate": metrics.lossless.identical_rate,
    }
    positions = {f"accepted_at_{place}": share for place, share in enumerate(spec.per_position_acceptance, start=1)}
    return _interval_columns(quantities) | {
        "acceptance_definition": spec.acceptance_definition,
        "agreement_definition": spec.agreement_definition,
        "method": spec.method,
        "draft_length": spec.draft_length,
        "adaptive": spec.adaptive,
        "draft_vocabulary": spec.draft_vocabulary,
        "draft_dtype": spec.draft_dtype,
        "per_token_acceptance": spec.per_token_acceptance,
        "predicted_speedup": speedup.predicted,
        "draft_cost": speedup.draft_cost,
        "verify_cost": speedup.verify_cost,
        "best_draft_length": speedup.best_draft_length,
        "steady": timing and timing.steady,
        "attempts": timing and 1 + len(timing.earlier),
        "bytes_per_second": bandwidth.target and bandwidth.target.bytes_per_second,
        "read_bytes_per_second": bandwidth.read_bytes_per_second,
        **_interval_columns(positions),
    }


def _interval_columns(quantities: Mapping[str, Interval | None]) -> dict[str, float | int | None]:
    """Return the four columns of each quantity; None in all where it is undefined."""
    parts = {"": "value", "_low": "low", "_high": "high", "_n": "n"}
    return {
        f"{name}{end}": getattr(interval, part, None)
        for name, interval in quantities.items()
        for end, part in parts.items()
    }
