"""Weights that compute NaN: a damaged target is an error that names model and step, a damaged draft changes nothing."""

import logging
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from doubledraft.engine.decode import decode, speculative_decode, stream
from doubledraft.engine.draft_length import AdaptiveLength
from doubledraft.engine.load import create_backend
from doubledraft.engine.sampling import Sampling, best_tokens
from doubledraft.models.folder import ModelError
from tests.helpers.prompts import NEW, PROMPTS

KERNELS = ("torch", "compiled", "graphs")
DRAWN = Sampling(temperature=1.0, top_k=20)


@pytest.fixture(scope="module")
def damaged(tiny_draft, tmp_path_factory) -> Path:
    folder = shutil.copytree(tiny_draft, tmp_path_factory.mktemp("models") / "damaged")
    [file] = folder.glob("*.safetensors")
    tensors = load_file(file)
    tensors["model.layers.0.mlp.down_proj.weight"][0, 0] = float("nan")
    save_file(tensors, file, {"format": "pt"})
    return folder


@pytest.mark.parametrize("sampling", [Sampling(), DRAWN], ids=["greedy", "drawn"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_damaged_target_is_an_error_that_names_it(damaged, kernel: str, sampling: Sampling):
    with pytest.raises(ModelError, match=r"damaged: logits are NaN or infinite in step 0"):
        decode(create_backend(damaged, "float32", "cpu", kernel=kernel), PROMPTS, NEW, sampling=sampling)


def test_the_step_is_named_where_logits_cease_to_be_finite(tiny_model, tiny_draft, monkeypatch):
    target, draft = (create_backend(folder, "float32", "cpu") for folder in (tiny_model, tiny_draft))
    logits, calls = target.logits, []

    def failing(hidden: torch.Tensor) -> torch.Tensor:
        calls.append(hidden)
        return logits(hidden) * (float("inf") if len(calls) == 4 else 1)

    monkeypatch.setattr(target, "logits", failing)
    with pytest.raises(ModelError, match="infinite in step 2"):
        for metrics in stream(target, draft, PROMPTS[:1], NEW, draft_length=2):
            emitted = len(metrics.answers[0].token_ids)
    assert emitted >= 3, "the prompt's pass and two steps were good"


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("length", [3, AdaptiveLength(5)], ids=["fixed", "adaptive"])
def test_a_damaged_draft_changes_no_answer_and_is_reported(
    tiny_model, damaged, kernel: str, length, caplog, monkeypatch
):
    monkeypatch.setattr(logging.getLogger("doubledraft"), "propagate", True)
    target, draft = (
        create_backend(tiny_model, "float32", "cpu"),
        create_backend(damaged, "float32", "cpu", kernel=kernel),
    )
    ids, _ = speculative_decode(target, draft, PROMPTS, NEW, draft_length=length)
    assert ids == decode(target, PROMPTS, NEW)[0]
    drawn, _ = speculative_decode(target, draft, PROMPTS, NEW, draft_length=length, sampling=DRAWN)
    assert [len(answer) for answer in drawn] == [NEW] * len(PROMPTS)
    assert f"draft {damaged} computes NaN or infinity" in caplog.text


def test_only_finite_logits_have_a_best_token():
    nan, inf = float("nan"), float("inf")
    rows = torch.tensor([[1.0, 3.0, 2.0], [nan, 3.0, 2.0], [1.0, inf, 2.0], [-inf, 0.0, -inf], [-inf, -inf, -inf]])
    assert best_tokens(rows).tolist() == [1, -1, -1, 1, -1]
