"""Metrics files as rows: one a cell, and for an untrained cell one a prompt; the CSV, and how a figure is written.

Every quantity keeps its interval and its n, in four columns of the CSV. What is undefined is an empty CSV cell and "not
measured" on a page, never NaN. Text from files is made visible (control and direction characters become escapes) where
it is read.
"""

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from doubledraft import escaping
from doubledraft.files import whole_file
from doubledraft.records import no_constant

SMALL = 10  # questions of a level or subject; its share is good to 26 points either way, and with fewer to less
ANSWER_QUANTITIES = {  # column: path in a MODE of metrics.json
    "accuracy_strict": ("accuracy", "strict"),
    "accuracy_lenient": ("accuracy", "lenient"),
    "accuracy_strict_finished": ("accuracy", "strict_finished"),
    "accuracy_lenient_finished": ("accuracy", "lenient_finished"),
    "truncated": ("truncated",),
    "tokens": ("tokens", "mean"),
    "compliance": ("compliance",),
    "steps_per_answer": ("steps_per_answer",),
    "words_per_step": ("words_per_step",),
}
ANSWER_PLAIN = {
    "tokens_median": ("tokens", "median"),
    "tokens_total": ("tokens", "total"),
    "undecided": ("undecided",),
    "unparsable": ("unparsable",),
    "latency_p50": ("latency", "p50"),
    "latency_p90": ("latency", "p90"),
    "latency_p99": ("latency", "p99"),
    "wall_seconds": ("wall_seconds",),
    "tokens_per_second": ("tokens_per_second",),
    "concurrency": ("concurrency",),
}
CELL_QUANTITIES = {
    "speedup": ("speedup",),
    "acceptance_rate": ("speculation", "acceptance_rate"),
    "tokens_per_step": ("speculation", "tokens_per_step"),
    "order_independent_agreement": ("speculation", "order_independent_agreement"),
    "identical_rate": ("lossless", "identical_rate"),
}
CELL_PLAIN = {
    "acceptance_definition": ("speculation", "acceptance_definition"),
    "agreement_definition": ("speculation", "agreement_definition"),
    "method": ("speculation", "method"),
    "draft_length": ("speculation", "draft_length"),
    "per_token_acceptance": ("speculation", "per_token_acceptance"),
    "predicted_speedup": ("speedup", "predicted"),
    "draft_cost": ("speedup", "draft_cost"),
    "verify_cost": ("speedup", "verify_cost"),
    "best_draft_length": ("speedup", "best_draft_length"),
    "bound": ("speedup", "bound"),
    "share_of_bound": ("speedup", "share_of_bound"),
    "bytes_per_second": ("bandwidth", "target", "bytes_per_second"),
    "read_bytes_per_second": ("bandwidth", "read_bytes_per_second"),
}
MADE_BY = ("seed", "config_hash", "commit", "time")


class ReportError(ValueError):
    """Metrics that a report cannot be built from; the message names the file and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the report: how one model answered one scenario in one reasoning type."""

    cell: str
    scenario: str
    type: str  # of a trained cell, or of the prompt of an untrained one
    thinking: str = ""  # of an untrained cell that was told: "thinking enabled" or "thinking disabled"
    trained: bool
    mode: dict  # MODE of metrics.json: of the run without speculation
    metrics: dict  # the whole file
    path: Path

    @property
    def label(self) -> str:
        """Name of the row on a page."""
        return self.cell if self.trained else f"{self.cell}, {self.asked}"

    @property
    def asked(self) -> str:
        """How an untrained model was asked."""
        return ", ".join(filter(None, (f"{self.type} prompt", self.thinking)))


