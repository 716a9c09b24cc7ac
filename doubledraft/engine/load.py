"""Loading a model for the engine: from a folder or the hub, refused by name where the engine cannot run it."""

from collections.abc import Sequence
from pathlib import Path

from doubledraft.engine.backend import Backend
from doubledraft.models.folder import ALLOWED, ModelError
from doubledraft.models.safety import refuse_unsafe

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")  # values of `model_type` in config.json
FIXED_ROTARY = ("default", "linear", "llama3", "yarn")  # kinds whose frequencies do not change with the length


def create_backend(
    name_or_path: str | Path,
    dtype: str,
    device: str,
    *,
    says: Sequence[int] | None = None,
    compiled: bool = True,
    int8: bool = False,
    graphs: bool = False,
) -> Backend:
    """Load a model from a folder, or by its name on the Hugging Face hub, to run in `dtype` on `device`.

    `says` are the only tokens that a draft shall propose (`doubledraft.sub_vocabulary`). On CPU the pass is compiled
    code (`doubledraft.compiled`) where that can be, unless `compiled` is False; `int8` rounds its weights to 8 bits,
    which is lossy and meant for drafts. `graphs` makes passes CUDA graphs (`doubledraft.graphed`), not with `int8`.
    Raises ModelError for a model that is unsafe to load, or that cannot be run so.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    from doubledraft.engine.cpu_backend import CompiledBackend, Int8Backend, can_run
    from doubledraft.engine.cuda_graphs import GraphedBackend

    if int8 and graphs:
        raise ModelError(f"{name_or_path}: passes with 8-bit weights cannot be graphs: leave out int8 or graphs")
    folder = _local(name_or_path)
    refuse_unsafe(folder)
    config = AutoConfig.from_pretrained(folder)
    _refuse_unlike(config, folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).to(device)
    compiled = compiled and device == "cpu" and can_run(config, model.dtype)
    if int8 and not compiled:
        raise ModelError(
            f"{folder}: 8-bit weights need the compiled pass: a CPU, a compiler, dtype bfloat16 or float32"
        )
    kind = Int8Backend if int8 else GraphedBackend if graphs else CompiledBackend if compiled else Backend
    return kind(model, AutoTokenizer.from_pretrained(folder).get_vocab(), str(name_or_path), says)


def _local(name_or_path: str | Path) -> Path:
    if Path(name_or_path).is_dir():
        return Path(name_or_path)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(name_or_path), allow_patterns=list(ALLOWED)))
    except (OSError, ValueError) as error:  # no network, no such model, or no name that the hub could have
        reason = str(error).split("\n")[0]
        raise ModelError(f"{name_or_path}: no such folder, and the hub does not give it either: {reason}") from None


def _refuse_unlike(config, folder: Path) -> None:
    """Raise ModelError where the config asks for something that the forward pass below does not do."""
    if config.model_type not in FAMILIES:
        raise ModelError(f"{folder}: model_type {config.model_type!r} is not one of {', '.join(FAMILIES)}")
    expected = {
        "hidden_act": (config.hidden_act, ("silu",)),
        "rope_type": (config.rope_parameters["rope_type"], FIXED_ROTARY),
        "quantization_config": (getattr(config, "quantization_config", None), (None,)),
        "layer_types": (set(getattr(config, "layer_types", None) or ["full_attention"]), ({"full_attention"},)),
    }
    if config.model_type == "mistral":
        expected["sliding_window"] = (config.sliding_window, (None,))
    for key, (found, known) in expected.items():
        if found not in known:
            raise ModelError(f"{folder}: {key} is {found!r}, and the engine runs only {known[0]!r} and the like")
