"""Answers of vLLM's OpenAI server as decoding records: what its per-request metrics tell of every step.

`metrics.speculative_decoding` has, at the level `detailed`, how many tokens were drafted and accepted in each step. An
answer has its token ids where `return_token_ids` was asked for, and texts of tokens where `logprobs` was.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from doubledraft.evaluation.decodings import record
from doubledraft.records import RecordError, parse_object
from doubledraft.summaries.decoding_record import DecodingRecord, Lane, LaneStep

ASK = "ask the server with return_token_ids: true, and start it with --per-request-spec-decode-metrics detailed"


def is_answers(path: Path) -> bool:
    """Return whether a file holds answers of the server rather than decoding records."""
    with open(path, encoding="utf-8", errors="replace") as file:
        head = file.read(100_000)
    return '"choices"' in head and '"lanes"' not in head


def read(path: Path, text_of: Callable[[int], str] | None = None) -> list[DecodingRecord]:
    """Return the answers of a file: one JSON object, a list of them, or one per line.

    `text_of` returns the text of a token id; without it, and without logprobs, tokens are shown by their ids. Raise
    RecordError naming the answer and what it lacks.
    """
    return [_record(answer, f"{path}: answer {number}", text_of) for number, answer in enumerate(_answers(path), 1)]


def _answers(path: Path) -> list[dict]:
    text = path.read_bytes()
    try:
        value = json.loads(text)
    except ValueError:
        lines = [line for line in text.split(b"\n") if line.strip()]
        return [parse_object(line, f"{path}:{number}") for number, line in enumerate(lines, 1)]
    return value if isinstance(value, list) else [value]


def _record(answer: object, where: str, text_of: Callable[[int], str] | None) -> DecodingRecord:
    if not isinstance(answer, dict) or not answer.get("choices"):
        raise RecordError(f"{where}: expected an object with `choices`; {ASK}")
    choice, metrics = answer["choices"][0], answer.get("metrics") or {}
    ids, drafting = choice.get("token_ids"), metrics.get("speculative_decoding") or {}
    if not ids or drafting.get("per_step_accepted") is None:  # null below the level `detailed`
        lacks = "`metrics.speculative_decoding.per_step_accepted`" if ids else "`choices[0].token_ids`"
        raise RecordError(f"{where} has no {lacks}; {ASK}")
    first, total = metrics.get("time_to_first_token_ms"), metrics.get("generation_time_ms")
    lane = Lane(
        name=f"vLLM, K = {drafting['num_spec_tokens']}",
        token_ids=ids,
        steps=_steps(ids, drafting, where),
        seconds=None if total is None else ((first or 0) + total) / 1000,
        first_token_seconds=None if first is None else first / 1000,
    )
    by_id = _texts(choice, ids)
    texts = text_of or (lambda token: by_id.get(token, f"#{token} "))
    prompt = answer.get("prompt") or "The server's answer does not repeat its prompt."
    return record(str(answer.get("id") or where), prompt, [lane], texts)


def _steps(ids: list[int], drafting: Mapping[str, list[int]], where: str) -> list[LaneStep]:
    steps, at = [LaneStep(emitted=1)], 1
    for accepted, proposed in zip(drafting["per_step_accepted"], drafting["per_step_drafted"], strict=True):
        emitted = min(accepted + 1, len(ids) - at)
        accepted_ids = ids[at : at + min(accepted, emitted)]
        steps.append(LaneStep(emitted=emitted, proposed=proposed, accepted=accepted, drafted=accepted_ids))
        at += emitted
    if at != len(ids):
        raise RecordError(f"{where}: its steps emit {at} tokens, but it has {len(ids)}; was it asked for n > 1?")
    return steps


def _texts(choice: Mapping, ids: list[int]) -> dict[int, str]:
    """Return the texts of tokens by id, where the answer has logprobs: of chat, or of a completion."""
    logprobs = choice.get("logprobs") or {}
    texts = logprobs.get("tokens") or [token["token"] for token in logprobs.get("content") or ()]
    return dict(zip(ids, texts, strict=False))