def read_rows(metrics: Iterable[str | Path], expected: Sequence[str]) -> list[Row]:
    """Read metrics files into rows, scenario by scenario, in the order of the expected cells.

    Raises ReportError where a file is not metrics, or its cell is unknown or was read before.
    """
    cells: dict[str, tuple[Path, dict]] = {}
    for path in map(Path, metrics):
        value = read_json(path)
        cell = pick(value, "cell", path=path)
        if cell in cells:
            raise ReportError(f"{path}: cell {cell!r} was already read from {cells[cell][0]}; give each cell once")
        if cell not in expected:
            raise ReportError(
                f"{path}: cell {cell!r} is not of this study, which has {', '.join(expected)}; leave it out"
            )
        cells[cell] = (path, value)
    rows = [row for cell in expected if cell in cells for row in _rows(*cells[cell])]
    return sorted(rows, key=lambda row: [cell.partition("_")[2] for cell in expected].index(row.scenario))


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Strict accuracy of a row by the level or the subject of its questions."""

    row: Row
    by: str  # "level" or "subject"
    groups: list[tuple[str, dict]]  # value and its share
    small: int  # groups that are too small to show


def breakdowns(rows: Iterable[Row]) -> list[Breakdown]:
    """Break the accuracy of rows down by what their questions differ in; nothing where all groups are small."""
    found = []
    for row in rows:
        for by, groups in pick(row.mode, "accuracy_by", path=row.path).items():
            shares = [(value, group["strict"]) for value, group in groups.items()]
            shown = [(value, share) for value, share in shares if share and share["n"] >= SMALL]
            if shown and len(groups) > 1:
                found.append(Breakdown(row, by, shown, len(groups) - len(shown)))
    return found


def fewer_questions(rows: Iterable[Row]) -> list[tuple[str, str, int, int]]:
    """Give (scenario, split, asked, got) where a scenario has fewer questions than its config asks for."""
    found = [
        (row.scenario, split, counts["asked"], counts["got"])
        for row in rows
        for split, counts in pick(row.metrics, "questions", path=row.path).items()
    ]
    return [fact for fact in dict.fromkeys(found) if fact[3] < fact[2]]


def _rows(path: Path, metrics: dict) -> list[Row]:
    cell, kind, scenario = (pick(metrics, key, path=path) for key in ("cell", "type", "scenario"))
    if cell != f"{kind}_{scenario}":
        raise ReportError(f"{path}: cell {cell!r} should be '{kind}_{scenario}', its type and scenario; make it again")
    common = {"cell": cell, "scenario": scenario, "metrics": metrics, "path": path}
    if kind != "untrained":
        return [Row(type=kind, trained=True, mode=pick(metrics, "baseline", path=path), **common)]
    prompts = pick(metrics, "prompts", path=path)
    named = {name: name.partition("_") for name in prompts}  # no type has an underscore in its name
    return [
        Row(type=type, thinking=said.replace("_", " "), trained=False, mode=prompts[name], **common)
        for name, (type, _, said) in named.items()
    ]


def read_json(path: Path) -> dict:
    """Read an object of figures, all text in it made visible; raises ReportError where the file holds no such thing."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=no_constant)
    except ValueError as error:
        raise ReportError(f"{path}: not JSON: {error}; delete it and make it again") from None
    if not isinstance(value, dict):
        raise ReportError(f"{path}: expected an object, found {type(value).__name__}; delete it and make it again")
    return visible(value)


def visible(value: object) -> object:
    """Make every text in a JSON value show the characters that would hide or move others."""
    if isinstance(value, str):
        return escaping.visible(value)
    if isinstance(value, dict):
        return {visible(key): visible(item) for key, item in value.items()}
    return [visible(item) for item in value] if isinstance(value, list) else value


def pick(value: dict, *keys: str, path: Path | None = None) -> object:
    """Follow keys into metrics; None where something on the way is null, ReportError where a key is not there."""
    for depth, key in enumerate(keys):
        if value is None:
            return None
        if not isinstance(value, dict) or key not in value:
            raise ReportError(
                f"{path or 'metrics'}: key {'.'.join(keys[: depth + 1])!r} is missing; make the file again"
            )
        value = value[key]
    return value


def columns(row: Row, gain: dict[str, dict | None]) -> dict[str, object]:
    """Give a row of table.csv; `gain` holds the quantities that compare the row with other cells."""
    flat: dict[str, object] = {
        "cell": row.cell,
        "scenario": row.scenario,
        "type": row.type,
        "thinking": row.thinking,
        "trained": "yes" if row.trained else "no",
        "n": pick(row.mode, "n", path=row.path),
    }
    _add(flat, "", row.mode, ANSWER_QUANTITIES, ANSWER_PLAIN, row.path)
    if row.trained:
        speculative = pick(row.metrics, "speculative", path=row.path)
        _add(flat, "speculative_", speculative, ANSWER_QUANTITIES, ANSWER_PLAIN, row.path)
        _add(flat, "", row.metrics, CELL_QUANTITIES, CELL_PLAIN, row.path)
        for place, share in enumerate(
            pick(row.metrics, "speculation", "per_position_acceptance", path=row.path), start=1
        ):
            flat |= _spread(f"accepted_at_{place}", share)
    for name, interval in gain.items():
        flat |= _spread(name, interval)
    return flat | {name: row.metrics.get("provenance", {}).get(name) for name in MADE_BY}


def _add(flat: dict, prefix: str, value: dict, quantities: dict, plain: dict, path: Path) -> None:
    for name, keys in quantities.items():
        flat |= _spread(prefix + name, pick(value, *keys, path=path))
    flat |= {prefix + name: pick(value, *keys, path=path) for name, keys in plain.items()}


def _spread(name: str, interval: dict | None) -> dict[str, object]:
    interval = interval or {}
    return {name: interval.get("value")} | {f"{name}_{part}": interval.get(part) for part in ("low", "high", "n")}


def write_table(path: str | Path, rows: Sequence[dict[str, object]]) -> None:
    """Write rows as CSV, whole or not at all, with the columns of all rows; text a spreadsheet would run is quoted."""
    names = list(dict.fromkeys(name for row in sorted(rows, key=len, reverse=True) for name in row))
    with whole_file(path) as file:
        table = csv.DictWriter(file, names or ["cell"], restval="", lineterminator="\n")
        table.writeheader()
        table.writerows({name: escaping.csv_cell(value) for name, value in row.items()} for row in rows)
