"""The teacher `openai`: any server that speaks OpenAI's chat completions, a local vLLM for instance.

At most `teacher.concurrency` requests are in flight, and every reply is written to the ledger before anything else is
done with it, so a killed run continues where it stopped and repeats at most the requests that were in flight. The
first request is sent alone, so that a wrong key or model name shows once. Transient errors are retried, no earlier
than the server asks for; other errors end the run after the requests in flight, which are paid for, are recorded.

Servers differ in the shape of their replies. The body is therefore parsed here and not by the client's types: whatever
a completion holds becomes one `Reply`, of finish `failed` where no text is found in it. Usage that is missing or no
whole number is recorded as unknown, and the request is charged at the most that it could have cost.

A request without any completion after all its retries is a failed reply that is not recorded: the next run sends it
again. After more of those in a row than requests in flight, the server is taken to be down. What a timed-out try cost
is not reported; money set aside for a request is freed only by a reply with its usage.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from random import random

from doubledraft import api_keys
from doubledraft.log import log
from doubledraft.traces.teacher import budget, retry_after
from doubledraft.traces.teacher.ledger import Ledger
from doubledraft.traces.teacher.messages import Finish, Reply, Request, TeacherError, ends_in_answer, whole_count
from doubledraft.traces.teacher.settings import Settings

SERVICE = "https://api.openai.com/v1"  # explicit: the client would take another from OPENAI_BASE_URL
TRIES = 7  # of one request, while its errors are transient
FIRST_WAIT = 1.0  # seconds before the second try; every further wait is twice as long
LONGEST_WAIT = 60.0  # seconds, where the server does not ask for more
REPLY_SECONDS = 600.0  # longest wait for one reply
LOG_SECONDS = 30.0
RETRYABLE = {408, 409, 429}  # transient statuses, beside all from 500 on
FINISHES = {  # finish_reason of OpenAI and of servers that imitate it, in lower case
    **dict.fromkeys(("stop", "eos", "eos_token", "end", "end_turn", "stop_sequence"), Finish.stop),
    **dict.fromkeys(("length", "max_tokens"), Finish.length),
    "content_filter": Finish.blocked,
}
ADVICE = {
    401: "check the key in OPENAI_API_KEY",
    403: "the key in OPENAI_API_KEY may not do this",
    404: "check teacher.model and teacher.base_url",
    429: "no credit is left",
}
HALF_CHARACTER = re.compile("[\ud800-\udfff]")
GO_ON = "the replies so far are in the ledger: run the same command again to continue"


class Unreadable(ValueError):
    """A body that is no chat completion, so that nothing was paid for it."""


class Unanswered(RuntimeError):
    """A request whose tries all ended in transient errors; the message is that of the last one."""


def ask(requests: Sequence[Request], ledger: Ledger, settings: Settings, key: str) -> list[Reply]:
    """Return the reply to every request, in order: from the ledger if it is there, else from the server.

    Raise TeacherError on an error that retrying cannot fix, at the deadline, when the server is down or ignores the
    cap on tokens, and BudgetError before any request is sent that `teacher.budget` may not cover.
    """
    import openai

    api_keys.hide(key)
    missing = [request for request in requests if request.key not in ledger.replies]
    if missing:
        budget.reserve(missing, ledger, settings)
    until = time.monotonic() + 3600 * settings.deadline_hours
    stop, one_writer = threading.Event(), threading.Lock()
    client = openai.OpenAI(api_key=key, base_url=settings.base_url or SERVICE, max_retries=0)

    def answer(request: Request) -> Reply:
        try:
            reply = _with_retries(lambda: _send(client, request, settings, until), until, stop)
        except Unanswered as error:
            return _failed(request.key, str(error))
        with one_writer:
            ledger.record(reply, settings)
        if (reply.output_tokens or 0) > settings.max_output_tokens:
            raise TeacherError(
                f"a reply has {reply.output_tokens} tokens, and teacher.max_output_tokens is "
                f"{settings.max_output_tokens}: the server ignores the cap, so that no budget can be kept; use another"
            )
        return reply

    replies = {}
    with client, ThreadPoolExecutor(settings.concurrency) as pool:
        try:
            for group in (missing[:1], missing[1:]):
                replies |= _collect([pool.submit(answer, request) for request in group], ledger, settings.concurrency)
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return [ledger.replies.get(request.key) or replies[request.key] for request in requests]


def _collect(futures: list[Future[Reply]], ledger: Ledger, patience: int) -> dict[str, Reply]:
    """Wait for the replies; raise TeacherError after more than `patience` requests in a row without one."""
    replies, in_a_row, last_logged = {}, 0, time.monotonic()
    for future in as_completed(futures):
        reply = future.result()
        replies[reply.key] = reply
        in_a_row = 0 if reply.key in ledger.replies else in_a_row + 1
        if in_a_row > patience:
            raise TeacherError(f"{in_a_row} requests in a row got no answer; the last: {reply.reason}; {GO_ON}")
        if time.monotonic() - last_logged > LOG_SECONDS:
            last_logged = time.monotonic()
            log.info("%d of %d replies", len(replies), len(futures))
    if unknown := sum(reply.key in ledger.replies and reply.input_tokens is None for reply in replies.values()):
        log.warning("%d replies came without usable usage: each is charged at the most that it can cost", unknown)
    return replies


def _with_retries(send: Callable[[], Reply], until: float, stop: threading.Event) -> Reply:
    """Send, and retry after transient errors, up to TRIES times and not beyond `until` (monotonic seconds)."""
    import openai

    for tries in range(1, TRIES + 1):
        try:
            return send()
        except (openai.APIError, Unreadable) as error:
            reason = api_keys.redact(" ".join(str(error).split()))[:300]
            if not _is_retryable(error):
                status = getattr(error, "status_code", None)
                advice = ADVICE.get(status, "the request itself is refused: check section teacher of the config")
                raise TeacherError(f"the server refuses: {reason}; {advice}") from None
            wait = _wait(error, tries)
            if time.monotonic() + wait > until:
                raise TeacherError(f"teacher.deadline_hours is over after: {reason}; {GO_ON}") from None
            if tries == TRIES or stop.wait(wait):
                raise Unanswered(reason) from None
            log.info("try %d failed, the next one in %.1f s: %s", tries, wait, reason)
    raise AssertionError("the last try returns or raises")


def _is_retryable(error: Exception) -> bool:
    import openai

    if not isinstance(error, openai.APIStatusError):
        return True  # no connection, a timeout, or a body that is no completion
    if error.code == "insufficient_quota":
        return False
    return error.status_code in RETRYABLE or error.status_code >= 500


def _wait(error: Exception, tries: int) -> float:
    """Return the seconds until the next try: those of the header Retry-After, else exponential backoff."""
    backoff = min(FIRST_WAIT * 2 ** (tries - 1), LONGEST_WAIT) * (1 + random() / 4)
    header = error.response.headers.get("retry-after") if hasattr(error, "response") else None
    seconds = retry_after.seconds(header) if header else None
    return backoff if seconds is None else seconds


def _send(client: object, request: Request, settings: Settings, until: float) -> Reply:
    import openai

    try:
        response = client.chat.completions.with_raw_response.create(
            model=settings.model,
            messages=request.messages,
            temperature=settings.temperature,
            max_completion_tokens=settings.max_output_tokens,  # hidden thoughts count, unlike in max_tokens
            timeout=max(min(REPLY_SECONDS, until - time.monotonic()), 1.0),
        )
    except openai.BadRequestError as error:
        if error.code != "content_filter":
            raise
        return _failed(request.key, "content_filter", Finish.blocked)
    return read(request.key, response.text)


def read(key: str, body: str) -> Reply:
    """Return what a response body says as a reply; raise Unreadable where it is an error, a page or no completion."""
    if body.lstrip().startswith("data:"):  # server-sent events, which were generated all the same
        return _failed(key, "a stream of events where one completion was asked for")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"a reply that is no JSON: {error}") from None
    if not isinstance(value, dict) or not value.keys() & {"choices", "usage"}:
        raise Unreadable(f"a reply that is no chat completion: {body[:80]!r}")
    choice = _first(value.get("choices"))
    message, finish_reason = _dict(choice.get("message")), choice.get("finish_reason")
    text = _text(message.get("content"))
    finish, reason = _ending(text, finish_reason, message.get("refusal"))
    if HALF_CHARACTER.search(text):
        text, reason, finish = "", "half a character in the text, which no file can hold", Finish.failed
    usage = _dict(value.get("usage"))
    counts = {name: whole_count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens")}
    reported = None not in counts.values()
    return Reply(
        key=key,
        finish=finish,
        text=text,
        reason=reason,
        input_tokens=counts["prompt_tokens"] if reported else None,
        output_tokens=counts["completion_tokens"] if reported else None,
    )


def _ending(text: str, finish_reason: object, refusal: object) -> tuple[Finish, str | None]:
    """Return how a completion ended, and why where it did not end by itself."""
    if refusal:
        return Finish.blocked, str(refusal)
    finish = FINISHES.get(str(finish_reason).casefold().partition(":")[0])
    if finish is None:
        finish = Finish.stop if ends_in_answer(text) else Finish.failed
    if finish is Finish.stop and not text.strip():
        return Finish.failed, f"no text, finish_reason {finish_reason}"
    return finish, None if finish is Finish.stop else str(finish_reason or "no finish_reason")


def _text(content: object) -> str:
    """Return the text of a message's content (a string, one part, or a list of parts), without parts of other kinds."""
    parts = content if isinstance(content, list) else [content]
    return "".join(map(_part, parts))


def _part(part: object) -> str:
    if isinstance(part, dict) and part.get("type", "text") in ("text", "output_text"):
        part = part.get("text")
    return part if isinstance(part, str) else ""


def _first(choices: object) -> dict:
    return _dict(choices[0]) if isinstance(choices, list) and choices else {}


def _dict(value: object) -> dict:
    return value if isinstance(value, dict) else {}


def _failed(key: str, reason: str, finish: Finish = Finish.failed) -> Reply:
    return Reply(key=key, finish=finish, text="", reason=reason, input_tokens=None, output_tokens=None)
