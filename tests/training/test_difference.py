"""A model trained whole is stored as an adapter that gives it back."""

import pytest
import torch
from safetensors.torch import load_file

from doubledraft.models.inspect import load_model
from doubledraft.models.merge import merge
from doubledraft.training.difference import factors, is_matrix_of_layer, save_difference
from doubledraft.training.rows import TrainingError

PROMPTS = [[{"role": "user", "content": "4 + 5 = ?"}]]


def changed(folder, *, everything=False):
    """Return the weights of a model with every matrix of its layers moved by about a hundredth."""
    torch.manual_seed(3)
    weights = load_model(folder, dtype=torch.float32).state_dict()
    moving = [name for name in weights if everything or is_matrix_of_layer(name)]
    return weights | {name: weights[name] + 0.01 * torch.randn_like(weights[name]) for name in moving}


def test_the_merged_adapter_is_the_trained_model_to_float32s_rounding(tiny_model, tmp_path):
    trained = changed(tiny_model)
    save_difference(trained, tiny_model, tmp_path / "adapter")
    merge(tiny_model, tmp_path / "adapter", tmp_path / "m", dtype="float32", prompts=PROMPTS)
    merged = load_model(tmp_path / "m", dtype=torch.float32).state_dict()
    for name, weight in trained.items():
        torch.testing.assert_close(merged[name], weight, rtol=0, atol=2e-7, msg=name)


def test_two_savings_leave_the_same_bytes(tiny_model, tmp_path):
    for name in "ab":
        save_difference(changed(tiny_model), tiny_model, tmp_path / name)
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_difference_of_low_rank_takes_no_more_ranks_than_it_has():
    a, b = factors(torch.outer(torch.arange(1.0, 5), torch.arange(1.0, 7)))
    assert a.shape == (1, 6) and b.shape == (4, 1)
    torch.testing.assert_close(b @ a, torch.outer(torch.arange(1.0, 5), torch.arange(1.0, 7)))


def test_matrices_that_stayed_are_left_out(tiny_model, tmp_path):
    weights = load_model(tiny_model, dtype=torch.float32).state_dict()
    name = "model.layers.0.mlp.up_proj"
    save_difference(weights | {f"{name}.weight": weights[f"{name}.weight"] + 1}, tiny_model, tmp_path)
    assert {key.rpartition(".lora_")[0] for key in load_file(tmp_path / "adapter_model.safetensors")} == {
        f"base_model.model.{name}"
    }


def test_what_an_adapter_cannot_hold_is_refused(tiny_model, tmp_path):
    with pytest.raises(TrainingError, match="norm.weight differs|embed_tokens.weight differs"):
        save_difference(changed(tiny_model, everything=True), tiny_model, tmp_path)
    with pytest.raises(TrainingError, match="changed no matrix"):
        save_difference(load_model(tiny_model).state_dict(), tiny_model, tmp_path)
