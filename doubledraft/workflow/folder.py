"""Checks of a study's folder before any job runs: that it belongs to the study, and no input is from the future."""

import json
import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from doubledraft.workflow.config import StudyError

CLOCK_SECONDS = 5.0  # by which the clocks of two machines may differ
RECORDS = ("results/study.json", "data/study.json")  # each names the study that the files beside it belong to
MADE = (  # patterns of what any study makes
    "results/*/*.json*",
    "results/*_*/*_adapter",
    "data/ledger/*.jsonl",
    "data/questions/*/*.jsonl",
    "data/models/*/manifest.json",
    "data/*/*/traces.jsonl",
)


def check_folder(name: str, folder: str | Path = ".") -> None:
    """Raise StudyError for a folder whose results or data belong to another study, or to an unknown one."""
    folder = Path(folder)
    owners = {record: _owner(folder / record) for record in RECORDS if (folder / record).exists()}
    output = next((path for pattern in MADE for path in sorted(folder.glob(pattern))), None)
    if output and not owners:
        raise StudyError(
            f"{output} is there, but nothing says which study made it ({' and '.join(RECORDS)} are missing): give this "
            f"study a folder of its own with `--directory PATH`, or, if {name!r} made it, record that: "
            f"""echo '{{"study": "{name}"}}' > {folder / RECORDS[0]}"""
        )
    for record, owner in owners.items():
        if owner != name:
            raise StudyError(
                f"{folder / record} says that study {owner!r} made what is here, and the config is of study {name!r}: "
                f"run it in a folder of its own with `--directory PATH`, or set the key `study` to {owner!r} to "
                "continue here"
            )


def check_dates(files: Iterable[str | Path], now: float) -> None:
    """Refuse inputs dated after `now` (seconds since 1970), as a wrong clock or an archive leaves them.

    Snakemake would take what a job makes of them for older than they are, and remove it when the job is done.
    """
    for file in sorted(str(file) for file in files):
        if os.path.exists(file) and (ahead := os.path.getmtime(file) - now) > CLOCK_SECONDS:
            raise StudyError(
                f"{file} is dated {ahead / 3600:.1f} h in the future, so Snakemake would remove what is made from it: "
                f"check the clock of this machine, then run `touch {shlex.quote(file)}`"
            )


def _owner(record: Path) -> str:
    try:
        return json.loads(record.read_text(encoding="utf-8"))["study"]
    except (ValueError, KeyError, TypeError):
        raise StudyError(
            f"""{record} should say which study this folder belongs to, as {{"study": "NAME"}}, and cannot be read: """
            "write it again, or run in another folder with `--directory PATH`"
        ) from None
