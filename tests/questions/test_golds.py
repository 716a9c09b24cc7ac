"""A gold answer that nothing can be graded against is told when it is read, by line and reason."""

import json

import pytest

from doubledraft.grading.grader import Grader
from doubledraft.questions import golds
from doubledraft.questions.data_sets import read_data_set
from doubledraft.questions.sources import read_math, read_own
from doubledraft.records import RecordError

FAULTY = {
    "1" * 301: "longer than 300 characters",
    "(" * 21 + "1" + ")" * 21: "more than 20 brackets",
    r"\frac{1}{2": r"broken LaTeX: { is not closed",
    "x}": "broken LaTeX: } closes nothing",
    r"\left( 1, 2": r"broken LaTeX: \\left is not closed",
    r"\begin{pmatrix} 1": r"broken LaTeX: \\begin is not closed",
    r"$\sqrt{2}": r"broken LaTeX: \$ is not closed",
}
SOUND = ["72", "$5", "5 dollars", r"\{1, 2\}", r"\$5", r"\left(-\infty, 3\right]", "no", r"\frac\pi2", "x^2 + 1", "50%"]


@pytest.fixture
def write(tmp_path):
    def writer(*rows: dict | str) -> str:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return str(path)

    return writer


def test_a_gold_is_sound_or_has_a_reason():
    with Grader() as grader:
        assert {gold: golds.fault(grader, gold) for gold in SOUND} == dict.fromkeys(SOUND)


@pytest.mark.parametrize("gold", FAULTY, ids=FAULTY.values())
def test_an_own_file_with_a_gold_that_cannot_be_graded_is_refused_by_line_and_reason(write, gold):
    path = write({"question": "1 + 1?", "answer": "2"}, {"question": "2 + 1?", "answer": gold})
    for read in (lambda: read_own("test", "s", path), lambda: read_data_set(path)):
        with pytest.raises(RecordError, match=rf"rows\.jsonl:2: field 'answer' cannot be graded, {FAULTY[gold]}"):
            read()


def test_a_row_of_math_with_such_a_gold_is_left_out_and_counted(write):
    row = {"problem": "What?", "level": "Level 1", "type": "Algebra"}
    path = write(
        row | {"solution": r"It is $\boxed{2}$."},
        row | {"problem": "And this?", "solution": r"It is $\boxed{" + "9" * 301 + "}$."},
    )
    pool = read_math("test", "s", {"test": path}, subjects=["algebra"])
    assert len(pool.questions) == 1 and pool.left_out == {"longer than 300 characters": 1}


def test_an_answer_as_gsm8k_writes_it_becomes_solution_and_gold(write):
    solution = "4 boxes of 6 are 4 * 6 = <<4*6=24>>24.\nSo 24."
    path = write({"question": "4 boxes of 6?", "answer": f"{solution}\n#### 24"})
    (question,) = read_own("test", "s", path).questions
    assert (question.answer, question.steps) == ("24", ["4 boxes of 6 are 4 * 6 = 24.", "So 24."])


@pytest.mark.parametrize(
    "row",
    [
        {"answer": "1\n#### 1\n#### 2"},
        {"answer": "1\n####"},
        {"answer": "1 + 1\n#### 2", "solution": "1 + 1 = 2"},
    ],
)
def test_an_answer_that_is_marked_in_no_clear_way_is_refused(write, row):
    with pytest.raises(RecordError, match=r"rows\.jsonl:1: field 'answer' should be the gold answer, or a solution"):
        read_own("test", "s", write({"question": "1 + 1?"} | row))


@pytest.mark.parametrize("value", ["NaN", "true", "1e999", "-1e999", "null", "[1]"])
def test_an_answer_that_is_no_text_and_no_finite_number_is_refused_by_line(write, value):
    path = write('{"question": "1 + 1?", "answer": ' + value + '}\n{"question": "1 + 2?", "answer": "3"}')
    for read in (lambda: read_own("test", "s", path), lambda: read_data_set(path)):
        with pytest.raises(RecordError, match=r"rows\.jsonl:1: "):
            read()


def test_half_a_character_is_refused_by_line(write):
    path = write(r'{"question": "4 \ud83d 6", "answer": "4"}')
    with pytest.raises(RecordError, match=r"rows\.jsonl:1: field 'question' holds a character that no text has"):
        read_data_set(path)
