"""What a teacher must keep when it condenses a chain of thought to drafts.

form      The chain of draft rule, measured as everywhere (doubledraft.traces.compliance).
answer    The last line is the answer line of the chain of thought, `####` and the same text; nothing follows.
numbers   Every number of the drafts stands in the chain of thought or in the question. Numbers are digits and are
          compared by value: `1,200` is `1200`, `.50` is `0.5`. A sign, `$`, `%` or name beside a number is no part of
          it; number words ("three", "twice") are no numbers.

So a condensed row cannot hold a step that its chain of thought has no numbers for, and the two differ in their words.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from doubledraft.grading.extract import extract_strict, without_thoughts
from doubledraft.records import Trace

OPERATORS = frozenset(["+", "-", "*", "/", "^", "=", "<", ">", "<=", ">=", *"×÷−·±≤≥≠≈→:"])
NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+")


@dataclass(frozen=True, slots=True)
class Rule:
    """The chain of draft rule: how many steps, and how many words a step may have."""

    min_steps: int
    max_steps: int
    max_words: int


def count_words(line: str) -> int:
    """Count the tokens of a line that are not lone operators."""
    return sum(token not in OPERATORS for token in line.split())


def fault(text: str, source: Trace, rule: Rule) -> str | None:
    """Say what a condensed text breaks of its chain of thought or the rule; None where nothing."""
    last = text.rstrip().rpartition("\n")[2]
    if not last.startswith("####"):
        return "no answer line at the end"
    if extract_strict(text) != extract_strict(source.text):
        return "another answer than its chain of thought"
    form = compliance(text, rule)
    if not rule.min_steps <= form.steps <= rule.max_steps:
        return f"{form.steps} steps where the rule asks for {rule.min_steps} to {rule.max_steps}"
    if not form.compliant:
        return f"a step of more than {rule.max_words} words"
    if set(numbers("\n".join(steps_of(text)))) - set(numbers(f"{source.question}\n{source.text}")):
        return "a number that its chain of thought does not have"
    return None


def numbers(text: str) -> list[Fraction]:
    """Give the values of the numbers in a text, in order and without signs."""
    return [Fraction(found.replace(",", "")) for found in NUMBER.findall(text)]


@dataclass(frozen=True, slots=True)
class Compliance:
    """The form of an answer: its steps, their words, and whether a rule is kept (None without a rule)."""

    steps: int
    words_per_step: list[int]
    compliant: bool | None


def steps_of(text: str) -> list[str]:
    """Give the non-empty lines before the first line that starts with `####`, without thoughts in `<think>`."""
    steps = []
    for line in without_thoughts(text).split("\n"):
        if line.lstrip().startswith("####"):
            break
        if line.strip():
            steps.append(line.strip())
    return steps


def ending_at_answer(text: str) -> str:
    """Cut what a teacher says after its answer line; a text without one stays."""
    lines = text.split("\n")
    last = max((number for number, line in enumerate(lines) if line.lstrip().startswith("####")), default=len(lines))
    return "\n".join(lines[: last + 1])


def compliance(text: str, rule: Rule | None) -> Compliance:
    """Measure the steps of an answer and the words of each, and compare them with a rule."""
    words = [count_words(step) for step in steps_of(text)]
    if rule is None:
        return Compliance(len(words), words, None)
    compliant = rule.min_steps <= len(words) <= rule.max_steps and max(words, default=0) <= rule.max_words
    return Compliance(len(words), words, compliant)
