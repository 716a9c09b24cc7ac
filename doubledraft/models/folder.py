"""The folder of a model: its files, its one set of weights, and its manifest.

A model is a Hugging Face folder with safetensors weights and a `manifest.json` that records where every byte came from.
What may not be in it stands in `safety.py`, what has to be in `inspect.py`.
"""

import hashlib
import json
import math
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from doubledraft.files import write_json

MANIFEST = "manifest.json"
DRAFT_VOCABULARY = "draft_vocabulary.json"  # the token ids that a draft with a reduced vocabulary may propose
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"  # what transformers looks for, in this order
WEIGHTS = ("*.safetensors", INDEX)
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)
ALLOWED = (*WEIGHTS, *TOKENIZER, "config.json", "generation_config.json", DRAFT_VOCABULARY, "LICENSE*")
IGNORED = ("*/*", "consolidated*")  # subfolders hold other formats; Mistral's own names, the same weights once more
ITEM_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
HEADER_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}  # safetensors spelling


class ModelError(ValueError):
    """A model that cannot be fetched, trusted or used; the message names it and what to do."""


def merged_from(folder: str | Path) -> str | None:
    """Return the sha256 of the adapter that was merged into a model, by its manifest; None where none was."""
    return read_manifest(folder).get("origin", {}).get("adapter_sha256")


def write_manifest(folder: Path, origin: dict, *, parent: str | Path | None = None, **facts: object) -> None:
    """Write `manifest.json`: origin, architecture, sha256 of each file; the same bytes for the same model.

    `parent` is the folder of the model that it was made from, `facts` are further entries, ready for JSON.
    Raise ModelError where config.json has no layers or vocabulary, as that of a model of several parts.
    """
    config = read_config(folder)
    for key in ("architectures", "num_hidden_layers", "vocab_size"):
        if not config.get(key):
            raise ModelError(
                f"{folder / 'config.json'}: key {key} is missing: expected a causal language model of text; choose "
                "another model"
            )
    dtypes, parameters = _weights(folder)
    of_parent = parent and Path(parent) / MANIFEST
    manifest = {
        "origin": dict(origin),
        "parent_sha256": sha256(of_parent) if of_parent and of_parent.exists() else None,
        "architecture": config["architectures"][0],
        "parameters": parameters,
        "layers": config["num_hidden_layers"],
        "vocabulary": config["vocab_size"],
        "dtype": dtypes,
        **facts,
        "files": {file.name: sha256(file) for file in sorted(folder.iterdir()) if file.name != MANIFEST},
    }
    write_json(folder / MANIFEST, manifest)


def _weights(folder: Path) -> tuple[str, int]:
    """Return dtype (several joined by +) and number of stored parameters, from the safetensors headers alone."""
    from safetensors import safe_open

    dtypes, parameters = set(), 0
    for file in weight_files(folder):
        with safe_open(file, framework="np") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (not a dict)
                part = tensors.get_slice(name)
                parameters += math.prod(part.get_shape())
                dtypes.add(HEADER_DTYPES.get(part.get_dtype(), part.get_dtype()))
    return "+".join(sorted(dtypes)), parameters


def weight_files(folder: Path) -> list[Path]:
    """Return the files of the folder's one set of weights; raise ModelError where it has none, or files of another."""
    names = {file.name for file in folder.iterdir()}
    if INDEX in names:
        shards = set(read_config(folder, INDEX)["weight_map"].values())
        refuse_second_set(folder, names, shards)
        return sorted(folder / shard for shard in shards)
    refuse_second_set(folder, names, {SINGLE})
    return [folder / SINGLE]


def refuse_second_set(where: object, names: Iterable[str], loaded: set[str]) -> None:
    """Raise ModelError unless `loaded` are the only safetensors files among `names`.

    transformers would load `model.safetensors` or else what the index names, vLLM every file that it finds.
    """
    weights = {name for name in names if name.endswith(".safetensors")}
    if not loaded <= weights and weights:
        raise ModelError(
            f"{where}: expected {SINGLE}, or {INDEX} with its shards, found {', '.join(sorted(weights))}; fetch the "
            "model again"
        )
    if surplus := sorted(weights - loaded):
        raise ModelError(
            f"{where}: two sets of weights, and engines would load different ones: {', '.join(sorted(loaded))} and "
            f"{', '.join(surplus)}; remove one of them"
        )


def copy_tokenizer(source: str | Path, folder: Path) -> None:
    """Copy a model's tokenizer and generation settings byte for byte."""
    for file in allowed_files(Path(source)):
        if file.name in (*TOKENIZER, "generation_config.json"):
            shutil.copyfile(file, folder / file.name)


def require_space(folder: Path, needed: int, what: str) -> None:
    """Raise ModelError where the disk of `folder` has fewer than `needed` bytes (and a tenth more) free."""
    free = shutil.disk_usage(folder).free
    if free < 1.1 * needed:
        raise ModelError(
            f"{what} needs {1.1 * needed / 2**30:.2f} GiB in {folder}, but only {free / 2**30:.2f} GiB are free; make "
            "room there"
        )


def sha256(file: Path) -> str:
    """Return the sha256 of a file in hexadecimal."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def allowed_files(folder: Path) -> Iterator[Path]:
    """Iterate over the files of a folder that belong to a model here, in order of name."""
    for file in sorted(folder.iterdir()):
        if file.is_file() and any(map(file.match, ALLOWED)) and not any(map(file.match, IGNORED[1:])):
            yield file


def read_config(folder: str | Path, name: str = "config.json") -> dict:
    """Read a JSON file of a folder that has been checked."""
    return json.loads((Path(folder) / name).read_text(encoding="utf-8"))


def read_manifest(folder: str | Path) -> dict:
    """Return the manifest of a model folder, empty where it has none, as a model from elsewhere."""
    return read_config(folder, MANIFEST) if (Path(folder) / MANIFEST).exists() else {}
