"""Checkpoints of a training run that may be killed: which run they belong to, and which of them are complete.

Each file's sha256 is stored when a checkpoint is complete, so checkpoints that a kill or a full disk cut short are
skipped. Those of other settings or other rows are deleted, since continuing them would mix two runs.
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
    """Return the folder below `root` for the run that `identity` (plain values) describes; delete those of others."""
    folder = root / config_hash(identity)
    for other in root.glob("*"):
        if other != folder:
            log.info("removing checkpoints of another run: %s", other)
            shutil.rmtree(other)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def seal(folder: Path) -> None:
    """Store the sha256 of every file of a checkpoint, which marks it as complete."""
    write_json(folder / SEAL, {file.name: sha256(file) for file in sorted(folder.iterdir()) if file.is_file()})


def newest_whole_checkpoint(folder: Path) -> str | None:
    """Return the newest checkpoint whose files are as they were sealed; delete incomplete ones with a warning."""
    checkpoints = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True)
    for checkpoint in checkpoints:
        try:
            digests = json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))
            changed = [name for name, digest in digests.items() if sha256(checkpoint / name) != digest]
        except (OSError, ValueError) as error:
            changed = [str(error)]
        if not changed:
            log.info("continuing from %s", checkpoint)
            return str(checkpoint)
        log.warning("%s is incomplete and is skipped: %s", checkpoint, changed[0])
        shutil.rmtree(checkpoint)
    return None
