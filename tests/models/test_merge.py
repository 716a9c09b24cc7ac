"""A merged model is base + adapter, and says how exactly."""

import json
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from doubledraft.models import merge
from doubledraft.models.folder import ModelError, merged_from, sha256
from tests.helpers.tiny_models import build_adapter

PROMPTS = [[{"role": "user", "content": text}] for text in ("What is 12 + 30?", "Solve 3x - 5 = 16 for x, please.")]


@pytest.fixture(scope="module")
def adapter(tiny_model, tmp_path_factory):
    return build_adapter(tiny_model, tmp_path_factory.mktemp("adapters") / "a")


def run(base, adapter, out, **changes):
    return merge.merge(base, adapter, out, **{"dtype": "float32", "prompts": PROMPTS, **changes})


def test_the_merged_folder_gives_the_logits_of_base_and_adapter(tiny_model, adapter, tmp_path):
    from peft import PeftModel  # here: its import takes seconds

    run(tiny_model, adapter, tmp_path / "out")
    chat = AutoTokenizer.from_pretrained(tmp_path / "out").apply_chat_template(
        PROMPTS[0], return_tensors="pt", return_dict=True
    )
    base = AutoModelForCausalLM.from_pretrained(tiny_model)
    plain = base(**chat).logits
    expected = PeftModel.from_pretrained(base, adapter)(**chat).logits
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "out")(**chat).logits
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert (plain - expected).abs().max() > 0.01, "an adapter that changes nothing would prove nothing"


def test_the_manifest_records_dtype_and_both_differences(tiny_model, adapter, tmp_path):
    run(tiny_model, adapter, tmp_path / "out", dtype="bfloat16")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    compared = manifest["logits_compared_with_adapter"]
    assert manifest["dtype"] == "bfloat16" and manifest["origin"]["source"] == "merge"
    assert merged_from(tmp_path / "out") == sha256(adapter / "adapter_model.safetensors")
    assert compared["float32"]["largest_difference"] < 1e-4 < compared["bfloat16"]["largest_difference"] < 0.5
    assert compared["tolerance"] == 1e-3 and compared["prompts"] == 2


def test_a_difference_beyond_the_tolerance_is_an_error_and_leaves_nothing(tiny_model, adapter, tmp_path, monkeypatch):
    monkeypatch.setattr(merge, "TOLERANCE", 0.0)
    with pytest.raises(ModelError, match="moved a logit by .* more than 0"):
        run(tiny_model, adapter, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_logits_that_are_not_numbers_are_an_error(tiny_model, adapter, tmp_path):
    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(adapter, tmp_path / "broken")
    weights = load_file(broken / "adapter_model.safetensors")
    save_file(
        {name: torch.full_like(tensor, float("nan")) for name, tensor in weights.items()},
        broken / "adapter_model.safetensors",
    )
    with pytest.raises(ModelError, match="moved a logit by nan"):
        run(tiny_model, broken, tmp_path / "out")


def test_an_adapter_whose_tensors_are_not_all_those_of_its_config_is_refused(tiny_model, adapter, tmp_path):
    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(adapter, tmp_path / "broken")
    weights, config = load_file(adapter / "adapter_model.safetensors"), (adapter / "adapter_config.json").read_text()
    kept = {name: tensor for name, tensor in weights.items() if "layers.1" not in name}
    more = weights | {name.replace("layers.1", "layers.9"): tensor.clone() for name, tensor in weights.items()}
    for tensors, first in ((kept, r"layers\.1\.mlp\.down_proj"), (more, r"layers\.9\.mlp\.down_proj")):
        save_file(tensors, broken / "adapter_model.safetensors")
        for use in (
            lambda: run(tiny_model, broken, tmp_path / "out"),
            lambda: merge.merged(tiny_model, broken, dtype="float32"),
        ):
            with pytest.raises(
                ModelError, match=f"what adapter_config.json asks for in .* differ in 4 tensors, first .*{first}"
            ):
                use()
    shutil.copy(adapter / "adapter_model.safetensors", broken)
    (broken / "adapter_config.json").write_text(config.replace('"r": 4', '"r": 8'))
    with pytest.raises(
        ModelError, match="broken: does not fit .*size mismatch for .*; give the model it was trained on"
    ):
        run(tiny_model, broken, tmp_path / "out")


def test_too_small_a_disk_is_told_before_the_merge(tiny_model, adapter, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(ModelError, match="needs .* GiB in .* only 0.00 GiB are free"):
        run(tiny_model, adapter, tmp_path / "out")


def test_a_folder_without_safetensors_adapter_is_refused(tiny_model, tmp_path):
    with pytest.raises(ModelError, match="an adapter needs .*adapter_model.safetensors"):
        run(tiny_model, tmp_path, tmp_path / "out")
