r"""Find the final answer in a text, and decide whether it equals the gold answer: equal, different or undecided.

Equivalence (of what doubledraft.grading.extract finds)
  empty      An empty or missing prediction equals nothing.
  writing    Spaces, `$`, boxes, fonts, colours, sizes of brackets, quotes, final punctuation and the case of words do
             not matter; `\dfrac`, `\frac\pi2`, `½`, `x²`, `√2`, Unicode signs and digits of any script are read as
             their plain forms. An upright letter is a variable, but for m, g, s, h and l behind a number.
  numbers    Exact: `3/4`, `\frac{3}{4}`, `0.75` and `.75` are one number, `1 1/2` is `3/2`, `1,234` is `1234`,
             `3.2 \times 10^5` and `3.2e5` are `320000`, `0.\overline{3}` and `0.333...` are `1/3`, `3 fourths` is
             `3/4`. However small a difference is, it counts. Number bases and dates must be the same as written.
  precision  Two decimals are equal only when exactly so. A decimal equals a number that has no decimal form of six
             places when both round to the same six, and not to 0: `0.333333` is `1/3`, `0.33` is not, and no decimal
             but `0.125` is `1/8`. Coefficients are exact.
  percent    A sign on one side only is a unit or a hundredth: `50%` equals `50` and `0.5`. On both sides it drops out.
  units      A unit or currency on one side is ignored; two units must be the same (`cm` and `centimeters` are), since
             nothing is converted. A single letter behind a number is a variable, and so are two without a space.
             Words that may change a number (`million`, `less than`) or are unknown leave the pair undecided.
  order      `(a, b)` and `[a, b)` keep their order and their brackets, a ratio `a : b` its order. Bare lists (`2, 3`,
             `2 and 3`), sets, unions and the two values of `a \pm b` are unordered. A tuple against a bare list: same
             order. `81,256` is a list where the other side is one, and a number elsewhere.
  names      `x = 5`, `|AB| = 5` and `\frac{AB}{CD} = 5` equal `5`, but `x = 5` not `y = 5`. `x = 1, y = 2` against
             `1, 2`: same order. `3 * 5 = 15` is `15`.
  relations  `x > 3` equals `(3, \infty)`, `x < 1 or x > 3` the union, `x \ne 1` the reals without 1. Equations and
             inequalities are equal when one is a multiple of the other.
  words      Equal when they are the same but for case and articles.
  algebra    Everything else is parsed as LaTeX by a grammar. Expressions are equal when their values are, those with
             variables at several points where both sides are defined; sets and the like are compared by math-verify.
  undecided  with its reason, when a side cannot be parsed (words against a number, `2/3x`), has what the grammar drops
             (`\approx`, dots, transposes), is too long, too deep or too large, or takes too much time or memory. Text
             is never evaluated as code.

A verdict does not depend on which side is the gold answer. docs/grading.md has the choices that can be argued.

Numbers, words and lists of them are compared in this process (doubledraft.grading.equivalence). Algebra goes to a
process of its own (doubledraft.grading.worker) with a wall and a memory limit for each comparison: a hostile answer
costs its own row only.
"""

import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from doubledraft.grading import worker as answers_worker
from doubledraft.grading.equivalence import NeedsAlgebra, same
from doubledraft.grading.extract import extract_lenient, extract_strict
from doubledraft.grading.notation import depths
from doubledraft.grading.words import Undecided
from doubledraft.process import import_path
from doubledraft.records import Generation, Score

WALL_SECONDS = 2.0  # of one comparison
START_SECONDS = 120.0  # of the worker's imports, on a busy machine
REPLY_SECONDS = 60.0  # on top of the wall limit that the worker keeps itself, on a busy machine
MAX_LENGTH = 300  # characters of an answer; longer ones are undecided
MAX_DEPTH = 20  # brackets inside brackets
TOO_LARGE = re.compile(r"\^ ?\{? ?-?\d{5}|\d{5} ?\}? ?!|\d ?(?:\^ ?\{? ?\d+ ?){3}")  # of an exponent, factorial, tower


class Verdict(StrEnum):
    """Outcome of a comparison."""

    equal = "equal"
    different = "different"
    undecided = "undecided"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, with the reason when it is undecided."""

    verdict: Verdict
    reason: str | None = None


class Grader:
    """Compares answers; as a context manager it owns one worker process, started by the first algebra."""

    def __init__(self, wall_seconds: float = WALL_SECONDS) -> None:
        """Limit each comparison in the worker to `wall_seconds`."""
        self._wall_seconds = wall_seconds
        self._worker: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Grader":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def grade(self, gold: str, prediction: str | None) -> Judgement:
        """Return whether the prediction equals the gold answer, by the rules at the top of this module."""
        if not prediction or not prediction.strip():
            return Judgement(Verdict.different)
        if max(len(gold), len(prediction)) > MAX_LENGTH:
            return Judgement(Verdict.undecided, f"longer than {MAX_LENGTH} characters")
        if max(depths(gold) + depths(prediction)) > MAX_DEPTH:
            return Judgement(Verdict.undecided, f"more than {MAX_DEPTH} brackets inside each other")
        try:
            return _judgement(same(gold, prediction, _needs_algebra))
        except NeedsAlgebra:
            if TOO_LARGE.search(gold) or TOO_LARGE.search(prediction):
                return Judgement(Verdict.undecided, "a number too large to compute")
            return self._ask(gold, prediction)
        except Undecided as reason:
            return Judgement(Verdict.undecided, str(reason))

    def _ask(self, gold: str, prediction: str) -> Judgement:
        self._worker = self._worker or self._start()
        self._worker.stdin.write(json.dumps([gold, prediction]).encode() + b"\n")
        self._worker.stdin.flush()
        equal, reason = json.loads(self._read(self._wall_seconds + REPLY_SECONDS))
        return Judgement(Verdict.undecided, reason) if reason else _judgement(equal)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", answers_worker.__name__, str(self._wall_seconds)]
        worker = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | import_path()
        )
        self._worker = worker
        self._read(START_SECONDS)
        return worker

    def _read(self, seconds: float) -> bytes:
        """Read a line of the worker; raise RuntimeError when none comes, which no answer can cause."""
        ready, _, _ = select.select([self._worker.stdout], [], [], seconds)
        line = self._worker.stdout.readline() if ready else b""
        if not line:
            self._stop()
            raise RuntimeError(f"the grading process ended, or was silent for {seconds:g} s; see its log above")
        return line

    def _stop(self) -> None:
        worker, self._worker = self._worker, None
        if worker:
            worker.kill()
            worker.communicate()


def _needs_algebra(gold: str, prediction: str) -> bool:
    raise NeedsAlgebra


def _judgement(equal: bool) -> Judgement:
    return Judgement(Verdict.equal if equal else Verdict.different)


def score(generations: Sequence[Generation], gold: Mapping[str, str]) -> list[Score]:
    """Grade every generation against the gold answer of its question's id, strict and lenient."""
    with Grader() as grader:
        return [_score(grader, generation, gold[generation.id]) for generation in generations]


def _score(grader: Grader, generation: Generation, gold: str) -> Score:
    strict, lenient = extract_strict(generation.text), extract_lenient(generation.text)
    by_strict = grader.grade(gold, strict)
    by_lenient = by_strict if lenient == strict else grader.grade(gold, lenient)
    return Score(
        id=generation.id,
        strict=strict,
        lenient=lenient,
        strict_verdict=by_strict.verdict.value,
        lenient_verdict=by_lenient.verdict.value,
        reason=by_strict.reason or by_lenient.reason,
    )
