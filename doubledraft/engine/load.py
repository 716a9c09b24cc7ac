"""Loading a model for the engine: from a folder or the hub, refused by name where the engine cannot run it."""

from collections.abc import Sequence
from pathlib import Path

from doubledraft.engine.backend import Backend
from doubledraft.machine import limit_hub_waits
from doubledraft.models.architecture import supported_config
from doubledraft.models.folder import ALLOWED, ModelError
from doubledraft.models.inspect import load_model, load_tokenizer
from doubledraft.models.safety import refuse_unsafe

COMPILED_NEEDS = "compiled code, which int8 weights need, takes a CPU, a compiler, bfloat16 or float32, rows of 32"


def create_backend(
    name_or_path: str | Path,
    dtype: str,
    device: str,
    *,
    allowed_tokens: Sequence[int] | None = None,
    int8: bool = False,
    kernel: str | None = None,
) -> Backend:
    """Load a model from a folder, or by its name on the Hugging Face hub, to run in `dtype` on `device`.

    `allowed_tokens` are the token ids that a draft may propose (`draft_vocabulary`). `kernel` is what runs a pass: None
    takes the fastest, CUDA graphs on a GPU and compiled code on a CPU where that is possible; "torch", "compiled" and
    "graphs" ask for one. `int8` rounds weights to 8 bits, which is lossy and meant for drafts; it needs compiled code.
    Raise ModelError for a model that is unsafe to load, or that cannot be run so.
    """
    import torch

    from doubledraft.engine.cpu_backend import CompiledBackend, Int8Backend, can_run
    from doubledraft.engine.cuda_graphs import GraphedBackend

    folder = local_folder(name_or_path)
    refuse_unsafe(folder)
    config = supported_config(folder)
    model = load_model(folder, dtype=getattr(torch, dtype)).to(device)
    compilable = device == "cpu" and can_run(config, model.dtype)
    kernel = kernel or ("compiled" if compilable else "graphs" if model.device.type == "cuda" else "torch")
    if kernel == "compiled" and not compilable or int8 and kernel != "compiled":
        raise ModelError(
            f"{folder}: {COMPILED_NEEDS}; found {device}, {dtype} and kernel {kernel}; leave 8-bit weights out"
        )
    kind = Int8Backend if int8 else {kind.kernel: kind for kind in (Backend, CompiledBackend, GraphedBackend)}[kernel]
    return kind(model, load_tokenizer(folder).get_vocab(), str(name_or_path), allowed_tokens)


def local_folder(name_or_path: str | Path) -> Path:
    """Return the folder of a model, fetched from the hub unless it is local; raise ModelError where that fails."""
    if Path(name_or_path).is_dir():
        return Path(name_or_path)
    if Path(name_or_path).exists():
        raise ModelError(f"{name_or_path}: a file: expected a folder with config.json, a tokenizer and safetensors")
    import httpx
    from huggingface_hub import snapshot_download

    limit_hub_waits()
    try:
        return Path(snapshot_download(str(name_or_path), allow_patterns=list(ALLOWED)))
    except (OSError, ValueError, httpx.HTTPError) as error:  # no network, no such model, or an impossible name
        reason = str(error).split("\n")[0]
        raise ModelError(
            f"{name_or_path}: no such folder, and the hub did not have it: {reason}; check the name, the network and, "
            "for gated models, that you are logged in (hf auth login)"
        ) from None
