"""Ask a paid teacher until every question has a usable reply, or has been asked `teacher.attempts` times.

The caller decides which reply is usable. A reply that is missing, cut, blocked, failed or of a wrong form is asked for
again; one that is well formed and wrong is not, since retrying until an answer happens to be right would keep lucky
guesses. Every question ends in exactly one of two sets: a text, or the reason why there is none.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from doubledraft import api_keys
from doubledraft.grading.extract import without_thoughts
from doubledraft.log import log
from doubledraft.traces.teacher import budget, gemini, messages, openai_client
from doubledraft.traces.teacher.ledger import Ledger, cost
from doubledraft.traces.teacher.messages import Finish, Reply, Request
from doubledraft.traces.teacher.settings import Settings

NO_KEY = "no-key"  # the client needs one, a local server does not
REASONS = {Finish.length: "truncated", Finish.blocked: "blocked"}
SERVICES = {"gemini": gemini.ask, "openai": openai_client.ask}
Messages = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a text is not usable, and whether another one is asked for."""

    reason: str
    again: bool


@dataclass(slots=True, kw_only=True)
class Answers:
    """The outcome of asking: a text or a reason for every question, what was asked and what it cost."""

    texts: dict[str, str] = field(default_factory=dict)  # by id
    reasons: dict[str, str] = field(default_factory=dict)  # by id
    rounds: list[dict[str, object]] = field(default_factory=list)  # asked, kept and reasons, one round an attempt
    replies: list[Reply] = field(default_factory=list)
    set_aside: float = 0.0  # USD at most of requests whose cost nobody reported

    def add(
        self, requests: Mapping[str, Request], replies: Sequence[Reply], judge: Callable[[str, str], Fault | None]
    ) -> list[str]:
        """Add the replies to one round of requests (by id) and return the ids to ask again."""
        by_key = {reply.key: reply for reply in replies}
        faults = {}
        for id, request in requests.items():
            if fault := _fault(id, by_key.get(request.key), judge):
                faults[id], self.reasons[id] = fault, fault.reason
            else:
                self.texts[id] = text_of(by_key[request.key])
                self.reasons.pop(id, None)
        reasons = dict(Counter(fault.reason for fault in faults.values()).most_common())
        self.rounds.append({"asked": len(requests), "kept": len(requests) - len(faults), "reasons": reasons})
        self.replies += replies
        return [id for id, fault in faults.items() if fault.again]

    def summary(self, settings: Settings) -> dict[str, object]:
        """Return rounds, tokens and USD for JSON; what earlier prompts and models cost is in the ledger only."""
        input_tokens = sum(reply.input_tokens or 0 for reply in self.replies)
        output_tokens = sum(reply.output_tokens or 0 for reply in self.replies)
        usd = cost(input_tokens, output_tokens, settings.input_price, settings.output_price)
        return {
            "rounds": self.rounds,
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "usd": usd,
            "usd_set_aside": self.set_aside,
            "usd_per_kept": budget.cost_per_kept(usd, len(self.texts)),
        }


def key(settings: Settings) -> str:
    """Return the API key of a teacher; for a server at teacher.base_url it may be unset, and NO_KEY is sent.

    Raise api_keys.MissingKey.
    """
    try:
        return api_keys.key(settings.name)
    except api_keys.BadKey:
        raise
    except api_keys.MissingKey:
        if settings.name == "openai" and settings.base_url:
            return NO_KEY
        raise


def ask(
    asked: Mapping[str, Messages], judge: Callable[[str, str], Fault | None], ledger: str | Path, settings: Settings
) -> Answers:
    """Ask for every question (id: messages), as often as needed; `judge(id, text)` returns the fault of a text.

    Replies that the ledger (a path) holds are not asked for. Raise TeacherError, LedgerError and api_keys.MissingKey.
    """
    answers, secret, pending = Answers(), key(settings), dict(asked)
    if secret == NO_KEY:
        log.info("OPENAI_API_KEY is not set: %s is asked without a key", settings.base_url)
    with Ledger(ledger) as book:
        for attempt in range(1, settings.attempts + 1):
            requests = {id: messages.request(id, attempt, chat, settings) for id, chat in pending.items()}
            replies = SERVICES[settings.name](list(requests.values()), book, settings, secret)
            answers.set_aside += sum(book.bounds.get(request.key, 0.0) for request in requests.values())
            retry_ids = answers.add(requests, replies, judge)
            log.info("attempt %d: %s", attempt, answers.rounds[-1])
            pending = {id: asked[id] for id in retry_ids}
            if not pending:
                break
    return answers


def text_of(reply: Reply) -> str:
    """Return the text of a reply without thoughts in `<think>`."""
    return without_thoughts(reply.text).strip()


def _fault(id: str, reply: Reply | None, judge: Callable[[str, str], Fault | None]) -> Fault | None:
    if reply is None:
        return Fault("no reply", again=True)
    if reply.finish is not Finish.stop:
        return Fault(REASONS.get(reply.finish) or f"failed: {reply.reason:.80}", again=True)
    return judge(id, text_of(reply))
