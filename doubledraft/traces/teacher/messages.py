"""What the workflow and a paid teacher exchange: requests out, replies in, joined by their key and by nothing else.

A key is the question's id, the attempt, and a digest of everything that is sent, so a changed prompt or model asks anew
and an unchanged one is never paid for twice.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import StrEnum

from doubledraft.traces.teacher.settings import Settings


class TeacherError(RuntimeError):
    """A teacher that cannot go on; the message says why and what to do. Replies that came are in the ledger."""


class Finish(StrEnum):
    """How a reply ended; text of any other than `stop` never becomes training data."""

    stop = "stop"
    length = "length"  # cut at max_output_tokens
    blocked = "blocked"  # safety, recitation, or no candidate at all
    failed = "failed"  # the service says that this row failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to a teacher, as chat messages (system, then user)."""

    key: str
    messages: list[dict[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer of a teacher, with the usage that it reported."""

    key: str
    finish: Finish
    text: str
    reason: str | None  # what the service said, where finish is not `stop`
    input_tokens: int
    output_tokens: int  # thoughts included


def request(id: str, attempt: int, messages: list[dict[str, str]], settings: Settings) -> Request:
    """Make a request of a question's id and its attempt, counted from 1."""
    sent = {name: asdict(settings)[name] for name in ("name", "model", "base_url", "temperature", "max_output_tokens")}
    digest = hashlib.sha256(json.dumps([sent, messages], sort_keys=True).encode()).hexdigest()
    return Request(key=f"{id}/{attempt}/{digest[:16]}", messages=messages)
