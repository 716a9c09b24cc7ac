"""Models and adapters from untrusted sources: refused by name and reason before a library opens their files.

Weights are data, and safetensors weights are nothing else, so a model can be used without trusting who made it. What
would make it more than data is refused here: pickles, own code, kernels from a hub, links and shard names that lead out
of the folder, an adapter in the place of a model, pipes and devices, headers and JSON too large or too broken to parse.
A chat template is a program; `chat_template.py` renders it once in a process with limits.

A link is followed where a hub's cache has it: from `snapshots/{commit}/` into the `blobs/` beside it.
"""

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from doubledraft.models.folder import ModelError, read_manifest, weight_files

PICKLES = {  # load by running code, or may
    ".bin",
    ".pt",
    ".pth",
    ".ckpt",
    ".pkl",
    ".pickle",
    ".joblib",
    ".msgpack",
    ".h5",
}
VOCABULARIES = {"tokenizer.json", "vocab.json"}  # read by the tokenizers library in Rust; large, and no settings
MAX_JSON = 16 << 20  # bytes of a file of settings; the largest in use has some 2 MB
MAX_HEADER = 16 << 20  # bytes of a safetensors header; a shard of 1,000 tensors has some 100 kB
LFS_POINTER = b"version https://git-lfs.github.com/spec/"  # in place of a file that `git clone` did not fetch
PLAIN_LORA = {  # keys of adapter_config.json that may be set; any other would change what is computed, or how
    "base_model_name_or_path",
    "bias",
    "ensure_weight_tying",
    "inference_mode",
    "init_lora_weights",
    "layers_to_transform",
    "lora_alpha",
    "lora_dropout",
    "megatron_core",  # the default of PEFT; has an effect with megatron_config alone
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "revision",
    "target_modules",
    "task_type",
    "use_dora",
    "use_rslora",
}


def refuse_unsafe(folder: str | Path) -> None:
    """Raise ModelError where a model folder is more than data, is no model, or cannot be parsed safely."""
    folder = Path(folder)
    _refuse_files(folder)
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"{folder / 'adapter_config.json'}: transformers would load the model that this adapter names instead of "
            "this folder; move the adapter away, or merge it first"
        )
    for file in sorted(folder.glob("*.json")):
        if file.name not in VOCABULARIES:
            _refuse_settings(file)
    if not any(folder.glob("*.safetensors")) or not (folder / "config.json").exists():
        raise ModelError(
            f"{folder}: a model needs config.json and weights in safetensors format; use a model that has both"
        )
    for file in weight_files(folder):
        check_header(file)


def refuse_unsafe_adapter(folder: str | Path, base: str | Path | None = None) -> None:
    """Raise ModelError where an adapter is not a plain LoRA in safetensors format, or not of the model in `base`."""
    folder = Path(folder)
    _refuse_files(folder)
    file, weights = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    if not file.exists() or not weights.exists():
        raise ModelError(
            f"{folder}: an adapter needs adapter_config.json and adapter_model.safetensors; train it again"
        )
    config = read_settings(file)
    if config.get("peft_type") != "LORA":
        raise ModelError(
            f"{file}: peft_type should be LORA, found {config.get('peft_type')!r:.80}; train a LoRA adapter instead"
        )
    if not _is_list_of_names(config.get("target_modules")):
        raise ModelError(
            f"{file}: target_modules should be a list of names, as a text would be run as a search pattern; write "
            "its names"
        )
    for key in sorted(config.keys() - PLAIN_LORA):
        if config[key] and not (key == "auto_mapping" and _of_transformers(config[key]) or _of_matrices(key, config)):
            raise ModelError(
                f"{file}: {key} is {config[key]!r:.80}, and only plain LoRA adapters are used here; train the adapter "
                "without it"
            )
    named = config.get("base_model_name_or_path")
    if base is not None and not _is_base(named, Path(base)):
        raise ModelError(
            f"{file}: the adapter was trained on {named!r:.200}, not on {base}; give the model it was trained on"
        )
    check_header(weights)


