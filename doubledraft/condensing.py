"""What a teacher must keep when it condenses a chain of thought to drafts.

form      The chain of draft rule, measured as everywhere (doubledraft.traces.compliance).
answer    The last line is the answer line of the chain of thought, `####` and the same text; nothing follows.
numbers   Every number of the drafts stands in the chain of thought or in the question. Numbers are digits and are
          compared by value: `1,200` is `1200`, `.50` is `0.5`. A sign, `$`, `%` or name beside a number is no part of
          it; number words ("three", "twice") are no numbers.

So a condensed row cannot hold a step that its chain of thought has no numbers for, and the two differ in their words.
"""

import re
from fractions import Fraction

from doubledraft.answers import extract_strict
from doubledraft.condense import Rule
from doubledraft.records import Trace
from doubledraft.traces import compliance, steps_of

NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+")


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
