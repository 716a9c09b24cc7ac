"""The folder of a model: what is in it, and what its manifest says.

A model is a Hugging Face folder with safetensors weights and a `manifest.json` that says where every byte came from.
What may not be in it is in `untrusted.py`.
"""

import hashlib
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path

from doubledraft.files import write_json

WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
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
ALLOWED = (*WEIGHTS, *TOKENIZER, "config.json", "generation_config.json", "LICENSE*")
ITEM_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
HEADER_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}  # safetensors spelling


class ModelError(ValueError):
    """A model that cannot be fetched, trusted or used; the message says which and what to do."""


def write_manifest(folder: Path, origin: dict, *, parent: str | Path | None = None, **facts: object) -> None:
    """Write `manifest.json`: origin, what the weights are, sha256 of each file; the same bytes for the same model."""
    config = read_config(folder)
    dtypes, parameters = _weights(folder)
    manifest = {
        "origin": dict(origin),
        "parent_sha256": sha256(Path(parent) / "manifest.json")
        if parent and (Path(parent) / "manifest.json").exists()
        else None,
        "architecture": config["architectures"][0],
        "parameters": parameters,
        "layers": config["num_hidden_layers"],
        "vocabulary": config["vocab_size"],
        "dtype": dtypes,
        **facts,
        "files": {file.name: sha256(file) for file in sorted(folder.iterdir()) if file.name != "manifest.json"},
    }
    write_json(folder / "manifest.json", manifest)


def _weights(folder: Path) -> tuple[str, int]:
    """Give dtype (several joined by +) and number of stored parameters, from the safetensors headers alone."""
    from safetensors import safe_open

    dtypes, parameters = set(), 0
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="np") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (not a dict)
                part = tensors.get_slice(name)
                parameters += math.prod(part.get_shape())
                dtypes.add(HEADER_DTYPES.get(part.get_dtype(), part.get_dtype()))
    return "+".join(sorted(dtypes)), parameters


def copy_tokenizer(source: str | Path, folder: Path) -> None:
    """Copy a model's tokenizer and generation settings byte for byte."""
    for file in allowed_files(Path(source)):
        if file.name in (*TOKENIZER, "generation_config.json"):
            shutil.copyfile(file, folder / file.name)


def require_space(folder: Path, needed: int, what: str) -> None:
    """Raise ModelError when the disk of `folder` has fewer than `needed` bytes (and a tenth more) free."""
    free = shutil.disk_usage(folder).free
    if free < 1.1 * needed:
        raise ModelError(
            f"{what} needs {1.1 * needed / 2**30:.2f} GiB in {folder}, but only {free / 2**30:.2f} GiB are free"
        )


def sha256(file: Path) -> str:
    """Give the sha256 of a file in hexadecimal."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def allowed_files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.iterdir()) if file.is_file() and any(map(file.match, ALLOWED)))


def read_config(folder: str | Path, name: str = "config.json") -> dict:
    return json.loads((Path(folder) / name).read_text(encoding="utf-8"))


def read_manifest(folder: str | Path) -> dict:
    """Give the manifest of a model folder; nothing where it has none, as a model from elsewhere."""
    return read_config(folder, "manifest.json") if (Path(folder) / "manifest.json").exists() else {}
