"""What asking a paid teacher costs: estimated before it is asked, and capped at `teacher.budget`.

Neither network nor the service's tokenizer is needed. The expected cost counts a token for every 3 characters; the
upper bound counts one for every byte, which no tokenizer exceeds, and replies of full length. Only the bound is
compared with the budget: it is set aside before a request is sent, and stays so until the reply reports its usage.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from doubledraft.traces.teacher.ledger import Ledger, cost, read
from doubledraft.traces.teacher.messages import Request, TeacherError
from doubledraft.traces.teacher.settings import Settings

# Measured on GSM8K with SmolLM2's tokenizer, which splits numbers into digits as Google's do: 3.9 in questions, 2.3 in
# worked answers, and never more than 0.83 tokens a byte.
CHARACTERS_PER_TOKEN = 3
FRAME_TOKENS = 16  # of a message's role and turn marks, at most


class BudgetError(TeacherError):
    """Requests that could cost more than `teacher.budget` leaves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The cost of requests: tokens and USD as expected, and USD at most."""

    requests: int
    input_tokens: int
    output_tokens: int
    usd: float
    most_usd: float


def estimate(requests: Sequence[Request], settings: Settings, tokens_per_reply: int | None = None) -> Estimate:
    """Estimate the cost of asking these once; `tokens_per_reply` of None means `teacher.max_output_tokens`."""
    output_tokens = len(requests) * (settings.max_output_tokens if tokens_per_reply is None else tokens_per_reply)
    input_tokens = sum(-(-len(text) // CHARACTERS_PER_TOKEN) for request in requests for text in _texts(request))
    return Estimate(
        requests=len(requests),
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        usd=cost(input_tokens, output_tokens, settings.input_price, settings.output_price),
        most_usd=sum(_bound(request, settings) for request in requests),
    )


def check(estimate: Estimate, spent: float, settings: Settings) -> None:
    """Raise BudgetError where these requests could take `spent` (USD) over the budget."""
    if spent + estimate.most_usd > settings.budget:
        raise BudgetError(
            f"teacher.budget is {settings.budget:.2f} USD, of which {spent:.2f} are spent or set aside; "
            f"{estimate.requests} more requests cost up to {estimate.most_usd:.2f} USD (about {estimate.usd:.2f}). "
            "Raise teacher.budget, ask fewer questions (scenarios.*.train), or lower teacher.max_output_tokens"
        )


def reserve(requests: Sequence[Request], ledger: Ledger, settings: Settings) -> None:
    """Set aside the most that these requests can cost, or raise BudgetError; every ledger of the folder counts."""
    with _locked(ledger.path.parent):
        other_ledgers = [path for path in ledger.path.parent.glob("*.jsonl") if path != ledger.path]
        reserved = sum(ledger.bounds.get(request.key, 0.0) for request in requests)
        spent = ledger.committed - reserved + sum(read(path).committed for path in other_ledgers)
        check(estimate(requests, settings), spent, settings)
        ledger.add("reserve", bounds={request.key: _bound(request, settings) for request in requests})


def cost_per_kept(usd: float, kept: int) -> float | None:
    """Return USD per trace that was kept, None where none was."""
    return usd / kept if kept else None


def _bound(request: Request, settings: Settings) -> float:
    """Return the USD that one request costs at most."""
    input_tokens = sum(len(text.encode()) + FRAME_TOKENS for text in _texts(request))
    return cost(input_tokens, settings.max_output_tokens, settings.input_price, settings.output_price)


def _texts(request: Request) -> list[str]:
    return [message["content"] for message in request.messages]


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder, so that one process at a time compares its ledgers with the budget and reserves from it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
