"""The chain of draft rule: how it is measured, and what a teacher must keep when it condenses a chain of thought.

form      3 to 5 steps of at most 5 words (`Rule`); a word is a token between spaces that is not a lone operator.
answer    The last line is the answer line of the chain of thought, `####` and the same text; nothing follows.
numbers   Every number of the drafts is in the chain of thought or in the question. Numbers are digits and are compared
          by value: `1,200` is `1200`, `.50` is `0.5`. A sign, `$`, `%` or name beside a number is no part of it;
          number words ("three", "twice") are no numbers.

So a condensed row cannot contain a step whose numbers its chain of thought lacks, and the two differ in their words.
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
    """The chain of draft rule: bounds of the number of steps and of the words per step."""

    min_steps: int
    max_steps: int
    max_words: int


def count_words(line: str) -> int:
    """Count the tokens of a line that are not lone operators."""
    return sum(token not in OPERATORS for token in line.split())


def fault(text: str, source: Trace, rule: Rule) -> str | None:
    """Return what a condensed text violates of its chain of thought or of the rule; None where nothing."""
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
    """Return the values of the numbers in a text, in order and without signs."""
    return [Fraction(number.replace(",", "")) for number in NUMBER.findall(text)]


@dataclass(frozen=True, slots=True)
class Compliance:
    """The form of an answer: its steps, their words, and whether it keeps a rule (None without a rule)."""

    steps: int
    words_per_step: list[int]
    compliant: bool | None


def steps_of(text: str) -> list[str]:
    """List the non-empty lines before the first line that starts with `####`, without thoughts in `<think>`."""
    steps = []
    for line in without_thoughts(text).split("\n"):
        if line.lstrip().startswith("####"):
            break
        if line.strip():
            steps.append(line.strip())
    return steps


def ending_at_answer(text: str) -> str:
    """Cut what follows the answer line; a text without one is returned as it is."""
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
