"""Rows that an interrupted run leaves, for the next one to continue.

Unlike every other file of the project this one grows in place, a batch at a time, so it is no output of a rule. Beside
it, `{path}.key` holds a hash of models, questions and settings: rows of other ones are never continued.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from doubledraft.files import naming, whole_file
from doubledraft.log import log
from doubledraft.records import Generation, read_records, to_line, write_records


def key(files: Iterable[str | Path], settings: object) -> str:
    """Return a hash of all that the rows depend on: the bytes of files, and plain values."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in files:
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def resume(path: str | Path, work: str) -> list[Generation]:
    """Return the rows that an earlier run of the same work left in `path`; start the file afresh if there are none."""
    path, note = Path(path), Path(f"{path}.key")
    rows = []
    if path.exists():
        if note.exists() and note.read_text() == work:
            rows = read_records(path, Generation, appended=True)
            log.info("continuing with %d answers of an earlier run", len(rows))
        else:
            log.info("%s belongs to another model, prompt or question file: starting again", path)
    note.unlink(missing_ok=True)
    write_records(path, rows)  # drops a line that a kill cut short, before new ones are appended to it
    with whole_file(note) as file:
        file.write(work)
    return rows


def remove(path: str | Path) -> None:
    """Remove the rows and their key, once a finished file holds what they were for."""
    Path(path).unlink()
    Path(f"{path}.key").unlink()


def append(path: str | Path, rows: Iterable[Generation]) -> None:
    """Add rows, safe on disk when this returns."""
    with naming(path), open(path, "a", encoding="utf-8", newline="\n") as file:
        file.writelines(map(to_line, rows))
        file.flush()
        os.fsync(file.fileno())
