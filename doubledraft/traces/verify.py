"""Which traces are kept: those whose own answer line equals the gold answer; every other is dropped with a reason.

A condensed type is made of the kept rows, so the two styles differ in their words and not in their content.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from doubledraft.grading.extract import extract_strict, without_thoughts
from doubledraft.grading.grader import Grader, Verdict
from doubledraft.records import Question, Trace

NO_ANSWER = "no answer"
SEVERAL_ANSWERS = "several answer lines"  # ambiguous: any of them could be the final answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A row that was not kept, and why."""

    id: str
    reason: str


def answer_fault(grader: Grader, gold: str, text: str) -> str | None:
    """Return why a text does not end its steps in one answer line that equals the gold answer; None where it does."""
    if sum(line.lstrip().startswith("####") for line in without_thoughts(text).split("\n")) > 1:
        return SEVERAL_ANSWERS
    answer = extract_strict(text)
    judgement = grader.grade(gold, answer)
    if judgement.verdict == Verdict.equal:
        return None
    reason = NO_ANSWER if answer is None else "wrong answer"
    return f"undecided: {judgement.reason}" if judgement.reason else reason


def keep_verified(traces: Sequence[Trace], questions: Sequence[Question]) -> tuple[list[Trace], list[Dropped]]:
    """Keep the traces whose answer line equals the gold answer of their question."""
    gold = {question.id: question.answer for question in questions}
    kept, dropped = [], []
    with Grader() as grader:
        for trace in traces:
            if reason := answer_fault(grader, gold[trace.id], trace.text):
                dropped.append(Dropped(id=trace.id, reason=reason))
            else:
                kept.append(trace)
    return kept, dropped
