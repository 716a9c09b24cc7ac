"""What a paid teacher was asked, what it answered and what that cost: one append-only file per type and scenario.

Every event is one JSON line, on disk before anything else is done, so a kill at any moment loses at most the line that
was being written. The file is no output of the workflow, so failed jobs do not remove it. All numbers are computed from
the events; nothing else is stored. One process owns a ledger; others may read it meanwhile.
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
from doubledraft.traces.teacher.messages import Finish, Reply, whole_count
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
    """The sums over the events of one ledger."""

    path: Path
    replies: dict[str, Reply] = field(default_factory=dict)
    bounds: dict[str, float] = field(default_factory=dict)  # upper bound in USD of requests without a reported cost
    open: dict[str, Batch] = field(default_factory=dict)  # batches that have not ended, by name
    ended: set[str] = field(default_factory=set)  # keys of batches that have; those without a reply stay without one
    spent: float = 0.0  # USD, from the usage that came with replies and the prices of their time
    counts: Counter = field(default_factory=Counter)  # result rows without a reply, by what was wrong

    @property
    def committed(self) -> float:
        """USD spent, plus the most that requests without a reported cost can add."""
        return self.spent + sum(self.bounds.values())

    def _copy(self) -> "Account":
        batches = {name: replace(batch) for name, batch in self.open.items()}
        replies, bounds = dict(self.replies), dict(self.bounds)
        return Account(self.path, replies, bounds, batches, set(self.ended), self.spent, Counter(self.counts))

    def _fold(self, event: dict) -> None:
        """Add one event; raise KeyError, TypeError or ValueError where it is malformed."""
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
        counts = {name: whole_count(event["reply"][name]) for name in ("input_tokens", "output_tokens")}
        reply = Reply(**event["reply"] | counts | {"finish": Finish(event["reply"]["finish"])})
        if reply.key in self.replies:
            raise ValueError(f"key {reply.key!r} has two replies")
        if None in counts.values():  # not reported: what was set aside for it stays so
            self.replies[reply.key] = reply
            return
        spent = cost(reply.input_tokens, reply.output_tokens, event["input_price"], event["output_price"])
        self.replies[reply.key] = reply
        self.spent += spent
        if reply.input_tokens or reply.finish is Finish.failed:  # 0 of a whole reply means: not reported
            self.bounds.pop(reply.key, None)

    def _fold_end(self, event: dict) -> None:
        counts, ran = Counter(event["counts"]), event["ran"]
        batch = self.open.pop(event["batch"])
        self.ended |= set(batch.keys)
        self.counts += counts
        if not ran:  # so it cost nothing
            self._free(batch.keys)

    def _free(self, keys: list[str]) -> None:
        for key in keys:
            self.bounds.pop(key, None)


class Ledger(Account):
    """A ledger that this process owns and adds to; `clock()` is the time of events in seconds since 1970."""

    def __init__(self, path: str | Path, clock: Callable[[], float] = time) -> None:
        super().__init__(Path(path))
        self.clock = clock
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self._own()
            self._drop_after(_fold_file(self))
        except BaseException:
            os.close(self._file)
            raise

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def record(self, reply: Reply, settings: Settings) -> None:
        """Record one reply and what a token of it costs."""
        self.record_all([reply], settings)

    def record_all(self, replies: Iterable[Reply], settings: Settings) -> None:
        """Record replies in one write, each with its prices; an API key that a server echoed is redacted."""
        prices = {"input_price": settings.input_price, "output_price": settings.output_price}
        self._append([{"event": "reply", "reply": asdict(_redacted(reply))} | prices for reply in replies])

    def add(self, event: str, **values: object) -> None:
        """Record an event that is no reply, by its name (`Account._fold` has them all) and its values."""
        self._append([{"event": event} | values])

    def _append(self, events: list[dict]) -> None:
        """Write events in one piece, after a trial that they can be read again."""
        now = datetime.fromtimestamp(self.clock(), UTC).isoformat(timespec="milliseconds")
        events = [{"time": now} | event for event in events]
        lines = "".join(json.dumps(event, allow_nan=False) + "\n" for event in events).encode()
        trial = self._copy()
        for event in events:
            trial._fold(event)
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

    def _drop_after(self, size: int) -> None:
        """Take what follows the last good event out of the file, into `{name}.dropped` beside it."""
        dropped = os.pread(self._file, os.fstat(self._file).st_size - size, size)
        if not dropped:
            return
        dropped_path = self.path.with_name(f"{self.path.name}.dropped")
        with open(dropped_path, "ab") as file:
            file.write(dropped.rstrip(b"\n") + b"\n")
            os.fsync(file.fileno())
        os.ftruncate(self._file, size)
        log.warning(
            "%s: dropped the last %d bytes, which are not a complete event; they are kept in %s",
            *(self.path, len(dropped), dropped_path),
        )


def read(path: str | Path) -> Account:
    """Read a ledger that another process may own; an event that is being written is left out."""
    account = Account(Path(path))
    _fold_file(account)
    return account


def cost(input_tokens: int, output_tokens: int, input_price: float, output_price: float) -> float:
    """USD of tokens at prices in USD per million."""
    return (input_tokens * input_price + output_tokens * output_price) / 1e6


def _fold_file(account: Account) -> int:
    """Fold the events of an account's file and return their size in bytes.

    What an earlier run was writing when it died stands last and is left out: half a line, or a line that is no event.
    Raise LedgerError naming a bad line that others follow.
    """
    *lines, torn = account.path.read_bytes().split(b"\n")
    size = 0
    for number, line in enumerate(lines, start=1):
        where = f"{account.path}:{number}"
        try:
            account._fold(parse_object(line, where))
            size += len(line) + 1
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if number == len(lines) and not torn:
                break
            reason = str(error).removeprefix(f"{where}: ")
            raise LedgerError(
                f"{where}: not an event of a ledger ({reason}); ledgers record what was paid for: repair it from a copy"
            ) from None
    return size


def _redacted(reply: Reply) -> Reply:
    return replace(reply, text=redact(reply.text), reason=reply.reason and redact(reply.reason))


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()
