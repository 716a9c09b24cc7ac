"""Trainings of the tiny model in processes of their own, which may be killed at a step.

Run as a program, it trains as its one argument says: JSON with `model`, `folders` (one run each), `die_at` (a step of
the last run, 0 for none) and `changes` of SETTINGS.
"""

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

from doubledraft.log import Progress
from doubledraft.prompts import Prompt
from doubledraft.records import Trace
from doubledraft.training import finetune
from doubledraft.training.rows import rows_from_traces
from doubledraft.training.run import Inputs

PROMPT = Prompt("Solve the problem.", ())
SETTINGS = {
    "learning_rate": 5e-3,
    "epochs": 3,
    "rank": 8,
    "alpha": 8,
    "batch": 4,
    "accumulate": 1,
    "max_length": 256,
    "seed": 7,
    "dtype": "float32",
    "computing_dtype": "auto",
    "load_in_4bit": False,
    **finetune.OF_TARGET,
}


def trace(number: int) -> Trace:
    """Return a worked sum."""
    text = f"{number} + 2 = {number + 2}\n#### {number + 2}"
    question = f"What is {number} + 2?"
    return Trace(
        id=f"q{number}", scenario="s", type="cot", question=question, answer=str(number + 2), text=text, teacher="t"
    )


ROWS = rows_from_traces([trace(number) for number in range(16)], PROMPT)


def train(model: Path, folder: Path, **changes) -> None:
    """Train on ROWS into a folder: adapter, loss.csv and, while it lasts, checkpoints."""
    files = {"checkpoints": folder / "checkpoints", "loss_csv": folder / "loss.csv"}
    finetune.train(Inputs(base=model, rows=ROWS), folder / "adapter", **files, **SETTINGS | changes)


def die_at(step: int) -> None:
    """Kill this process with no chance to tidy up once a training has done a step."""
    show = Progress.show

    def show_or_die(self, done: int, note: str = "") -> None:
        if done == step:
            os.kill(os.getpid(), signal.SIGKILL)
        show(self, done, note)

    Progress.show = show_or_die


def in_process(model: Path, *folders: Path, die_at: int = 0, **changes) -> subprocess.CompletedProcess:
    """Train once a folder in one new process, which dies at a step of the last one when told."""
    what = {"model": str(model), "folders": [str(folder) for folder in folders], "die_at": die_at, "changes": changes}
    return run(Path(__file__), json.dumps(what))


def run(program: Path, argument: str) -> subprocess.CompletedProcess:
    """Run a Python file of the tests with one argument."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(program), argument]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def main() -> None:
    """Train as the argument says."""
    logging.basicConfig(level=logging.INFO)
    what = json.loads(sys.argv[1])
    *before, last = map(Path, what["folders"])
    for folder in before:
        train(Path(what["model"]), folder, **what["changes"])
    if what["die_at"]:
        die_at(what["die_at"])
    train(Path(what["model"]), last, **what["changes"])


if __name__ == "__main__":
    main()
