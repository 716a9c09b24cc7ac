"""What a paid teacher was asked, what it answered and what that cost: one append-only file a type and scenario.

Every event is one JSON line, on disk before the next step is taken, so a kill at any moment loses at most the line that
was being written. The file is no output of the workflow, so it outlives failed jobs. All numbers are folded from the
events; nothing else is stored. One process owns a ledger; others may read it meanwhile.
"""

import fcntl
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import time

from doubledraft.api_keys import redact
from doubledraft.log import log
from doubledraft.records import parse_object
from doubledraft.traces.teacher.messages import Finish, Reply
from doubledraft.traces.teacher.settings import Settings


class LedgerError(RuntimeError):
    """A ledger that cannot be used; the message names the file, the line and what to do."""


@dataclass(slots=True, kw_only=True)
class Batch:
    """One job of a batch service, from the intent to its end; times are seconds since 1970."""

    name: str  # made of the content of its requests, and given to the service as the display name
    keys: list[str]
    file: str  # the service's name of the uploaded requests
    called: float | None = None  # when the last call that may have created the job was sent
    job: str | None = None  # the service's name of the job
    created: float | None = None  # when its name was recorded
    state: str | None = None
    cancelled: float | None = None  # when we asked to cancel it


@dataclass(slots=True)
class Account:
    """What the events of one ledger add up to."""

    path: Path
    replies: dict[str, Reply] = field(default_factory=dict)
    bounds: dict[str, float] = field(default_factory=dict)  # USD at most of requests whose cost nobody reported
    open: dict[str, Batch] = field(default_factory=dict)  # batches that have not ended, by name
    ended: set[str] = field(default_factory=set)  # keys of batches that have; those without a reply stay without one
    spent: float = 0.0  # USD, from the usage that came with replies and the prices of their time
    counts: Counter = field(default_factory=Counter)  # rows of results that gave no reply, by what was wrong

    @property
    def committed(self) -> float:
        """USD spent, and the most that requests without a reported cost can add."""
        return self.spent + sum(self.bounds.values())

    def _fold(self, event: dict) -> None:
        """Add one event; raises KeyError, TypeError or ValueError where it is none."""
        match event["event"]:
            case "reserve":
                self.bounds |= event["bounds"]
            case "reply":
                self._fold_reply(event)
            case "intent":
                self.open[event["batch"]] = Batch(name=event["batch"], keys=event["keys"], file=event["file"])
            case "call":
                self.open[event["batch"]].called = _seconds(event["time"])
            case "refused":  # the call above created nothing
                self.open[event["batch"]].called = None
            case "job":
                batch = self.open[event["batch"]]
                batch.job, batch.created = event["job"], _seconds(event["time"])
            case "state":
                self.open[event["batch"]].state = event["state"]
            case "cancel":
                self.open[event["batch"]].cancelled = _seconds(event["time"])
            case "abandon":  # no job was created, so its keys may be asked for again
                self._free(self.open.pop(event["batch"]).keys)
            case "end":
                self._fold_end(event)
            case other:
                raise ValueError(f"no event is called {other!r}")

    def _fold_reply(self, event: dict) -> None:
        reply = Reply(**event["reply"] | {"finish": Finish(event["reply"]["finish"])})
        if reply.key in self.replies:
            raise ValueError(f"key {reply.key!r} has two replies")
        self.replies[reply.key] = reply
        self.spent += cost(reply.input_tokens, reply.output_tokens, event["input_price"], event["output_price"])
        if reply.input_tokens or reply.finish is Finish.failed:  # else its usage was not reported
            self.bounds.pop(reply.key, None)

    def _fold_end(self, event: dict) -> None:
        batch = self.open.pop(event["batch"])
        self.ended |= set(batch.keys)
        self.counts.update(event["counts"])
        if not event["ran"]:  # so it cost nothing
            self._free(batch.keys)

    def _free(self, keys: list[str]) -> None:
        for key in keys:
            self.bounds.pop(key, None)


class Ledger(Account):
    """A ledger that this process owns and adds to; `clock` gives the time of events, in seconds since 1970."""

    def __init__(self, path: str | Path, clock: Callable[[], float] = time) -> None:
        super().__init__(Path(path))
        self.clock = clock
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self._own()
            whole = self._read()
        except BaseException:
            os.close(self._file)
            raise
        if torn := os.fstat(self._file).st_size - whole:
            log.warning("%s: dropped the last %d bytes, an event that an earlier run was writing", self.path, torn)
            os.ftruncate(self._file, whole)

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def record(self, reply: Reply, settings: Settings) -> None:
        """Record one reply and what a token of it costs."""
        self.record_all([reply], settings)

    def record_all(self, replies: Iterable[Reply], settings: Settings) -> None:
        """Record replies, each with what a token of it costs, in one write; keys that were sent back stay out."""
        prices = {"input_price": settings.input_price, "output_price": settings.output_price}
        self._append([{"event": "reply", "reply": asdict(_redacted(reply))} | prices for reply in replies])

    def add(self, event: str, **values: object) -> None:
        """Record an event that is no reply, by its name (`Account._fold` has them all) and its values."""
        self._append([{"event": event} | values])

    def _append(self, events: list[dict]) -> None:
        now = datetime.fromtimestamp(self.clock(), UTC).isoformat(timespec="milliseconds")
        events = [{"time": now} | event for event in events]
        lines = "".join(json.dumps(event, allow_nan=False) + "\n" for event in events).encode()
        size = os.fstat(self._file).st_size
        try:
            if os.write(self._file, lines) < len(lines):
                raise OSError(f"{self.path}: the disk is full")
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, size)
            raise
        for event in events:
            self._fold(event)

    def _own(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LedgerError(
                f"{self.path} is in use: another run asks the same questions; wait for it to end, or stop it"
            ) from None

    def _read(self) -> int:
        return _fold_file(self)


def read(path: str | Path) -> Account:
    """Read a ledger that another process may own; an event that is being written is left out."""
    account = Account(Path(path))
    _fold_file(account)
    return account


def cost(input_tokens: int, output_tokens: int, input_price: float, output_price: float) -> float:
    """USD of tokens at prices in USD per million."""
    return (input_tokens * input_price + output_tokens * output_price) / 1e6


def _fold_file(account: Account) -> int:
    """Fold every whole line of an account's file and give their size in bytes; raises LedgerError naming a bad line."""
    *lines, torn = account.path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        where = f"{account.path}:{number}"
        try:
            account._fold(parse_object(line, where))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = str(error).removeprefix(f"{where}: ")
            raise LedgerError(
                f"{where}: not an event of a ledger ({reason}); it says what was paid for: repair it from a copy"
            ) from None
    return sum(len(line) + 1 for line in lines)


def _redacted(reply: Reply) -> Reply:
    return replace(reply, text=redact(reply.text), reason=reply.reason and redact(reply.reason))


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
