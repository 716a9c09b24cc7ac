"""Requests to a paid teacher and its replies, joined by their key and by nothing else.

A key is the question's id, the attempt, and a digest of everything that is sent, so a changed prompt or model is a new
request and an unchanged one is never paid for twice.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from enum import StrEnum

from doubledraft.grading.extract import without_thoughts
from doubledraft.traces.teacher.settings import Settings

ENDS_IN_ANSWER = re.compile(r"(?m)^\s*####.*\S\s*\Z")


class TeacherError(RuntimeError):
    """A teacher that cannot go on; the message says why and what to do. Replies that came are in the ledger."""


class Finish(StrEnum):
    """How a reply ended; text of any other than `stop` never becomes training data."""

    stop = "stop"
    length = "length"  # cut at max_output_tokens
    blocked = "blocked"  # safety, recitation, or no candidate at all
    failed = "failed"  # an error, or a reply of an unknown form


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to a teacher, as chat messages (system, then user)."""

    key: str
    messages: list[dict[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer of a teacher, with the usage that it reported; raise ValueError for an invalid count of tokens."""

    key: str
    finish: Finish
    text: str
    reason: str | None  # what the service said, where finish is not `stop`
    input_tokens: int | None  # both are None where the service did not report its usage
    output_tokens: int | None  # thoughts included

    def __post_init__(self) -> None:
        for count in (self.input_tokens, self.output_tokens):
            if count is not None and whole_count(count) is None:
                raise ValueError(f"expected a number of tokens, or null where it is unknown, found {count!r}")


def request(id: str, attempt: int, messages: list[dict[str, str]], settings: Settings) -> Request:
    """Make a request of a question's id and its attempt, counted from 1."""
    sent = {name: asdict(settings)[name] for name in ("name", "model", "base_url", "temperature", "max_output_tokens")}
    digest = hashlib.sha256(json.dumps([sent, messages], sort_keys=True).encode()).hexdigest()
    return Request(key=f"{id}/{attempt}/{digest[:16]}", messages=messages)


def whole_count(value: object) -> int | None:
    """Return a reported number of tokens as an int (`20.0` is 20); None for anything but a whole number from 0 on."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or value != value // 1:
        return None
    return int(value)


def ends_in_answer(text: str) -> bool:
    """Return whether the last line is an answer line: such a text is complete, whatever the server calls its end."""
    return bool(ENDS_IN_ANSWER.search(without_thoughts(text)))
