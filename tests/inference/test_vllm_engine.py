"""What vLLM is told of a job's draft."""

import shutil
from dataclasses import fields
from typing import get_args

import pytest

from doubledraft.inference import vllm_engine
from doubledraft.inference.host import Host
from doubledraft.inference.job import HEADS, EncodedQuestion, JobError
from tests.helpers.small_job import small_job


def told(folder, **changes) -> dict:
    """Return the speculative settings of a job with a draft."""
    job = small_job(folder, folder, "speculative", draft="draft", draft_length=4, **changes)
    return vllm_engine._drafting(job)["speculative_config"]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["draft_model", *HEADS])
def test_vllm_has_every_method_and_setting_that_it_is_told(tmp_path, method):
    from vllm.config.speculative import SpeculativeConfig, SpeculativeMethod

    settings = told(tmp_path, method=method, parallel=True)
    assert settings["method"] in _names(SpeculativeMethod) and settings["model"] == "draft"
    assert settings.keys() <= {field.name for field in fields(SpeculativeConfig)}


def _names(kind) -> set[str]:
    return {name for part in get_args(kind) for name in ([part] if isinstance(part, str) else _names(part))}


def test_a_draft_proposes_in_one_pass_only_where_that_is_asked_for(tmp_path):
    assert told(tmp_path, method="eagle3", parallel=True)["parallel_drafting"] is True
    assert "parallel_drafting" not in told(tmp_path, method="draft_model")


@pytest.mark.parametrize("changes", [{"method": "eagle3"}, {"method": "draft_model", "parallel": True}])
def test_ways_of_drafting_that_vllm_alone_has_are_refused_for_the_own_engine(tmp_path, changes):
    with pytest.raises(JobError, match="only vLLM supports it"):
        told(tmp_path, engine="native", **changes)


@pytest.mark.slow
def test_a_target_that_computes_nan_is_an_error_and_no_answer(tiny_model, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny_model, tmp_path / "damaged")
    [file] = folder.glob("*.safetensors")
    tensors = load_file(file)
    tensors["model.layers.0.mlp.down_proj.weight"][0, 0] = float("nan")
    save_file(tensors, file, {"format": "pt"})
    with (
        Host(small_job(tmp_path, folder, "baseline")) as host,
        pytest.raises(RuntimeError, match="NaNs detected in logits"),
    ):
        host.call("answer", [EncodedQuestion("q", [5, 9, 40])])
