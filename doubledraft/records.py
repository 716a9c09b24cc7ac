"""The data contract: one dataclass per record, one JSON line each.

A file is written whole or not at all: readers never meet half a file, whatever killed the writer. Readers refuse what
they cannot trust and name the file, the line and the field.
"""

import json
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import TypeVar

from doubledraft.files import whole_file

Record = TypeVar("Record")


class RecordError(ValueError):
    """A line of a record file that cannot be used; the message is `path:line: reason`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question of a scenario, with the solution it came with."""

    id: str
    scenario: str
    split: str  # "train" or "test"
    question: str
    answer: str  # gold, verbatim
    steps: list[str]  # worked solution, one line a step, without the final answer line
    level: str | None = None
    subject: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A teacher's worked answer to one training question."""

    id: str  # the question's id
    scenario: str
    type: str
    question: str
    answer: str  # gold, verbatim
    text: str  # reasoning lines, then "#### answer"
    teacher: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One answer of a model, as the engine emitted it."""

    id: str  # the question's id
    prompt_tokens: int
    token_ids: list[int]  # emitted ids, the end-of-turn token included
    text: str
    finish_reason: str  # "stop" or "length"
    batch: int  # index of the group of requests that were in flight together
    batch_seconds: float  # wall time of that group, first request sent to last answer complete
    time_to_first_token: float | None = None  # seconds, without queue time
    latency: float | None = None  # seconds, without queue time
    steps: int | None = None  # target forward passes that emitted tokens, prefill included
    drafted: int | None = None  # tokens the draft proposed
    accepted: int | None = None  # tokens of those that the target accepted, before trimming
    accepted_per_step: list[int] | None = None  # accepted tokens of every step that drafted
    drafts: list[list[int]] | None = None  # the drafted tokens of those steps; engines that tell them
    agreed: list[list[bool]] | None = None  # of each of them, whether the target would have kept it by itself
    top2_gap: float | None = None  # log-probability gap of the target's two best tokens at the first difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One generation, graded."""

    id: str
    strict: str | None  # answer in the asked-for format, None when absent
    lenient: str | None  # any recognisable final answer
    strict_verdict: str  # equal | different | undecided
    lenient_verdict: str
    reason: str | None = None  # why a verdict is undecided


def first_difference(first: Sequence[int], second: Sequence[int]) -> int | None:
    """Position (from 0) of the first token that differs or is missing in one of them, None where they are identical."""
    for position, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return position
    return None if len(first) == len(second) else min(len(first), len(second))


def to_line(record: object) -> str:
    """Give a record as one JSON line, newline included."""
    return json.dumps(asdict(record), ensure_ascii=False, allow_nan=False) + "\n"


def write_records(path: str | Path, records: Iterable[object]) -> None:
    """Write records one JSON line each, whole or not at all."""
    with whole_file(path) as file:
        file.writelines(to_line(record) for record in records)


def read_records(path: str | Path, kind: type[Record], *, appended: bool = False) -> list[Record]:
    """Read a file of records of one kind, in file order, ids unique.

    `appended` is for a log that a killed run may have cut: a last line without its newline is dropped there, and an
    error anywhere else. Raises RecordError naming the line.
    """
    path = Path(path)
    lines = path.read_bytes().split(b"\n")  # never splitlines: U+2028 may stand inside a JSON string
    torn = lines.pop()
    if torn and not appended:
        raise RecordError(f"{path}:{len(lines) + 1}: the last line is cut (no newline); make the file again")
    records: dict[str, Record] = {}
    for number, line in enumerate(lines, start=1):
        record = _parse(line, kind, f"{path}:{number}")
        if record.id in records:
            raise RecordError(f"{path}:{number}: id {record.id!r} stands twice")
        records[record.id] = record
    return list(records.values())


def parse_object(line: bytes, where: str) -> dict[str, object]:
    """Read one JSON line as an object, without doubled keys and NaN; `where` is what a RecordError starts with."""
    try:
        value = json.loads(line.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:  # brackets nested too deep are no ValueError
        raise RecordError(f"{where}: not a JSON line: {error}") from None
    if not isinstance(value, dict):
        raise RecordError(f"{where}: expected an object, found {type(value).__name__}")
    return value


def _parse(line: bytes, kind: type[Record], where: str) -> Record:
    value = parse_object(line, where)
    known = {field.name: field for field in fields(kind)}
    if unknown := sorted(value.keys() - known.keys()):
        raise RecordError(f"{where}: {kind.__name__} has no field {unknown[0]!r}; it has {', '.join(known)}")
    hints = typing.get_type_hints(kind)
    for name, field in known.items():
        if name not in value:
            if field.default is MISSING:
                raise RecordError(f"{where}: field {name!r} of {kind.__name__} is missing")
        elif not _fits(value[name], hints[name]):
            raise RecordError(f"{where}: field {name!r} should be {hints[name]}, found {value[name]!r:.80}")
    return kind(**value)


def _fits(value: object, hint: object) -> bool:
    origin = typing.get_origin(hint)
    if origin is types.UnionType:
        return any(_fits(value, part) for part in typing.get_args(hint))
    if origin is list:
        return isinstance(value, list) and all(_fits(item, typing.get_args(hint)[0]) for item in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, hint) and not (hint is int and isinstance(value, bool))


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return value


def no_constant(name: str) -> None:
    """Refuse NaN and infinity, as `parse_constant` of json.loads: JSON has neither."""
    raise ValueError(f"{name} is not JSON")
