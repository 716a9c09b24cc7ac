"""The offline teacher: a trace is the solution that the question came with, one step a line, then the answer line.

It uses only what the question carries, costs nothing, and is deterministic.
"""

from doubledraft.records import Question, Trace

NAME = "oracle"


class NoSolution(ValueError):
    """A question without worked steps, so that this teacher has nothing to write."""


def write_traces(questions: list[Question]) -> list[Trace]:
    """Return one CoT trace per question, in order; raise NoSolution naming the first question without steps."""
    return [_trace(question) for question in questions]


def _trace(question: Question) -> Trace:
    steps = [" ".join(step.split()) for step in question.steps if step.strip()]
    if not steps:
        raise NoSolution(
            f"question {question.id!r} has no steps: teacher 'oracle' needs questions with worked solutions"
        )
    return Trace(
        id=question.id,
        scenario=question.scenario,
        type="cot",
        question=question.question,
        answer=question.answer,
        text="\n".join([*steps, f"#### {question.answer}"]),
        teacher=NAME,
    )
