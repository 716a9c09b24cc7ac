"""Training rows: the completion and its end count, nothing else, in the words that the engine will be given."""

import pytest

from doubledraft.prompts import Prompt
from doubledraft.records import Generation, Question, Trace
from doubledraft.training.rows import (
    IGNORED,
    TrainingError,
    encode,
    encode_all,
    rows_from_generations,
    rows_from_traces,
)
from tests.helpers.tiny_models import CHATML, build_tokenizer

PROMPT = Prompt("Solve the problem.", ())


def trace(number: int) -> Trace:
    text = f"{number} + 2 = {number + 2}\n#### {number + 2}"
    question = f"What is {number} + 2?"
    return Trace(
        id=f"q{number}", scenario="s", type="cot", question=question, answer=str(number + 2), text=text, teacher="t"
    )


ROWS = rows_from_traces([trace(number) for number in range(16)], PROMPT)


def test_only_the_completion_counts_and_it_ends_with_the_end_of_turn():
    tokenizer = build_tokenizer()
    row = encode(tokenizer, ROWS[3])
    counted = [label for label in row["labels"] if label != IGNORED]
    assert tokenizer.decode(counted) == "3 + 2 = 5\n#### 5<|im_end|>"
    assert row["labels"] == [IGNORED] * (len(row["input_ids"]) - len(counted)) + row["input_ids"][-len(counted) :]


def test_the_prompt_is_what_the_engine_will_be_given():
    tokenizer = build_tokenizer()
    row = encode(tokenizer, ROWS[3])
    prompt = [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label == IGNORED]
    asked = tokenizer.apply_chat_template(ROWS[3]["prompt"], add_generation_prompt=True, return_dict=True)["input_ids"]
    assert prompt == asked
    assert tokenizer.decode(prompt).count("system") == 1, "a template with a default system prompt would add a second"


def test_a_template_that_rewrites_the_prompt_is_refused():
    template = "{{ messages | length }}" + CHATML
    with pytest.raises(TrainingError, match="changes the prompt"):
        encode(build_tokenizer(template=template), ROWS[0])


def test_a_template_that_never_ends_a_turn_is_refused():
    template = CHATML.replace("<|im_end|>", "<|endoftext|>")
    with pytest.raises(TrainingError, match="does not end a turn with '<|im_end|>'"):
        encode(build_tokenizer(template=template), ROWS[0])


def test_rows_that_do_not_fit_are_dropped_whole_and_counted(caplog):
    long = rows_from_traces([trace(10**40)], PROMPT)
    tokenizer = build_tokenizer()
    limit = len(encode(tokenizer, ROWS[0])["input_ids"]) + 4
    kept, facts = encode_all(tokenizer, ROWS + long, limit)
    assert kept == [encode(tokenizer, row) for row in ROWS]
    assert (facts["rows"], facts["rows_too_long"]) == (16, 1) and facts["longest_row"] > limit
    assert "dropped 1 rows longer" in caplog.text
    with pytest.raises(TrainingError, match="none of 1 training rows fits in max_length = 5"):
        encode_all(tokenizer, long, 5)


def generation(name: str) -> Generation:
    fields = {"prompt_tokens": 1, "token_ids": [5], "finish_reason": "stop", "batch": 0, "batch_seconds": 1.0}
    return Generation(id=name, text="#### 3", **fields)


def test_the_drafts_rows_are_the_targets_answers_to_the_same_prompts():
    question = Question(id="q1", scenario="s", split="train", question="What is 1 + 2?", answer="3", steps=[])
    (row,) = rows_from_generations([generation("q1")], [question], PROMPT)
    assert row == {"prompt": ROWS[1]["prompt"], "completion": [{"role": "assistant", "content": "#### 3"}]}
    with pytest.raises(TrainingError, match="'q2' answers a question that is not in the question file"):
        rows_from_generations([generation("q2")], [question], PROMPT)
