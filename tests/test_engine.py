"""Speculative decoding gives exactly what the target gives, and these checks see every broken rule.

    pytest tests/test_engine.py

Greedy decoding is compared by token ids, in float32 on CPU, with plain decoding and with Hugging Face generate.
Sampling is compared by a chi-square test of whole answers with the target's own probabilities.
"""

from pathlib import Path

import pytest
import torch
from tiny_models import build_model

from doubledraft.backend import Backend, create_backend
from doubledraft.decoding_metrics import Metrics
from doubledraft.engine import decode, speculative_decode
from doubledraft.proposers import NGram

PROMPTS = [[5, 9, 40, 77], [8], [100, 30, 31, 30, 31, 30], list(range(20, 45))]  # of different lengths
NEW = 40
FALSE_ALARM = 1e-6  # of one chi-square test; seeds are fixed, so a test that passed goes on passing


@pytest.fixture(scope="module")
def target(tiny_model) -> Backend:
    return create_backend(tiny_model, "float32", "cpu")


@pytest.fixture(scope="module")
def drafts(target, tiny_draft, repeating_model, tmp_path_factory) -> dict[str, Backend | NGram]:
    other = build_model(tmp_path_factory.mktemp("models") / "other", layers=1, seed=7)
    return {
        "near": create_backend(tiny_draft, "float32", "cpu"),
        "random": create_backend(other, "float32", "cpu"),
        "identical": target,
    }


@pytest.fixture(scope="module")
def expected(tiny_model) -> list[list[int]]:
    """What Hugging Face generate emits, prompt by prompt."""
    return [generate(tiny_model, prompt, NEW) for prompt in PROMPTS]


def generate(folder: Path, prompt: list[int], tokens: int, stop: int | None = None) -> list[int]:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.generation_config.eos_token_id = stop
    ids = torch.tensor([prompt])
    output = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False)
    return output[0, len(prompt) :].tolist()


def check_greedy(target: Backend, draft, expected: list[list[int]], length: int, **settings) -> Metrics:
    """The check that every broken rule below must fail: exact ids, and tokens that were drafted, kept and refused."""
    ids, metrics = speculative_decode(target, draft, PROMPTS, NEW, draft_length=length, **settings)
    assert ids == expected
    figures = metrics.figures()
    assert figures["drafted"] > 0, "nothing was drafted, so nothing was tested"
    if draft is target:
        assert figures["accepted"] == figures["drafted"], "the target refused its own proposals"
    return metrics


@pytest.mark.parametrize("length", range(1, 9))
@pytest.mark.parametrize("name", ["near", "random", "identical"])
def test_greedy_speculation_equals_plain_decoding_and_generate(target, drafts, expected, name: str, length: int):
    plain, _ = decode(target, PROMPTS, NEW)
    assert plain == expected
    metrics = check_greedy(target, drafts[name], expected, length)
    refused = metrics.figures()["drafted"] - metrics.figures()["accepted"]
    assert (refused > 0) == (name != "identical")
    assert metrics.figures()["accepted"] > 0 or name == "random"


@pytest.mark.parametrize("name", ["near", "random", "identical"])
def test_a_row_of_a_batch_gets_what_it_gets_alone(target, drafts, name: str):
    together, metrics = speculative_decode(target, drafts[name], PROMPTS, NEW, draft_length=4)
    for prompt, row, answer in zip(PROMPTS, together, metrics.answers, strict=True):
        alone, single = speculative_decode(target, drafts[name], [prompt], NEW, draft_length=4)
        assert alone == [row]
        assert single.answers[0].steps == answer.steps, "the batch changed how often the row's drafts were kept"
