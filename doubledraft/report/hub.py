"""Uploads a draft adapter and its card to the Hugging Face hub: on request only, to a private repository by default.

`plan` lists the files without a key or network. They are a plain LoRA in safetensors format, JSON and a card; any other
file stops the upload by name, as does one with the hub's token in it. Paths of this machine are not uploaded: the base
is named by its repository, or by its bare name where it has none.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from doubledraft import api_keys
from doubledraft.log import log
from doubledraft.machine import limit_hub_waits
from doubledraft.models.folder import TOKENIZER
from doubledraft.models.safety import read_settings, refuse_unsafe_adapter

NAMES = ("adapter_config.json", "adapter_model.safetensors", "training.json", *TOKENIZER)
LEFT_OUT = (".snakemake_timestamp",)  # Snakemake writes it into the folders that rules make
CARD = "README.md"


class HubError(ValueError):
    """An upload that was not started or failed; the message has what to do, and never the token."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as it will be in the repository."""

    name: str
    content: bytes | Path  # bytes where the file is changed for the upload

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size


def plan(adapter: str | Path, card: str | Path, base: str | None) -> list[Upload]:
    """Return the files of an upload; `base` is the repository of the adapter's base, None where it has none.

    Raise HubError or ModelError naming a file that may not be uploaded, or that is missing.
    """
    adapter, card = Path(adapter), Path(card)
    refuse_unsafe_adapter(adapter)
    for file in sorted(adapter.rglob("*")):
        if file.name not in LEFT_OUT and str(file.relative_to(adapter)) not in NAMES:
            raise HubError(f"{file}: only {', '.join(NAMES)} are uploaded; move it out of the folder")
    if not card.is_file() or not card.read_bytes().startswith(b"---\n"):
        raise HubError(f"{card}: expected the adapter's card; write it with `doubledraft card`")
    uploads = [Upload(CARD, card.read_bytes())]
    for name in NAMES:
        if (adapter / name).exists():
            uploads.append(Upload(name, _content(adapter / name, base)))
    return uploads


def push(uploads: list[Upload], repository: str, *, public: bool) -> str:
    """Commit files to a model repository (owner/name), which is created if need be; return the commit's address.

    Raise HubError where the hub refuses, where a file has the token in it, or where the repository is public and
    `public` is false; api_keys.MissingKey without a token.
    """
    import httpx
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError

    token = api_keys.key("hub")
    for upload in uploads:
        if isinstance(upload.content, bytes) and token.encode() in upload.content:
            raise HubError(f"{upload.name}: contains the hub's token; make the file again without it")
    limit_hub_waits()
    api = HfApi(token=str(token))
    operations = [CommitOperationAdd(upload.name, upload.content) for upload in uploads]
    try:
        api.create_repo(repository, private=not public, exist_ok=True)
        if not public and not api.model_info(repository).private:
            raise HubError(f"{repository} exists and is public: give --public to upload to it, or another name")
        commit = api.create_commit(repository, operations, commit_message="Upload draft adapter and card")
    except HubError:
        raise
    except (HfHubHTTPError, httpx.HTTPError, ValueError, OSError, RuntimeError) as error:
        reason = api_keys.redact(" ".join(str(error).split()))[:300]
        if isinstance(error, httpx.TimeoutException):
            reason += "; push again, with HF_HUB_DOWNLOAD_TIMEOUT, the seconds of silence it waits, set to more than 10"
        raise HubError(f"could not upload to {repository}: {reason}") from None  # its request carries the token
    log.info("uploaded %d files to %s", len(uploads), repository)
    return str(commit.commit_url)


def _content(file: Path, base: str | None) -> bytes | Path:
    """Return a file as it is uploaded: a path of the base is replaced by the base's name."""
    if file.suffix != ".json" or file.name in TOKENIZER:
        return file
    value = read_settings(file)
    if file.name == "adapter_config.json":
        value["base_model_name_or_path"] = base or Path(value["base_model_name_or_path"] or "").name
    elif file.name == "training.json":
        value["settings"]["base"] = base or Path(value["settings"]["base"]).name
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
