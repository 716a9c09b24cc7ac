"""Print the state of a study: what is running, what ended and how long it took.

Reads the study's own files, so it may be called from another terminal while the study runs, or after it.
"""

import argparse
import re
import sys
import time
from datetime import datetime
from pathlib import Path

from doubledraft.cli.text_table import columns
from doubledraft.escaping import visible
from doubledraft.inference.load_pair import OptionError
from doubledraft.log import duration
from doubledraft.workflow import failures, locks, times

LINE = re.compile(r"^\d\d:\d\d:\d\d (.*)$", re.MULTILINE)  # of the package's log, as jobs.log_to writes it
TAIL = 8192  # bytes at the end of a log that are searched for its last line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this subcommand."""
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="the study's folder; default: the working directory",
    )


def run(options: argparse.Namespace) -> None:
    """Print the table of what ended, and below it what runs, or failed."""
    if not options.directory.is_dir():
        raise OptionError(f"--directory {options.directory}: no such folder: name the folder of the study")
    results = options.directory / "results"
    logs = sorted(results.glob("**/logs/*.log"))
    timed = times.read(results)
    if not logs and not timed:
        sys.stdout.write(f"{results}: no job has run here\n")
        return
    rows = [
        (job.step, job.of, datetime.fromtimestamp(job.started).strftime("%H:%M"), duration(job.seconds), job.outcome)
        for job in timed
    ]
    if rows:
        sys.stdout.write(columns(("step", "of", "started", "took", ""), rows) + "\n")
    running = [log for log in logs if locks.holder(locks.of_job(log))]
    for log in running:
        sys.stdout.write(f"running: {_name(log)} for {_age(log)}: {_last_line(log)}\n")
    for log in logs:
        if reason := failures.failure(log):
            sys.stdout.write(f"{visible(f'{_name(log)} {reason}; read {log}')}\n")
    if not running:
        sys.stdout.write("Nothing is running.\n")


def _name(log: Path) -> str:
    step, of = times.step_of(log)
    return f"{step} of {of}" if of else step


def _age(log: Path) -> str:
    """Return for how long a job has held its lock, which it writes when it starts."""
    return duration(max(time.time() - locks.of_job(log).stat().st_mtime, 0))


def _last_line(log: Path) -> str:
    with open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL))
        lines = LINE.findall(file.read().decode(errors="replace"))
    return visible(lines[-1]) if lines else "no message yet"
