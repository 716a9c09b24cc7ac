"""What a folder lacks is told before anything is made of it, and one set of weights is what every engine loads."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GenerationConfig

from doubledraft.models import fetch, merge, prune
from doubledraft.models.architecture import supported_config
from doubledraft.models.folder import ModelError, weight_files
from doubledraft.models.inspect import end_ids, inspect, load_model, positions, refuse_not_finite
from tests.helpers.tiny_models import build_adapter, build_model

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PROMPTS = [[{"role": "user", "content": "2 + 2?"}]]


@pytest.fixture
def copy(tiny_model, tmp_path) -> Path:
    """Return a copy of the tiny model that a test may spoil."""
    return Path(shutil.copytree(tiny_model, tmp_path / "copy"))


@pytest.fixture
def sharded(copy) -> Path:
    """Return the copy with its weights in shards and an index."""
    model = AutoModelForCausalLM.from_pretrained(copy)
    (copy / SINGLE).unlink()
    model.save_pretrained(copy, max_shard_size="100KB")
    assert len(weight_files(copy)) > 1
    return copy


def change(folder: Path, tensors) -> None:
    weights = tensors(load_file(folder / SINGLE))
    save_file({name: tensor.clone() for name, tensor in weights.items()}, folder / SINGLE, metadata={"format": "pt"})


def set_keys(file: Path, **keys: object) -> None:
    value = json.loads(file.read_text()) | keys
    file.write_text(json.dumps({key: item for key, item in value.items() if item is not ...}))


@pytest.mark.parametrize("part", ["lm_head", "layers.1.mlp.down_proj", "model.norm", "embed_tokens"])
def test_a_tensor_that_is_missing_is_named_and_never_drawn_at_random(copy, tmp_path, part):
    change(copy, lambda weights: {name: tensor for name, tensor in weights.items() if part not in name})
    adapter = build_adapter(build_model(tmp_path / "whole"), tmp_path / "adapter")
    set_keys(adapter / "adapter_config.json", base_model_name_or_path=str(copy))
    for use in (
        lambda: inspect(copy),
        lambda: prune.prune(copy, [0], tmp_path / "out"),
        lambda: merge.merge(copy, adapter, tmp_path / "out", dtype="float32", prompts=PROMPTS),
        lambda: fetch.fetch({"source": "path", "path": str(copy)}, tmp_path / "out"),
    ):
        with pytest.raises(ModelError, match=rf"the weights lack 1 tensors of the model.*{part}"):
            use()
    assert not (tmp_path / "out").exists()


def test_a_head_that_is_tied_to_the_embedding_is_not_missing(tmp_path):
    model = build_model(tmp_path / "tied", tied=True)
    assert not any("lm_head" in name for name in load_file(model / SINGLE))
    inspect(model)


def test_a_prefix_on_all_names_and_a_wrong_shape_are_refused(copy):
    whole = (copy / SINGLE).read_bytes()
    change(copy, lambda weights: {f"module.x.{name}": tensor for name, tensor in weights.items()})
    with pytest.raises(ModelError, match="the weights lack 21 tensors"):
        inspect(copy)
    (copy / SINGLE).write_bytes(whole)
    change(copy, lambda weights: weights | {"model.norm.weight": torch.ones(63)})
    with pytest.raises(ModelError, match=r"model\.norm\.weight is \[63\], expected \[64\]"):
        inspect(copy)


def test_a_tensor_that_the_model_would_run_without_is_refused_in_one_line(copy, caplog):
    change(copy, lambda weights: weights | {"model.layers.0.self_attn.q_proj.bias": torch.ones(64)})
    with pytest.raises(ModelError, match=r"hold 1 tensors that the model of config\.json does not have.*q_proj\.bias"):
        inspect(copy)
    assert "LOAD REPORT" not in caplog.text
    set_keys(copy / "config.json", attention_bias=True)
    with pytest.raises(ModelError, match=r"the weights lack 7 tensors"):
        inspect(copy)


def test_a_head_beside_the_embedding_that_it_is_tied_to_is_refused_until_the_config_unties_it(copy):
    set_keys(copy / "config.json", tie_word_embeddings=True)
    with pytest.raises(ModelError, match=r"two different matrices.*set tie_word_embeddings to false in config\.json"):
        inspect(copy)
    change(copy, lambda weights: weights | {"lm_head.weight": weights["model.embed_tokens.weight"]})
    inspect(copy)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_weight_that_is_no_finite_number_is_named(copy, value, dtype):
    change(copy, lambda weights: {name: tensor.to(dtype) for name, tensor in weights.items()})
    refuse_not_finite(copy)
    change(copy, lambda weights: weights | {"scales": torch.zeros(3, dtype=torch.float8_e4m3fn)})  # has no range here
    refuse_not_finite(copy)

    def damage(weights: dict) -> dict:
        weights["model.layers.1.mlp.up_proj.weight"][77, 33] = value
        return weights

    change(copy, damage)
    with pytest.raises(
        ModelError, match=r"layers\.1\.mlp\.up_proj\.weight holds NaN or infinity.*fetch the model again"
    ):
        refuse_not_finite(copy)


def test_names_without_the_models_prefix_are_read_as_transformers_reads_them(copy, tiny_model):
    change(copy, lambda weights: {name.removeprefix("model."): tensor for name, tensor in weights.items()})
    inspect(copy)
    assert torch.equal(load_model(copy).model.norm.weight, load_model(tiny_model).model.norm.weight)


def test_a_config_that_transformers_cannot_build_is_told_in_one_line(copy):
    set_keys(copy / "config.json", model_type="no_such_kind")
    with pytest.raises(ModelError, match="transformers cannot build a causal language model of it: .*no_such_kind"):
        inspect(copy)
    with pytest.raises(ModelError, match="the native engine runs llama, .*, not model_type 'no_such_kind'"):
        supported_config(copy)
    set_keys(copy / "config.json", model_type="llama", hidden_size=65)
    for use in (inspect, supported_config):
        with pytest.raises(ModelError, match=r"copy: .*The hidden size \(65\) is not a multiple"):
            use(copy)


def test_shards_are_one_set_and_counted_once(sharded, tiny_model, tmp_path):
    fetch.fetch({"source": "path", "path": str(sharded)}, tmp_path / "out")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["parameters"] == load_model(tiny_model).num_parameters()


SECOND_SETS = {  # case: (what lies in the folder too, what the refusal names)
    "an older single file beside shards": (SINGLE, rf"model-00001.*and {SINGLE}; remove one"),
    "a shard of another save": (
        "model-00009-of-00009.safetensors",
        r"and model-00009-of-00009\.safetensors; remove one",
    ),
    "Mistral's own file": ("consolidated.safetensors", r"and consolidated\.safetensors; remove one"),
}


@pytest.mark.parametrize("case", SECOND_SETS)
def test_a_second_set_of_weights_is_refused_by_name(sharded, tiny_model, case):
    name, message = SECOND_SETS[case]
    shutil.copy(tiny_model / SINGLE, sharded / name)
    with pytest.raises(ModelError, match=f"two sets of weights, and engines would load different ones: .*{message}"):
        inspect(sharded)


def test_a_backup_beside_the_single_file_is_refused_by_name(copy):
    shutil.copy(copy / SINGLE, copy / "model_backup.safetensors")
    with pytest.raises(ModelError, match=r"model\.safetensors and model_backup\.safetensors; remove one"):
        inspect(copy)


def test_shards_whose_index_is_lost_are_refused(sharded):
    (sharded / INDEX).unlink()
    with pytest.raises(ModelError, match=f"expected {SINGLE}, or {INDEX} with its shards, found model-00001-of"):
        inspect(sharded)


@pytest.mark.parametrize(
    ("in_config", "in_generation", "expected"),
    [
        ([2, 207], ..., {2, 207}),
        (207, ..., {207}),
        (None, ..., set()),
        ([2, 207], 5, {5}),
        (2, [5, 6], {5, 6}),
        (207, None, set()),
    ],
)
def test_end_ids_are_those_that_hugging_face_stops_at(copy, in_config, in_generation, expected):
    set_keys(copy / "config.json", eos_token_id=in_config)
    (copy / "generation_config.json").unlink()
    if in_generation is not ...:
        (copy / "generation_config.json").write_text(json.dumps({"eos_token_id": in_generation}))
    assert end_ids(copy) == expected
    taken = AutoModelForCausalLM.from_pretrained(copy).generation_config
    assert isinstance(taken, GenerationConfig)
    ids = taken.eos_token_id
    assert expected == ({ids} if isinstance(ids, int) else set(ids or ()))


@pytest.mark.parametrize(
    ("rotary", "longest"),
    [
        ({"rope_type": "default"}, 1024),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024}, 4096),
        ({"rope_type": "linear", "factor": 2.0}, 2048),
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 128}, 1024),
    ],
)
def test_positions_count_what_a_scaled_rotary_reaches(copy, rotary, longest):
    set_keys(copy / "config.json", rope_parameters=rotary)
    assert positions(copy) == longest


def test_an_adapter_of_a_matrix_that_is_used_twice_is_refused_with_the_reason(tmp_path):
    base = build_model(tmp_path / "tied", tied=True)
    adapter = build_adapter(base, tmp_path / "adapter")
    set_keys(adapter / "adapter_config.json", target_modules=["q_proj", "lm_head"])
    with pytest.raises(ModelError, match="the adapter changes lm_head, .* one matrix with tie_word_embeddings.*untie"):
        merge.merge(base, adapter, tmp_path / "out", dtype="float32", prompts=PROMPTS)
