"""Traces between the teacher and the training: keep the verified ones, condense them, measure the form of an answer.

A trace is kept only when its own answer line equals the gold answer. Its condensed form is made of that same row, so
the two styles differ in their words and not in their content. Every row is either kept or dropped with a reason; the
steps that write files are in doubledraft.writing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from doubledraft.answers import Grader, Verdict, extract_strict, without_thoughts
from doubledraft.condense import NotCondensable, Rule, condense_lines, count_words
from doubledraft.records import Question, Trace

NO_ANSWER = "no answer"
SEVERAL_ANSWERS = "several answer lines"  # which of them ends the steps is anyone's guess


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A row that was not kept, and why."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Compliance:
    """The form of an answer: its steps, their words, and whether a rule is kept (None without a rule)."""

    steps: int
    words_per_step: list[int]
    compliant: bool | None


def answer_fault(grader: Grader, gold: str, text: str) -> str | None:
    """Say why a text does not end its steps in one answer line that equals the gold answer; None where it does."""
    if sum(line.lstrip().startswith("####") for line in without_thoughts(text).split("\n")) > 1:
        return SEVERAL_ANSWERS
    answer = extract_strict(text)
    judgement = grader.grade(gold, answer)
    if judgement.verdict == Verdict.equal:
        return None
    wrong = NO_ANSWER if answer is None else "wrong answer"
    return f"undecided: {judgement.reason}" if judgement.reason else wrong


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


def condense(trace: Trace, type: str, rule: Rule) -> Trace:
    """Condense one trace to drafts that keep the rule, answer line unchanged; raises NotCondensable with the reason."""
    lines = [line.strip() for line in without_thoughts(trace.text).split("\n")]
    answer = [line for line in lines if line.startswith("####")][-1:]
    if not answer:
        raise NotCondensable("no answer line")
    return replace(trace, type=type, text="\n".join(condense_lines(steps_of(trace.text), rule) + answer))


def condense_all(traces: Sequence[Trace], type: str, rule: Rule) -> tuple[list[Trace], list[Dropped]]:
    """Condense every trace that the rule can be kept for; the others are dropped with the reason."""
    kept, dropped = [], []
    for trace in traces:
        try:
            kept.append(condense(trace, type, rule))
        except NotCondensable as reason:
            dropped.append(Dropped(id=trace.id, reason=str(reason)))
    return kept, dropped


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
