"""A shared draft computes with each of its adapters what the merged model computes."""

from pathlib import Path

import pytest
import torch

from doubledraft.engine.adapters import SharedDraft
from doubledraft.engine.backend import Backend
from doubledraft.engine.decode import speculative_decode
from doubledraft.engine.load import create_backend
from doubledraft.models.folder import ModelError
from doubledraft.models.merge import merge
from tests.helpers.tiny_models import build_adapter

PROMPT = [5, 9, 40, 77, 30, 31]


@pytest.fixture(scope="module")
def folder(tiny_model, tmp_path_factory):
    """Return a folder with a draft in bfloat16 and two adapters of it, each merged too."""
    folder = tmp_path_factory.mktemp("adapters")
    _merge(tiny_model, build_adapter(tiny_model, folder / "first", seed=9), folder / "draft")
    for seed, name in enumerate(("code", "chat"), start=1):
        _merge(folder / "draft", build_adapter(folder / "draft", folder / name, seed=seed), folder / f"{name}_merged")
    return folder


def _merge(base: Path, adapter: Path, out: Path) -> None:
    merge(base, adapter, out, dtype="bfloat16", prompts=[[{"role": "user", "content": "How?"}]])


def shared_draft(folder: Path, kernel: str | None = None) -> SharedDraft:
    """Return the draft with its adapters."""
    draft = create_backend(folder / "draft", "bfloat16", "cpu", kernel=kernel)
    return SharedDraft(draft, {name: folder / name for name in ("code", "chat")})


def weights(draft: Backend) -> list[torch.Tensor]:
    """Return all matrices of a draft."""
    return [matrix.clone() for layer in draft.matrices() for matrix in layer.values()]


@pytest.mark.parametrize("kernel", ["compiled", "torch"])
def test_switching_gives_the_weights_of_the_merged_model_and_back(folder, kernel):
    shared = shared_draft(folder, kernel)
    before = weights(shared.draft)
    for name in ("code", "chat", "code"):
        shared.use(name)
        merged = create_backend(folder / f"{name}_merged", "bfloat16", "cpu", kernel=kernel)
        assert all(map(torch.equal, weights(shared.draft), weights(merged)))
    shared.use(None)
    assert all(map(torch.equal, weights(shared.draft), before))


def test_its_proposers_draft_as_the_merged_models_do_in_any_order(tiny_model, folder):
    target, shared = create_backend(tiny_model, "bfloat16", "cpu"), shared_draft(folder)
    proposers = shared.proposers()
    for name in ("chat", "code", "chat"):
        merged = create_backend(folder / f"{name}_merged", "bfloat16", "cpu")
        [found], [wanted] = (
            speculative_decode(target, draft, [PROMPT], 12, draft_length=3)[1].answers
            for draft in (proposers[name], merged)
        )
        assert found.steps == wanted.steps and shared.name == name


def test_an_adapter_of_another_model_and_weights_in_8_bits_are_refused(tiny_model, tiny_draft, folder):
    with pytest.raises(ModelError, match="the adapter was trained on"):
        SharedDraft(create_backend(tiny_draft, "bfloat16", "cpu"), {"code": folder / "code"})
    with pytest.raises(ModelError, match="load it without int8"):
        SharedDraft(create_backend(tiny_model, "bfloat16", "cpu", int8=True), {})
