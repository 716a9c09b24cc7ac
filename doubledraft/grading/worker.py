"""The process that compares algebra: reads [gold, prediction] lines, writes [equal, reason] lines.

It imports sympy and math-verify once and forks a child that compares. A comparison that exceeds its wall limit, or ends
its process, costs that child only: it is killed, and the next one is forked in milliseconds. The child gives up what a
comparison has no use for: writing files, sockets, other processes, and memory beyond a limit. LaTeX is parsed by a
grammar; nothing is evaluated as code.
"""

import json
import logging
import multiprocessing
import os
import signal
import sys
from multiprocessing.connection import Connection

from doubledraft.grading import algebra
from doubledraft.grading.equivalence import same
from doubledraft.grading.words import Undecided
from doubledraft.sandbox import confine

MEMORY_BYTES = 1 << 30  # of address space, for the child
WARM = (  # imports what sympy imports late, and fills the parser's cache: a nested formula takes seconds without
    r"\frac{3x^{2}}{\sqrt{2}(y_{1}+5)}-\sin(x)",
    r"(\frac{a}{b+c})^{3/2}\cdot\frac{1}{2+\pi/r}",
    r"(-\infty,1)\cup[2,\frac{1}{2}]",
)
DIED = [False, "the comparison took its process down"]


def serve(wall_seconds: float) -> None:
    """Answer comparisons from standard input until it ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a stray print must not look like an answer
    for text in WARM:
        algebra.compare(text, text)
    print("ready", file=answers, flush=True)
    child, pipe = fork_child(wall_seconds)
    for line in sys.stdin:
        answer = _ask(pipe, json.loads(line), wall_seconds)
        print(json.dumps(answer or [False, "the comparison ran out of time"]), file=answers, flush=True)
        if answer in (None, DIED):
            child.kill()
            child.join()
            child, pipe = fork_child(wall_seconds)
    child.kill()


def _ask(pipe: Connection, question: list[str], wall_seconds: float) -> list[object] | None:
    """Return the child's answer, None when it is not there in time."""
    try:
        pipe.send(question)
        return pipe.recv() if pipe.poll(wall_seconds) else None
    except (EOFError, ConnectionError):
        return DIED


def fork_child(wall_seconds: float) -> tuple[multiprocessing.Process, Connection]:
    """Start a process that answers each (gold, prediction) sent through the pipe with [equal, reason]."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_compare_all, args=(theirs, ours, wall_seconds), daemon=True)
    child.start()
    theirs.close()
    return child, ours


def _compare_all(pipe: Connection, other_end: Connection, wall_seconds: float) -> None:
    other_end.close()  # so that the pipe ends with the parent
    confine(memory_bytes=MEMORY_BYTES)
    while True:
        try:
            gold, prediction = pipe.recv()
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_REAL, 10 * wall_seconds)  # ends a child whose parent was killed, and no other
        pipe.send(_compare(gold, prediction))
        signal.setitimer(signal.ITIMER_REAL, 0)


def _compare(gold: str, prediction: str) -> list[object]:
    try:
        return [same(gold, prediction, algebra.compare), None]
    except Undecided as reason:
        return [False, str(reason)]
    except MemoryError:
        return [False, "the comparison ran out of memory"]
    except Exception as error:  # whatever a parser or sympy makes of strange input
        return [False, f"the comparison failed: {type(error).__name__}"]


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # math-verify warns that its own timeouts are off: the limits above stand in
    serve(float(sys.argv[1]))
