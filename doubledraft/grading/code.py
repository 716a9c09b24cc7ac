r"""Grades programs by running their tests, in the format of HumanEval (Chen et al. 2021, arXiv:2107.03374).

A task is the head of a function, and tests that call it. The program is the answer's first fenced block, or else the
answer; where it does not define the function itself, it is the function's body and follows the head. A body ends where
a new statement begins at the margin, as in the original evaluation. What stands before the head, imports and functions
that tests may call, is part of every program.

Each program has a process of its own (doubledraft.grading.program), isolated as doubledraft.sandbox describes. One that
hangs, forks, or fills memory or disk costs its own row only. pass@1 is the share of tasks whose one greedy answer
passes. Where a process cannot be isolated nothing is run, and UnconfinedError says why.
"""

import json
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile

from doubledraft.grading import program as runner
from doubledraft.process import import_path
from doubledraft.records import Generation, Score
from doubledraft.sandbox import UnconfinedError

CPU_SECONDS = 5  # of one program, its start included
WALL_SECONDS = 20.0  # of one program, on a busy machine
MEMORY_BYTES = 1 << 29  # of address space
FENCE = re.compile(r"```[A-Za-z0-9+]*[ \t]*\n(.*?)(?:\n```|\Z)", re.DOTALL)
MARGIN = re.compile(r"\n(?=[^\s)\]}])")  # a statement at the margin ends the body of a function
FUTURE = re.compile(r"^from __future__ import .*\n", re.MULTILINE)  # Python wants it before all else


@dataclass(frozen=True, slots=True)
class CodeTask:
    """A function to write, and what tests it."""

    prompt: str  # imports, the function's head, its docstring
    entry_point: str  # name of the function
    test: str  # source of a function `check(candidate)` that raises where the candidate is wrong


def score(generations: Sequence[Generation], tasks: Mapping[str, CodeTask]) -> list[Score]:
    """Run the tests of every answer; `tasks` are by question id. Raise UnconfinedError where nothing can be run."""
    return [_score(generation, tasks[generation.id]) for generation in generations]


def _score(generation: Generation, task: CodeTask) -> Score:
    source = source_of(task, generation.text)
    failure = run(f"{source}\n\n{task.test}\n\ncheck({task.entry_point})\n")
    verdict = "different" if failure else "equal"
    return Score(
        id=generation.id,
        strict=source,
        lenient=source,
        strict_verdict=verdict,
        lenient_verdict=verdict,
        reason=failure,
    )


def source_of(task: CodeTask, answer: str) -> str:
    """Return the program that an answer stands for: its own function, or the task's head with the answer as body."""
    fenced = FENCE.search(answer)
    text = fenced[1] if fenced else answer
    head = re.compile(rf"^(?:async )?def {re.escape(task.entry_point)}\b", re.MULTILINE)
    if not head.search(text):
        return task.prompt + MARGIN.split(text, maxsplit=1)[0]
    match = head.search(task.prompt)
    before = task.prompt[: match.start()] if match else ""
    return "".join([*FUTURE.findall(text), before, FUTURE.sub("", text)])


def run(source: str, *, cpu_seconds: int = CPU_SECONDS, wall_seconds: float = WALL_SECONDS) -> str | None:
    """Run a program, isolated; return how it failed, None where it ran to its end."""
    word = secrets.token_hex(16)
    job = {"source": source, "word": word, "cpu_seconds": cpu_seconds, "memory_bytes": MEMORY_BYTES}
    with TemporaryFile() as reply:
        try:
            status = subprocess.run(
                [sys.executable, "-S", "-m", runner.__name__],
                input=json.dumps(job).encode(),
                stdout=reply,
                stderr=subprocess.DEVNULL,
                env=import_path(),
                timeout=wall_seconds,
            ).returncode
        except subprocess.TimeoutExpired:
            return f"it did not end within {wall_seconds:g} s"
        reply.seek(0)
        verdict = _verdict(reply.read())
    if "unconfined" in verdict:
        raise UnconfinedError(f"no program was run: {verdict['unconfined']}")
    return verdict["failure"] if verdict.get("word") == word else _death(status, cpu_seconds)


def _verdict(reply: bytes) -> dict[str, object]:
    try:
        verdict = json.loads(reply)
    except ValueError:  # the program ended the process, or wrote into its file
        return {}
    return verdict if isinstance(verdict, dict) else {}


def _death(status: int, cpu_seconds: int) -> str:
    if status == -signal.SIGXCPU:
        return f"it used up {cpu_seconds} s of processor time"
    how = f"by {signal.Signals(-status).name}" if status < 0 else f"with exit status {status}"
    return f"its process ended {how} before the tests had"
