"""Prompts that a model writes itself, given the header of the user's turn."""

import json

import pytest

from doubledraft.models.folder import ModelError
from doubledraft.models.inspect import load_tokenizer
from doubledraft.routing.self_prompt import usable, user_header, write

QUESTIONS = [f"How many pencils are left of {number} boxes?" for number in range(2, 10)]


def test_the_header_is_what_the_template_writes_before_the_user(tiny_model):
    assert user_header(load_tokenizer(tiny_model), tiny_model) == "<|im_start|>user\n"


def test_a_template_without_a_header_is_refused(tiny_model):
    tokenizer = load_tokenizer(tiny_model)
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    with pytest.raises(ModelError, match="no header for the user's turn"):
        user_header(tokenizer, tiny_model)


@pytest.mark.parametrize("text", ["How are you?", "a b c d \x1b[31m e f", "Ünlü bir soru sor bana şimdi"])
def test_texts_that_a_prompt_cannot_be_are_dropped(text):
    assert not usable(text)


def test_a_model_that_writes_nothing_usable_is_named(tiny_model, tmp_path):
    with pytest.raises(ModelError, match=r"usable prompts of 4: take a model tuned on instructions"):
        write(tiny_model, 4, tmp_path / "w.jsonl", seed=1, dtype="float32", concurrency=4)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_model_writes_the_questions_it_was_tuned_on_the_same_ones_for_a_seed(tiny_model, tmp_path):
    model = _taught(tiny_model, tmp_path / "model")
    for name in ("first", "second"):
        write(model, 4, tmp_path / name, seed=1, dtype="float32", concurrency=8)
    rows = [json.loads(line)["prompt"] for line in (tmp_path / "first").read_text().splitlines()]
    assert len(set(rows)) == 4 and set(rows) <= {text for text in rows if text.startswith("How many pencils")}
    assert (tmp_path / "first").read_text() == (tmp_path / "second").read_text()


def _taught(source, folder):
    """Write a model that continues the user's header with one of QUESTIONS."""
    import torch
    from transformers import AutoModelForCausalLM

    model, tokenizer = AutoModelForCausalLM.from_pretrained(source), load_tokenizer(source)
    texts = [tokenizer.encode(f"<|im_start|>user\n{text}<|im_end|>") for text in QUESTIONS]
    width = max(map(len, texts))
    ids = torch.tensor([text + [0] * (width - len(text)) for text in texts])
    labels = ids.masked_fill(ids == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(120):
        optimizer.zero_grad()
        model(input_ids=ids, attention_mask=ids != 0, labels=labels).loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
