"""Checkpoints of a training run that may be killed: which run they belong to, and which of them are whole.

A checkpoint is sealed after its last byte with the sha256 of every file, so one that a kill or a full disk tore is
known and skipped. Those of other settings or other rows are removed: they would be continued into a result nobody
asked for.
"""

import json
import shutil
from pathlib import Path

from doubledraft.files import write_json
from doubledraft.log import log
from doubledraft.models.folder import sha256
from doubledraft.provenance import config_hash

SEAL = "sealed.json"


def folder_of_run(root: Path, identity: dict) -> Path:
    """Give the folder below `root` for the run that `identity` (plain values) describes; those of other runs go."""
    folder = root / config_hash(identity)
    for other in root.glob("*"):
        if other != folder:
            log.info("removing checkpoints of another run: %s", other)
            shutil.rmtree(other)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def seal(folder: Path) -> None:
    """Write the list of a checkpoint's files and their sha256, by which it is known as whole."""
    write_json(folder / SEAL, {file.name: sha256(file) for file in sorted(folder.iterdir()) if file.is_file()})


def newest_whole_checkpoint(folder: Path) -> str | None:
    """Give the newest checkpoint whose files are all as written; torn ones are removed with a warning."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True)
    for checkpoint in found:
        try:
            digests = json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))
            changed = [name for name, digest in digests.items() if sha256(checkpoint / name) != digest]
        except (OSError, ValueError) as error:
            changed = [str(error)]
        if not changed:
            log.info("continuing from %s", checkpoint)
            return str(checkpoint)
        log.warning("%s is torn and is skipped: %s", checkpoint, changed[0])
        shutil.rmtree(checkpoint)
    return None
