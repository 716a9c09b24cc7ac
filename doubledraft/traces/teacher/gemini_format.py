"""The files of a Gemini batch job: request lines out, result lines in.

Rows are joined by their key and by nothing else: results come in any order, some not at all, some twice. The text of a
row that did not end by itself is not kept.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from doubledraft.records import RecordError, parse_object
from doubledraft.traces.teacher.messages import Finish, Reply, Request, ends_in_answer, whole_count
from doubledraft.traces.teacher.settings import Settings

ROLES = {"user": "user", "assistant": "model"}  # a system message is no turn of the conversation here


@dataclass(slots=True)
class Rows:
    """What a result file holds: replies in the order of the keys that were asked for, and rows without a reply."""

    replies: list[Reply] = field(default_factory=list)
    counts: Counter = field(default_factory=Counter)  # missing | broken | unknown | repeated | conflicting


def write(requests: Sequence[Request], settings: Settings) -> bytes:
    """Write requests as the lines of a batch job's input file."""
    return b"".join(_line(request, settings) for request in requests)


def read(data: bytes, keys: Sequence[str]) -> Rows:
    """Read a result file of requests with these keys.

    Equal rows of one key are one (counted as repeated); different ones are all unusable and give one failed reply that
    cost as much as they did together (conflicting). A line that cannot be read is broken, whatever key it had.
    """
    rows, by_key = Rows(), {key: [] for key in keys}
    for line in data.split(b"\n"):
        if not line.strip():
            continue
        try:
            row = parse_object(line, "row")
        except RecordError:
            rows.counts["broken"] += 1
            continue
        key = row.get("key")
        if not isinstance(key, str) or key not in by_key:
            rows.counts["unknown"] += 1
        elif (reply := _reply(key, row)) in by_key[key]:
            rows.counts["repeated"] += 1
        else:
            by_key[key].append(reply)
    rows.counts["missing"] = sum(not replies for replies in by_key.values())
    rows.counts["conflicting"] = sum(len(replies) > 1 for replies in by_key.values())
    rows.counts = +rows.counts
    rows.replies = [replies[0] if len(replies) == 1 else _conflict(replies) for replies in by_key.values() if replies]
    return rows


def _line(request: Request, settings: Settings) -> bytes:
    turns = [message for message in request.messages if message["role"] != "system"]
    system = [{"text": message["content"]} for message in request.messages if message["role"] == "system"]
    body = {
        "contents": [{"role": ROLES[turn["role"]], "parts": [{"text": turn["content"]}]} for turn in turns],
        "generationConfig": {"temperature": settings.temperature, "maxOutputTokens": settings.max_output_tokens},
    }
    if system:
        body["systemInstruction"] = {"parts": system}
    return json.dumps({"key": request.key, "request": body}, ensure_ascii=False).encode() + b"\n"


def _reply(key: str, row: dict) -> Reply:
    """Return the reply of one row, whatever the row holds."""
    try:
        if row.get("error") is not None:
            return _failed(key, f"{row['error'].get('code')}: {row['error'].get('message')}")
        response = row["response"]
        candidates = response.get("candidates") or []
        text = _text(candidates[0]) if candidates else ""
        finish, reason = _ending(response, candidates, text)
        input_tokens, output_tokens = _usage(response.get("usageMetadata"))
        return Reply(
            key=key,
            finish=finish,
            text=text if finish is Finish.stop else "",
            reason=reason,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return _failed(key, f"a row of an unknown form: {type(error).__name__} {error}")


def _ending(response: dict, candidates: list[dict], text: str) -> tuple[Finish, str | None]:
    """Return how a response ended, and why where it did not end by itself."""
    if not candidates:
        return Finish.blocked, (response.get("promptFeedback") or {}).get("blockReason") or "no candidate"
    match candidates[0].get("finishReason"):
        case "STOP" if text.strip():
            return Finish.stop, None
        case "STOP":
            return Finish.failed, "no text beside thoughts"
        case "MAX_TOKENS":
            return Finish.length, "MAX_TOKENS"
        case None if not ends_in_answer(text):
            return Finish.failed, "no finish reason"
        case None:
            return Finish.stop, None
        case reason:
            return Finish.blocked, str(reason)


def _text(candidate: dict) -> str:
    parts = (candidate.get("content") or {}).get("parts") or []
    text = "".join(part.get("text", "") for part in parts if not part.get("thought"))
    text.encode()  # raises ValueError at half a character (a lone surrogate), which no file can hold
    return text


def _usage(reported: object) -> tuple[int | None, int | None]:
    """Return tokens read and written, thoughts included; None for both where a count is missing or no whole number."""
    usage = reported if isinstance(reported, dict) else {}
    prompt_tokens = whole_count(usage.get("promptTokenCount"))
    output_counts = [whole_count(usage.get(name, 0)) for name in ("candidatesTokenCount", "thoughtsTokenCount")]
    return (None, None) if prompt_tokens is None or None in output_counts else (prompt_tokens, sum(output_counts))


def _conflict(replies: list[Reply]) -> Reply:
    counts = [(reply.input_tokens, reply.output_tokens) for reply in replies]
    reported = all(None not in count for count in counts)
    tokens = map(sum, zip(*counts, strict=True)) if reported else (None, None)
    return _failed(replies[0].key, f"{len(replies)} different rows have this key", *tokens)


def _failed(key: str, reason: str, input_tokens: int | None = 0, output_tokens: int | None = 0) -> Reply:
    return Reply(
        key=key,
        finish=Finish.failed,
        text="",
        reason=reason,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
    )
