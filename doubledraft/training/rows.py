"""What training sees: chat rows, and their token ids with a label on each token that counts.

Rows are turned into token ids here, not by the trainer, so that what is learned can be read and tested: the prompt is
what the engine will be given (chat template, generation prompt), the completion is what it should emit up to and
including the end-of-turn token, and only the completion counts in the loss. A row that does not fit is dropped whole
and counted; nothing is cut.
"""

from collections.abc import Sequence

from doubledraft import prompts
from doubledraft.log import log
from doubledraft.records import Generation, Question, Trace

IGNORED = -100  # label of a token that does not count in the loss (torch's cross_entropy default)


class TrainingError(ValueError):
    """A training run that cannot start or did not work; the message says what to change."""


def rows_from_traces(traces: Sequence[Trace], prompt: prompts.Prompt) -> list[dict]:
    """Give one {"prompt": messages, "completion": messages} row a trace."""
    return [_row(prompt, trace.question, trace.text) for trace in traces]


def rows_from_generations(
    generations: Sequence[Generation], questions: Sequence[Question], prompt: prompts.Prompt
) -> list[dict]:
    """Give one row a generation, joined to its question by id; raises TrainingError when the question is not there."""
    texts = {question.id: question.question for question in questions}
    for generation in generations:
        if generation.id not in texts:
            raise TrainingError(f"generation {generation.id!r} answers a question that is not in the question file")
    return [_row(prompt, texts[generation.id], generation.text) for generation in generations]


def _row(prompt: prompts.Prompt, question: str, answer: str) -> dict:
    return {
        "prompt": prompts.messages(prompt, question, few_shot=False),
        "completion": [{"role": "assistant", "content": answer}],
    }


def encode(tokenizer, row: dict) -> dict[str, list[int]]:
    """Give `input_ids` and `labels` of one row; labels are IGNORED on the prompt and end with the end-of-turn token.

    Raises TrainingError when the chat template does not begin the whole conversation with the prompt as the engine will
    see it, or does not end the turn with the tokenizer's end-of-sequence token.
    """
    prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=True)["input_ids"]
    whole = tokenizer.apply_chat_template(row["prompt"] + row["completion"], return_dict=True)["input_ids"]
    if whole[: len(prompt)] != prompt:
        raise TrainingError(
            "the chat template changes the prompt when an answer follows; use a model with another template"
        )
    end = len(whole)
    while end > len(prompt) and whole[end - 1] != tokenizer.eos_token_id:
        end -= 1  # what a template writes after the turn (a newline) is never generated
    if end == len(prompt) or tokenizer.decode(whole[end:]).strip():
        raise TrainingError(
            f"the chat template does not end a turn with {tokenizer.eos_token!r}, so answers would not stop"
        )
    return {"input_ids": whole[:end], "labels": [IGNORED] * len(prompt) + whole[len(prompt) : end]}


def encode_all(tokenizer, rows: Sequence[dict], max_length: int) -> tuple[list[dict], dict[str, int]]:
    """Give the rows of at most `max_length` tokens, encoded, and the counts that training.json records."""
    encoded = [encode(tokenizer, row) for row in rows]
    kept = [row for row in encoded if len(row["input_ids"]) <= max_length]
    if not kept:
        raise TrainingError(f"none of {len(rows)} training rows fits in max_length = {max_length} tokens")
    facts = {
        "rows": len(kept),
        "rows_too_long": len(encoded) - len(kept),
        "tokens": sum(len(row["input_ids"]) for row in kept),
        "completion_tokens": sum(label != IGNORED for row in kept for label in row["labels"]),
        "longest_row": max(len(row["input_ids"]) for row in encoded),
    }
    if facts["rows_too_long"]:
        log.warning("dropped %d rows longer than max_length = %d tokens", facts["rows_too_long"], max_length)
    return kept, facts
