"""Which of the target's answers the draft learns from."""

from doubledraft.grading import grader
from doubledraft.records import Generation
from doubledraft.training import distill


def row(id: str, text: str, finish_reason: str = "stop") -> Generation:
    """Return an answer to a question."""
    return Generation(
        id=id, prompt_tokens=1, token_ids=[1], text=text, finish_reason=finish_reason, batch=0, batch_seconds=1.0
    )


def test_only_finished_right_answers_in_the_asked_for_format_are_kept():
    rows = [
        row("right", "4 * 6 = 24\n#### 24"),
        row("wrong", "4 * 6 = 25\n#### 25"),
        row("cut", "4 * 6 = 24\n#### 24", "length"),
        row("silent", "4 * 6 = 24"),
        row("long", "#### " + "9" * 400),
    ]
    kept, dropped = distill.keep(rows, grader.score(rows, {each.id: "24" for each in rows}))
    assert [each.id for each in kept] == ["right"]
    assert dropped == {"wrong answer": 1, "truncated": 1, "no answer": 1, "undecided answer": 1}
