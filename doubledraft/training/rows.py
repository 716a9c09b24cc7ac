"""Training rows: chat messages, then their token ids with a label on each token that counts in the loss.

Rows are encoded here, not by the trainer, so that what is learned can be read and tested: the prompt is what the engine
will be given (chat template, generation prompt), the completion is what it should emit up to and including the
end-of-turn token, and only the completion counts in the loss. A row that does not fit is dropped whole and counted;
nothing is cut.
"""

from collections.abc import Sequence

from doubledraft import prompts
from doubledraft.log import log
from doubledraft.models import chat_template
from doubledraft.records import Generation, Question, Trace

IGNORED = -100  # label of a token that does not count in the loss (torch's cross_entropy default)


class TrainingError(ValueError):
    """A training run that cannot start or diverged; the message names what to change."""


def rows_from_traces(traces: Sequence[Trace], prompt: prompts.Prompt) -> list[dict]:
    """Return one row {"prompt": messages, "completion": messages} per trace."""
    return [_row(prompt, trace.question, trace.text) for trace in traces]


def rows_from_generations(
    generations: Sequence[Generation], questions: Sequence[Question], prompt: prompts.Prompt
) -> list[dict]:
    """Return one row per generation, joined to its question by id; raise TrainingError where one is missing."""
    texts = {question.id: question.question for question in questions}
    for generation in generations:
        if generation.id not in texts:
            raise TrainingError(
                f"generation {generation.id!r} answers a question that is not in the question file: distil again"
            )
    return [_row(prompt, texts[generation.id], generation.text) for generation in generations]


def _row(prompt: prompts.Prompt, question: str, answer: str) -> dict:
    return {
        "prompt": prompts.messages(prompt, question, few_shot=False),
        "completion": [{"role": "assistant", "content": answer}],
    }


def encode(tokenizer, row: dict) -> dict[str, list[int]]:
    """Return `input_ids` and `labels` of one row; labels are IGNORED on the prompt and end with the end-of-turn token.

    Raise TrainingError where the chat template does not begin the whole conversation with the prompt as the engine will
    see it, or does not end the turn with the tokenizer's end-of-sequence token.
    """
    prompt = _ids(tokenizer, row["prompt"], prompt=True)
    ids = _ids(tokenizer, row["prompt"] + row["completion"], prompt=False)
    if ids[: len(prompt)] != prompt:
        raise TrainingError(
            "the chat template changes the prompt when an answer follows; use a model with another template"
        )
    end = len(ids)
    while end > len(prompt) and ids[end - 1] != tokenizer.eos_token_id:
        end -= 1  # what a template writes after the turn (a newline) is never generated
    if end == len(prompt) or tokenizer.decode(ids[end:]).strip():
        raise TrainingError(
            f"the chat template does not end a turn with {tokenizer.eos_token!r}, so answers would not stop"
        )
    return {"input_ids": ids[:end], "labels": [IGNORED] * len(prompt) + ids[len(prompt) : end]}


def _ids(tokenizer, messages: list[dict], *, prompt: bool) -> list[int]:
    text = chat_template.render(tokenizer, messages, prompt=prompt)
    return tokenizer.encode(text, add_special_tokens=False)  # the template has written them


def encode_all(tokenizer, rows: Sequence[dict], max_length: int) -> tuple[list[dict], dict[str, int]]:
    """Return the rows of at most `max_length` tokens, encoded, and the counts that training.json records."""
    encoded = [encode(tokenizer, row) for row in rows]
    fitting = [row for row in encoded if len(row["input_ids"]) <= max_length]
    if not fitting:
        raise TrainingError(f"none of {len(rows)} training rows fits in max_length = {max_length} tokens")
    facts = counts(fitting) | {
        "rows_too_long": len(encoded) - len(fitting),
        "longest_row": max(len(row["input_ids"]) for row in encoded),
    }
    if facts["rows_too_long"]:
        log.warning("dropped %d rows longer than max_length = %d tokens", facts["rows_too_long"], max_length)
    return fitting, facts


def counts(encoded: Sequence[dict]) -> dict[str, int]:
    """Return the number of encoded rows, of their tokens, and of those that count in the loss."""
    return {
        "rows": len(encoded),
        "tokens": sum(len(row["input_ids"]) for row in encoded),
        "completion_tokens": sum(label != IGNORED for row in encoded for label in row["labels"]),
    }
