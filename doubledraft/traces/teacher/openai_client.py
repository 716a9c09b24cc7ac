"""The teacher `openai`: any server that speaks OpenAI's chat completions, a local vLLM for instance.

A bounded number of requests is in flight, and every reply is in the ledger as soon as it is read: a killed run goes on
where it stopped, and asks again at most what was in flight. The first request goes alone, so that a wrong key or model
shows once. Errors that may pass are tried again, as late as the server asks for; those that stay end the stage. Replies
that are on their way then are paid for, so they are waited for and recorded.

A request that gets no answer in all its tries gives a reply that failed. It is not recorded: nothing came, so the next
run asks again. When more requests in a row than fly at once get none, the server is taken to be gone. What a try cost
that timed out, nobody reports; money set aside for a request is freed only when its reply comes.
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
from doubledraft.traces.teacher.messages import Finish, Reply, Request, TeacherError
from doubledraft.traces.teacher.settings import Settings

SERVICE = "https://api.openai.com/v1"  # said here, or the client would take another from OPENAI_BASE_URL
TRIES = 7  # of one request, while its errors may pass
FIRST_WAIT = 1.0  # seconds before the second try; every further wait is twice as long
LONGEST_WAIT = 60.0  # seconds, where the server does not ask for more
REPLY_SECONDS = 600.0  # longest wait for one reply
LOG_SECONDS = 30.0
PASSING = {408, 409, 429}  # statuses that may pass, beside all from 500 on
FINISHES = {"stop": Finish.stop, "length": Finish.length, "content_filter": Finish.blocked}
ADVICE = {
    401: "check the key in OPENAI_API_KEY",
    403: "the key in OPENAI_API_KEY may not do this",
    404: "check teacher.model and teacher.base_url",
    429: "no credit is left",
}
HALF_CHARACTER = re.compile("[\ud800-\udfff]")
GO_ON = "what came is in the ledger: the same command goes on from there"


class Unreadable(ValueError):
    """A reply that is no chat completion."""


class Unanswered(RuntimeError):
    """A request whose tries all ended in errors that may pass; the message is the last one."""


def ask(requests: Sequence[Request], ledger: Ledger, settings: Settings, key: str) -> list[Reply]:
    """Give the reply to every request, in order, from the ledger where it is there and else from the server.

    Raises TeacherError on an error that stays, at the deadline, when the server is gone or ignores the cap on tokens,
    and before any request where the money is not there (BudgetError).
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
            reply = _persist(lambda: _send(client, request, settings, until), until, stop)
        except Unanswered as error:
            return _failed(request.key, str(error))
        with one_writer:
            ledger.record(reply, settings)
        if reply.output_tokens > settings.max_output_tokens:
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
    """Wait for the replies; raises TeacherError after more than `patience` in a row that did not come."""
    replies, in_a_row, spoken = {}, 0, time.monotonic()
    for future in as_completed(futures):
        reply = future.result()
        replies[reply.key] = reply
        in_a_row = 0 if reply.key in ledger.replies else in_a_row + 1
        if in_a_row > patience:
            raise TeacherError(f"{in_a_row} requests in a row got no answer; the last: {reply.reason}; {GO_ON}")
        if time.monotonic() - spoken > LOG_SECONDS:
            spoken = time.monotonic()
            log.info("%d of %d replies", len(replies), len(futures))
    return replies


def _persist(send: Callable[[], Reply], until: float, stop: threading.Event) -> Reply:
    """Send, and send again after errors that may pass, until the tries or the time (`until`, monotonic) are used up."""
    import openai

    for tries in range(1, TRIES + 1):
        try:
            return send()
        except (openai.APIError, Unreadable) as error:
            told = api_keys.redact(" ".join(str(error).split()))[:300]
            if not _may_pass(error):
                status = getattr(error, "status_code", None)
                advice = ADVICE.get(status, "the request itself is refused: check section teacher of the config")
                raise TeacherError(f"the server refuses: {told}; {advice}") from None
            wait = _wait(error, tries)
            if time.monotonic() + wait > until:
                raise TeacherError(f"teacher.deadline_hours is over after: {told}; {GO_ON}") from None
            if tries == TRIES or stop.wait(wait):
                raise Unanswered(told) from None
            log.info("try %d failed, the next one in %.1f s: %s", tries, wait, told)
    raise AssertionError("the last try returns or raises")


def _may_pass(error: Exception) -> bool:
    import openai

    if not isinstance(error, openai.APIStatusError):
        return True  # no connection, a timeout, or a body that is none
    if error.code == "insufficient_quota":
        return False
    return error.status_code in PASSING or error.status_code >= 500


def _wait(error: Exception, tries: int) -> float:
    """Seconds until the next try: what the header Retry-After asks for (seconds or a date), else doubled each time."""
    grown = min(FIRST_WAIT * 2 ** (tries - 1), LONGEST_WAIT) * (1 + random() / 4)
    asked = error.response.headers.get("retry-after") if hasattr(error, "response") else None
    seconds = retry_after.seconds(asked) if asked else None
    return grown if seconds is None else seconds


def _send(client: object, request: Request, settings: Settings, until: float) -> Reply:
    import openai

    try:
        completion = client.chat.completions.create(
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
    except json.JSONDecodeError as error:  # the header says JSON, the body is none
        raise Unreadable(f"a reply that is no JSON: {error}") from None
    return _read(request.key, completion)


def _read(key: str, completion: object) -> Reply:
    """Read a completion; raises Unreadable for what is none, TeacherError where its price cannot be known."""
    from openai.types.chat import ChatCompletion

    if not isinstance(completion, ChatCompletion) or not completion.choices:
        raise Unreadable(f"a reply that is no chat completion: {str(completion)[:80]!r}")
    if completion.usage is None:
        raise TeacherError("the server reports no usage, so that money cannot be counted: use one that does")
    choice = completion.choices[0]
    text, reason = choice.message.content or "", choice.message.refusal or str(choice.finish_reason)
    finish = Finish.blocked if choice.message.refusal else FINISHES.get(choice.finish_reason, Finish.failed)
    if HALF_CHARACTER.search(text):
        text, reason, finish = "", "half a character in the text, which no file can hold", Finish.failed
    return Reply(
        key=key,
        finish=finish,
        text=text,
        reason=None if finish is Finish.stop else reason,
        input_tokens=completion.usage.prompt_tokens,
        output_tokens=completion.usage.completion_tokens,
    )


def _failed(key: str, reason: str, finish: Finish = Finish.failed) -> Reply:
    return Reply(key=key, finish=finish, text="", reason=reason, input_tokens=0, output_tokens=0)
