"""Rows of a data set from a file, a folder or the hub, each with its place for messages.

This module knows files, not what a row means. Accepted, since no row is changed by it: a byte order mark at the start,
Windows line ends, blank lines, U+2028 inside text, a last line without line feed. Refused as `path:line: reason`: a
line that is cut, not UTF-8, too long, or no JSON object; NUL; NaN; a duplicate key; a file without rows; formats that
are not read; and what is sent in place of a file, a Git LFS pointer or an HTML page.
"""

import codecs
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from doubledraft.machine import limit_hub_waits
from doubledraft.records import RecordError, parse_object

COMMIT = re.compile(r"[0-9a-f]{40}")
FORMATS = "JSON lines (.jsonl), one JSON object per file (.json) or .parquet"
MAX_LINE = 1_000_000  # bytes; the longest row of GSM8K and MATH has fewer than 20,000
OTHER_FORMATS = {
    ".gz",
    ".bz2",
    ".xz",
    ".zst",
    ".zip",
    ".tar",
    ".csv",
    ".tsv",
    ".xlsx",
    ".arrow",
    ".txt",
    ".yaml",
    ".yml",
}
LAYOUTS = (  # of a folder: as on the hub (parquet, or JSON lines), and as GSM8K and MATH were first released
    "{name}/{split}-*.parquet",
    "data/{split}-*.parquet",
    "{split}-*.parquet",
    "{name}/{split}.jsonl",
    "{split}.jsonl",
    "{split}/{name}/*.json",
)

Paths = str | Path | Mapping[str, str | Path]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows, each with its place (for messages), and their origin (for the manifest)."""

    rows: list[tuple[str, dict[str, object]]]
    origin: dict[str, object]


def local_files(path: Paths, names: Iterable[str], split: str) -> list[Path]:
    """Return the files of a split: `path` is {train, test}, a file each, or a folder of one of the LAYOUTS.

    `names` are the configurations wanted of the data set. Raise ValueError naming what is missing or there twice.
    """
    if isinstance(path, Mapping):
        return [Path(path[split])]
    if not Path(path).is_dir():
        raise ValueError(f"path: {path} is not a folder; give a folder, or one file a split as {{train, test}}")
    return list(dict.fromkeys(file for name in names for file in _in_folder(Path(path), name, split)))


def read(files: Iterable[Path]) -> Table:
    """Read files: `.parquet`, `.json` (one row per file), others as JSON lines; raise RecordError naming the line."""
    files, rows = list(files), []
    readers = {".parquet": _parquet, ".json": _json_file}
    for file in files:
        rows += readers.get(file.suffix, json_lines)(file)
    return Table(rows, origin(files))


def origin(files: Sequence[Path]) -> dict[str, object]:
    """Return the origin of rows: the path that files share, their number, and the digest of all their bytes."""
    digest = hashlib.sha256()
    for path in files:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return {"path": os.path.commonpath(files), "files": len(files), "sha256": digest.hexdigest()}


def read_hub(repository: str, name: str, split: str, revision: str) -> Table:
    """Read a split of a data set on the hub; raise ValueError where it cannot be fetched."""
    import httpx
    from datasets import load_dataset

    limit_hub_waits()
    try:
        rows = load_dataset(repository, name, split=split, revision=revision)
    except (OSError, ValueError, httpx.HTTPError) as error:
        reason = str(error) or type(error).__name__
        raise ValueError(
            f"{repository} ({name}, {split}, revision {revision}) could not be fetched: {reason}; on a machine without "
            "network set the scenario's `path` to a local copy (a domain takes one by `source: jsonl`, a command by "
            "the file's name); where the network is slow, set HF_HUB_DOWNLOAD_TIMEOUT, the seconds of silence after "
            "which a request fails, to more than 10"
        ) from error
    folders = {part for file in rows.cache_files for part in Path(file["filename"]).parts}
    commit = next((part for part in folders if COMMIT.fullmatch(part)), None)  # `datasets` names its cache by it
    origin = {"repository": repository, "config": name, "revision": revision, "commit": commit}
    return Table(
        [(f"{repository} ({name}, {split}) row {number}", row) for number, row in enumerate(rows, start=1)], origin
    )


def json_lines(path: str | Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Iterate over JSON lines, each with `path:line`; blank lines are skipped."""
    empty, number = True, 0
    with _open(path) as file:
        while line := file.readline(MAX_LINE + 1):  # ends at a line feed only: U+2028 may stand inside a JSON string
            number += 1
            where = f"{path}:{number}"
            if number == 1:
                line = _checked_start(line, where)
            if len(line) > MAX_LINE:
                raise RecordError(f"{where}: the line is longer than {MAX_LINE:,} bytes; expected one row a line")
            if line.strip():
                empty = False
                yield where, parse_object(line, where)
    if empty:
        raise RecordError(f"{path}:1: the file has no rows")


