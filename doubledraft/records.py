"""Record files: one dataclass per record, one JSON line each; and the strict reading of JSON as a dataclass.

A file is written whole or not at all, whatever kills the writer. Readers refuse what does not fit its type, naming the
file, the line and the field.
"""

import json
import types
import typing
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import TypeVar

from doubledraft.files import whole_file

Record = TypeVar("Record")
PLAIN = (str, int, float, bool)


class RecordError(ValueError):
    """A record or result file that cannot be used; the message is `path:line: reason` or `path: reason`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question of a scenario, with the solution of its source."""

    id: str
    scenario: str
    split: str  # "train" or "test"
    question: str
    answer: str  # gold, verbatim
    steps: list[str]  # worked solution, one line per step, without the final answer line
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
    """One answer of a model, with the engine's counters and times."""

    id: str  # the question's id
    prompt_tokens: int
    token_ids: list[int]  # emitted ids, the end-of-turn token included
    text: str
    finish_reason: str  # "stop" or "length"
    batch: int  # index of the group of requests that were in flight together
    batch_seconds: float  # wall time of that group, from the first request to the last complete answer
    time_to_first_token: float | None = None  # seconds, without queue time
    latency: float | None = None  # seconds, without queue time
    steps: int | None = None  # target forward passes that emitted tokens, prefill included
    drafted: int | None = None  # tokens the draft proposed
    accepted: int | None = None  # tokens of those that the target accepted, before trimming
    accepted_per_step: list[int] | None = None  # accepted tokens of every step that drafted
    drafts: list[list[int]] | None = None  # the drafted tokens of those steps, where the engine records them
    agreed: list[list[bool]] | None = None  # of each of them, whether it would have been accepted at its place
    step_seconds: list[float] | None = None  # wall time of every step, the prompt's first, where the engine reports it
    top2_gap: float | None = None  # log-probability gap of the target's two best tokens at the first difference


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One generation, graded."""

    id: str
    strict: str | None  # answer in the asked-for format, None when absent
    lenient: str | None  # any recognisable final answer
    strict_verdict: str  # equal | different | undecided
    lenient_verdict: str
    reason: str | None = None  # why a verdict is undecided, or how a program failed


def repeated(questions: Sequence[Question], samples: int) -> list[Question]:
    """Return the questions once for each sample, all of the first one first; ids end with `#1`, `#2` if there are many.

    One sample leaves the ids as they are. `asked_id` returns them.
    """
    if samples == 1:
        return list(questions)
    return [
        replace(question, id=f"{question.id}#{number}") for number in range(1, samples + 1) for question in questions
    ]


def asked_id(id: str, samples: int) -> str:
    """Return the id of the question that a row of `samples` answers to each question is of."""
    return id if samples == 1 else id.rpartition("#")[0]


def first_mismatch(first: Sequence[int], second: Sequence[int]) -> int | None:
    """Return the position (from 0) of the first token that differs; None where one is the beginning of the other."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((position for position, (one, other) in pairs if one != other), None)


def first_difference(first: Sequence[int], second: Sequence[int]) -> int | None:
    """Return the position (from 0) of the first token that differs or is missing in one; None where both are equal."""
    position = first_mismatch(first, second)
    return min(len(first), len(second)) if position is None and len(first) != len(second) else position


def to_line(record: object) -> str:
    """Return a record as one JSON line, newline included."""
    return json.dumps(asdict(record), ensure_ascii=False, allow_nan=False) + "\n"


def write_records(path: str | Path, records: Iterable[object]) -> None:
    """Write records one JSON line each, whole or not at all."""
    with whole_file(path) as file:
        file.writelines(to_line(record) for record in records)


def read_records(path: str | Path, kind: type[Record], *, appended: bool = False) -> list[Record]:
    """Read a file of records of one kind, in file order; raise RecordError naming the line, also of a repeated id.

    A last line without its newline is an error, or dropped where the file is `appended` to and a kill may have cut it.
    """
    path = Path(path)
    lines = path.read_bytes().split(b"\n")  # never splitlines: U+2028 may stand inside a JSON string
    torn = lines.pop()
    if torn and not appended:
        raise RecordError(f"{path}:{len(lines) + 1}: the last line is cut (no newline); make the file again")
    records: dict[str, Record] = {}
    for number, line in enumerate(lines, start=1):
        where = f"{path}:{number}"
        record = from_json(parse_object(line, where), kind, where)
        if record.id in records:
            raise RecordError(f"{path}:{number}: id {record.id!r} occurs twice")
        records[record.id] = record
    return list(records.values())


def parse_object(text: bytes, where: str) -> dict[str, object]:
    """Return a JSON object, without doubled keys and NaN; `where` is what a RecordError begins with."""
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:  # brackets nested too deep are no ValueError
        raise RecordError(f"{where}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise RecordError(f"{where}: expected an object, found {type(value).__name__}")
    return value


def from_json(value: dict[str, object], kind: type[Record], where: str) -> Record:
    """Return a JSON object as a dataclass, and those in it likewise.

    Raise RecordError, which begins with `where`, naming the first field that is unknown, missing or of another type.
    Fields with a default may be missing.
    """
    return _object(value, kind, where, "")


def _object(value: object, kind: type, where: str, path: str) -> object:
    if not isinstance(value, dict):
        raise RecordError(f"{where}: field {path!r} should be an object, found {value!r:.80}")
    hints, required = _fields(kind)
    named = f"{path}." if path else ""
    if unknown := sorted(value.keys() - hints.keys()):
        raise RecordError(f"{where}: {kind.__name__} has no field {named + unknown[0]!r}; it has {', '.join(hints)}")
    if missing := [name for name in required if name not in value]:
        raise RecordError(f"{where}: field {named + missing[0]!r} of {kind.__name__} is missing")
    return kind(**{name: _value(item, hints[name], where, named + name) for name, item in value.items()})


@cache
def _fields(kind: type) -> tuple[dict[str, object], list[str]]:
    """Return the types of a dataclass's fields by name, and the names of those that must be there."""
    hints = typing.get_type_hints(kind)
    required = [field.name for field in fields(kind) if field.default is field.default_factory is MISSING]
    return {field.name: hints[field.name] for field in fields(kind)}, required


def _value(value: object, hint: object, where: str, path: str) -> object:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType and types.NoneType in parts:
        (inner,) = (part for part in parts if part is not types.NoneType)
        return None if value is None else _value(value, inner, where, path)
    if is_dataclass(hint):
        return _object(value, hint, where, path)
    if origin is dict and isinstance(value, dict):
        return {key: _value(item, parts[1], where, f"{path}.{key}") for key, item in value.items()}
    if origin is list and isinstance(value, list) and parts[0] not in PLAIN and typing.get_origin(parts[0]) is not list:
        return [_value(item, parts[0], where, f"{path}[{index}]") for index, item in enumerate(value)]
    if not _fits(value, hint):
        raise RecordError(f"{where}: field {path!r} should be {_name(hint)}, found {value!r:.80}")
    return value


def _fits(value: object, hint: object) -> bool:
    if typing.get_origin(hint) is list:
        (inner,) = typing.get_args(hint)
        return isinstance(value, list) and all(_fits(item, inner) for item in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, typing.get_origin(hint) or hint) and not (hint is int and isinstance(value, bool))


def _name(hint: object) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key occurs twice in one object")
    return value


def no_constant(name: str) -> None:
    """Refuse NaN and infinity, as `parse_constant` of json.loads: JSON has neither."""
    raise ValueError(f"{name} is not JSON")