def check_header(file: Path) -> None:
    """Raise ModelError where a safetensors file is cut, is something else, or has a header too large to parse."""
    from safetensors import SafetensorError, safe_open

    with open(file, "rb") as stream:
        start = stream.read(len(LFS_POINTER))
    if start == LFS_POINTER:
        raise ModelError(f"{file}: a Git LFS pointer, not the weights; fetch them with `git lfs pull`")
    length = int.from_bytes(start[:8], "little")
    if length > MAX_HEADER:
        raise ModelError(
            f"{file}: not a complete safetensors file: its header should have at most {MAX_HEADER:,} bytes, and claims "
            f"{length:,}; fetch the model again"
        )
    try:
        with safe_open(file, framework="np"):
            pass  # opening checks the header against the size of the file, and loads no tensor
    except SafetensorError as error:
        raise ModelError(f"{file}: not a complete safetensors file ({error}); fetch the model again") from None


def read_settings(file: Path) -> dict:
    """Read a JSON file of settings; raise ModelError where it is too large, or no JSON object."""
    if (size := file.stat().st_size) > MAX_JSON:
        raise ModelError(f"{file}: expected at most {MAX_JSON:,} bytes of settings, found {size:,}; fetch it again")
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{file}: not JSON ({error}); fetch the model again") from None
    if not isinstance(value, dict):
        raise ModelError(f"{file}: expected a JSON object, found {type(value).__name__}; fetch the model again")
    return value


def _refuse_files(folder: Path) -> None:
    """Refuse pickles, files that are neither file nor folder, and links that lead out of the folder."""
    real = folder.resolve()
    roots = [real, real.parents[1] / "blobs"] if real.parent.name == "snapshots" else [real]
    for file in sorted(folder.rglob("*")):
        if file.suffix.lower() in PICKLES:
            raise ModelError(f"{file}: pickled weights can run code when loaded; keep only the safetensors files")
        if file.is_symlink() and not any(Path(os.path.realpath(file)).is_relative_to(root) for root in roots):
            raise ModelError(f"{file}: a link that leads out of the model's folder; put the file itself there")
        if not file.exists() or not stat.S_ISREG(file.stat().st_mode) and not file.is_dir():
            raise ModelError(f"{file}: neither a file nor a folder; remove it")


def _refuse_settings(file: Path) -> None:
    """Refuse settings that name code to run, or weights that are not in the folder."""
    settings = read_settings(file)
    for key, value in _pairs(settings):
        if key == "auto_map":
            raise ModelError(
                f"{file}: `auto_map` asks for the model's own code to be run, which is never done here; use a model "
                "of an architecture that transformers has"
            )
        if key.endswith(("attn_implementation", "experts_implementation")) and "/" in json.dumps(value):
            raise ModelError(
                f"{file}: `{key}` asks for code from a hub to be run, which is never done here: {value!r:.80}; remove "
                "the key, and transformers' own code runs"
            )
    for shard in sorted({str(name) for name in _shards(file, settings)}):
        if PurePosixPath(shard).name != shard or not shard.endswith(".safetensors"):
            raise ModelError(
                f"{file}: {shard!r:.80} should be a safetensors file in the same folder, without a path; use another "
                "copy of the model"
            )
        if not (file.parent / shard).is_file():
            raise ModelError(f"{file}: {shard!r:.80} is not in the folder; fetch the model again")


def _shards(file: Path, settings: dict) -> list:
    if not file.name.endswith(".index.json"):
        return []
    if not isinstance(settings.get("weight_map"), dict):
        raise ModelError(f"{file}: key weight_map should say in which file each tensor is; fetch the model again")
    return list(settings["weight_map"].values())


def _pairs(value: object) -> Iterator[tuple[str, object]]:
    """Iterate over the keys with their values at every depth; the JSON parser has bounded the depth."""
    waiting = [value]
    while waiting:
        if isinstance(value := waiting.pop(), dict):
            yield from value.items()
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _is_list_of_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _of_matrices(key: str, config: dict) -> bool:
    """Whether this gives single matrices a rank or scale of their own, by their names: PEFT takes keys as patterns."""
    named = config[key] if key in ("rank_pattern", "alpha_pattern") else None
    return isinstance(named, dict) and all(re.fullmatch(r"[\w.]+", name) for name in named)


def _of_transformers(mapping: object) -> bool:
    """Whether this is PEFT's note on a model without task, which names a module of transformers and no other."""
    return isinstance(mapping, dict) and str(mapping.get("parent_library")).startswith("transformers.")


def _is_base(named: object, base: Path) -> bool:
    if not isinstance(named, str):
        return named is None
    parts, real = Path(named).parts, Path(os.path.realpath(base))
    return (
        named == read_manifest(base).get("origin", {}).get("repo")
        or Path(os.path.realpath(named)) == real
        or real.parts[-len(parts) :] == parts  # relative to another working directory
    )
