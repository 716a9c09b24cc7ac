"""A JSON file that holds one dataclass: read whole or refused with the name of the file and the field."""

from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from doubledraft.files import write_json
from doubledraft.records import from_json, parse_object

Summary = TypeVar("Summary")


def read(path: str | Path, kind: type[Summary]) -> Summary:
    """Return the object in a file; raise RecordError naming the file and the first field that does not fit."""
    return from_json(parse_object(Path(path).read_bytes(), str(path)), kind, str(path))


def write(path: str | Path, summary: object) -> None:
    """Write a dataclass as JSON, whole or not at all."""
    write_json(path, asdict(summary))
