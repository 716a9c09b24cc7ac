"""Writes files and folders whole or not at all; errors name what could not be written and what to do."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
NOT_OURS = {errno.EROFS, errno.EACCES, errno.EPERM}
LITTLE = 2**20  # free bytes that count as a full disk: some libraries only report that a write failed


@contextmanager
def whole_path(path: str | Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; the file is renamed to `path` when the block ends without an error."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    with naming(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            _to_disk(partial)
            os.replace(partial, path)
            _to_disk(path.parent)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def whole_file(path: str | Path) -> Iterator[TextIO]:
    """Open a text file that appears at `path` only when the block ends without an error."""
    with whole_path(path) as partial, open(partial, "w", encoding="utf-8", newline="\n") as file:
        yield file


@contextmanager
def whole_directory(path: str | Path) -> Iterator[Path]:
    """Yield an empty folder beside `path` that is renamed to `path` when the block ends without an error."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    with naming(path):
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            yield partial
            for file in [*partial.rglob("*"), partial]:
                _to_disk(file)
            shutil.rmtree(path, ignore_errors=True)
            os.replace(partial, path)
            _to_disk(path.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Add to an error of the block, whatever library raised it, that `path` could not be written and what to do."""
    try:
        yield
    except Exception as error:
        number = getattr(error, "errno", None)
        free = shutil.disk_usage(next(folder for folder in Path(path).absolute().parents if folder.exists())).free
        if number in NO_ROOM or free < LITTLE:
            error.add_note(
                f"{path} could not be written: {free} bytes are free, or a quota is reached; make room, then"
            )
        elif number in NOT_OURS:
            error.add_note(f"{path} could not be written: make its folder writable, or take another --directory, then")
        if number in NO_ROOM | NOT_OURS or free < LITTLE:
            error.add_note("run the same command again; nothing half-written is ever used")
        raise


def _to_disk(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on disk and would survive a power failure."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def write_json(path: str | Path, value: object) -> None:
    """Write one JSON document, whole or not at all; NaN and infinity are refused, since JSON has neither."""
    with whole_file(path) as file:
        json.dump(value, file, indent=2, ensure_ascii=False, allow_nan=False)
        file.write("\n")
