"""The compiled pass gives a token the same bits whoever it is read with, and is compiled once.

That its logits are those of transformers is in test_backend.py, that whole answers are in test_engine.py.
"""

import pytest
import torch

from doubledraft.engine import cpu_backend
from doubledraft.engine.backend import Backend, prefill
from doubledraft.engine.decode import decode, speculative_decode
from doubledraft.engine.load import create_backend
from doubledraft.engine.proposers import NGram
from doubledraft.evaluation.acceptance import summary
from doubledraft.models.folder import ModelError
from tests.helpers.tiny_models import build_model

# 21 tokens: more than share a weight at a time
TEXT = [5, 9, 40, 77, 3, 100, 101, 5, 9, 60, 61, 62, 7, 8, 200, 201, 30, 31, 30, 31, 30]
NEW = 60


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def model(request, tiny_model) -> Backend:
    model = create_backend(tiny_model, request.param, "cpu")
    assert model.kernel == "compiled", "these tests need a C++ compiler"
    return model


def logits(model: Backend, cuts: list[int]) -> torch.Tensor:
    cache = model.new_cache(1, 24)
    parts = [model.logits(model.forward(part.unsqueeze(0), cache)) for part in torch.tensor(TEXT).split(cuts)]
    return torch.cat(parts, 1)


def test_a_token_has_the_same_logits_to_the_bit_in_a_pass_of_any_size(model):
    alone = logits(model, [1] * 21)
    for cuts in ([21], [8, 8, 5], [3, 7, 2, 9], [6, 5, 4, 3, 2, 1]):
        assert torch.equal(logits(model, cuts), alone), f"passes of {cuts} tokens"


def test_a_token_has_the_same_logits_to_the_bit_with_any_number_of_threads(model):
    threads = torch.get_num_threads()
    try:
        found = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(logits(model, [15, 6]))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


def test_a_row_of_a_batch_has_the_same_states_to_the_bit_as_alone(model):
    texts = [TEXT, TEXT[:1], TEXT[3:8]]
    together = prefill(model, texts, model.new_cache(3, 24))
    for row, text in zip(together, texts, strict=True):
        assert torch.equal(row, prefill(model, [text], model.new_cache(1, 24))[0])


def test_a_prompt_whose_beginning_was_read_before_has_the_same_states_to_the_bit(model):
    texts = [TEXT, TEXT[:9]]
    whole = prefill(model, texts, model.new_cache(2, 24))
    model.read_beginning(TEXT[:7])
    begun = prefill(model, texts, model.new_cache(2, 24))
    model.read_beginning([])
    assert torch.equal(begun, whole)


@pytest.mark.parametrize("length", [1, 3, 5, 8, 12])
def test_greedy_speculation_is_exact_in_bfloat16_too(tiny_model, tiny_draft, length: int):
    target, draft = (create_backend(folder, "bfloat16", "cpu") for folder in (tiny_model, tiny_draft))
    prompts = [TEXT[at : at + 4] for at in range(8)]
    plain, _ = decode(target, prompts, NEW)
    for proposer in (draft, target, NGram(fewest=1)):
        ids, metrics = speculative_decode(target, proposer, prompts, NEW, draft_length=length)
        assert ids == plain
        figures = summary(metrics)
        assert figures["drafted"] > figures["accepted"] or proposer is target, "nothing was refused, so nothing tested"


def test_bfloat16_logits_are_as_near_to_float32_as_those_of_torch(tiny_model):
    exact = logits(create_backend(tiny_model, "float32", "cpu", kernel="torch"), [21])
    errors = {}
    for kernel in ("torch", "compiled"):
        found = logits(create_backend(tiny_model, "bfloat16", "cpu", kernel=kernel), [21])
        errors[kernel] = (found.float() - exact).pow(2).mean().sqrt().item()
    assert 0 < errors["compiled"] < 1.2 * errors["torch"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_8_bit_weights_are_near_and_a_draft_of_them_changes_nothing(tiny_model, tiny_draft, dtype: str):
    target, rounded = (create_backend(tiny_model, dtype, "cpu", int8=int8) for int8 in (False, True))
    exact, found = logits(target, [21]), logits(rounded, [21])
    error = ((found - exact).pow(2).mean() / exact.pow(2).mean()).sqrt()
    assert 1e-4 < error < 0.05, "8 bits: a rounding of a row is within 1/254 of its largest weight"
    assert torch.equal(logits(rounded, [1] * 21), found)
    assert rounded.bytes_per_pass * target.dtype.itemsize == target.bytes_per_pass
    prompts = [TEXT[at : at + 4] for at in range(4)]
    plain, _ = decode(target, prompts, NEW)
    for folder, most in ((tiny_model, 1.0), (tiny_draft, 0.9)):
        draft = create_backend(folder, dtype, "cpu", int8=True)
        ids, metrics = speculative_decode(target, draft, prompts, NEW, draft_length=4)
        assert ids == plain
        assert 0 < summary(metrics)["acceptance_rate"] <= most


def test_8_bit_weights_without_the_compiled_pass_are_refused(tiny_model):
    with pytest.raises(ModelError, match="int8 weights need.*float16 and kernel torch"):
        create_backend(tiny_model, "float16", "cpu", int8=True)


def test_ids_that_the_model_does_not_have_are_refused(model):
    for wrong in (-1, model.vocabulary):
        with pytest.raises(IndexError, match=f"from 0 to {model.vocabulary - 1}, found \\[\\[5, {wrong}\\]\\]"):
            model.forward(torch.tensor([[5, wrong]]), model.new_cache(1, 4))


def test_lengths_that_are_no_multiple_run_with_torch(tmp_path):
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(build_model(tmp_path / "model"))
    assert cpu_backend.can_run(config, torch.float32) and not cpu_backend.can_run(config, torch.float16)
    config.intermediate_size += 16
    assert not cpu_backend.can_run(config, torch.float32)