def _in_folder(folder: Path, name: str, split: str) -> list[Path]:
    patterns = [layout.format(name=name, split=split) for layout in LAYOUTS]
    matches = {pattern: files for pattern in patterns if (files := sorted(folder.glob(pattern), key=_by_number))}
    if not matches:
        raise ValueError(f"path: {folder} has no {split} rows of {name!r}; looked for {', '.join(patterns)}")
    if len(matches) > 1:
        raise ValueError(f"path: {folder} has {split} rows of {name!r} twice, as {' and as '.join(matches)}; leave one")
    return next(iter(matches.values()))


def _by_number(file: Path) -> list[object]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", file.name)]


def _open(path: str | Path) -> BinaryIO:
    """Open a file for reading bytes; raise RecordError where it is no file of rows."""
    path = Path(path)
    if path.suffix in OTHER_FORMATS:
        raise RecordError(f"{path}: {path.suffix} files are not read; expected {FORMATS}")
    if path.exists() and not path.is_file():  # a pipe would be waited for, and can be read once only
        raise RecordError(f"{path}: not a regular file; expected {FORMATS}")
    try:
        return open(path, "rb")
    except OSError as error:
        raise RecordError(f"{path}: cannot be read: {error.strerror}") from None


def _checked_start(content: bytes, where: str) -> bytes:
    """Return the start of a file without its byte order mark; refuse other formats and what is no data at all."""
    content = content.removeprefix(codecs.BOM_UTF8)
    if content.startswith(b"version https://git-lfs.github.com/spec/"):
        raise RecordError(f"{where}: this is a Git LFS pointer, not the data; fetch the data with `git lfs pull`")
    if content.startswith((b"\x1f\x8b", b"PK\x03\x04", b"\x28\xb5\x2f\xfd")):
        raise RecordError(f"{where}: this is a compressed file; unpack it: expected {FORMATS}")
    if content.lstrip().startswith(b"["):
        raise RecordError(f"{where}: this is a JSON array; write one object per line: expected {FORMATS}")
    if content.lstrip().startswith(b"<"):
        raise RecordError(f"{where}: this is an HTML page, as a server sends with an error; download the file again")
    return content


def _json_file(path: Path) -> list[tuple[str, dict[str, object]]]:
    where = f"{path}:1"
    with _open(path) as file:
        content = _checked_start(file.read(MAX_LINE + 1), where)
    if not content.strip() or len(content) > MAX_LINE:
        raise RecordError(f"{where}: expected one JSON object of at most {MAX_LINE:,} bytes, found {len(content):,}")
    return [(where, parse_object(content, where))]


def _parquet(path: Path) -> list[tuple[str, dict[str, object]]]:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table

    with _open(path) as file:
        _checked_start(file.read(200), f"{path}:1")
    try:
        rows = read_table(path).to_pylist()
    except ArrowException as error:
        raise RecordError(f"{path}:1: not a parquet file: {error}") from None
    if not rows:
        raise RecordError(f"{path}:1: the file has no rows")
    return [(f"{path} row {number}", row) for number, row in enumerate(rows, start=1)]
