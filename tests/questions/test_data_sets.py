"""Data sets of several formats are read as questions, and a bad row is refused by its line."""

import json

import pytest

from doubledraft.questions.data_sets import read_questions
from doubledraft.records import RecordError

GSM8K = {"question": "How many?", "answer": "4 * 6 = <<4*6=24>>24 boxes.\n#### 1,024"}
HUMAN_EVAL = {
    "task_id": "HumanEval/0",
    "prompt": "def add(a, b):\n",
    "canonical_solution": "    return a + b\n",
    "test": "",
}
OWN = {"id": "easy-test-0001", "question": "What?", "answer": "-2/3", "steps": [], "scenario": "easy", "split": "test"}


def write(path, *rows: object):
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_gsm8k_own_questions_and_numbers_give_their_gold(tmp_path):
    path = write(tmp_path / "all.jsonl", GSM8K, OWN, {"question": "3?", "answer": 3})
    questions = read_questions(path, graded=True)
    assert [question.answer for question in questions] == ["1,024", "-2/3", "3"]
    assert [question.id for question in questions] == ["all-1", "easy-test-0001", "all-3"]


def test_human_eval_is_read_by_task_and_has_no_gold(tmp_path):
    path = write(tmp_path / "HumanEval.jsonl", HUMAN_EVAL)
    [question] = read_questions(path)
    assert (question.id, question.question, question.answer) == ("HumanEval/0", HUMAN_EVAL["prompt"], "")
    with pytest.raises(RecordError, match=r"HumanEval\.jsonl:1: field 'answer' should be text .* can measure speed"):
        read_questions(path, graded=True)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "What?"}, ":2: expected a text in 'question' or 'prompt', found neither"),
        ({"question": " "}, ":2: field 'question' should be text that is not empty, found ' '"),
        ({"question": 7}, ":2: field 'question' should be text that is not empty, found 7"),
        ({"prompt": "", "id": "two"}, ":2: field 'prompt' should be text"),
        ({"question": "What?", "id": "one"}, ":2: 'one' occurs twice"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_by_file_and_line(row, message, tmp_path):
    path = write(tmp_path / "rows.jsonl", {"question": "What?", "id": "one"}, row)
    with pytest.raises(RecordError) as error:
        read_questions(path)
    assert str(error.value).startswith(f"{path}{message}")
    assert len(read_questions(path, limit=1)) == 1, "a row that is not asked for does no harm"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecordError, match="cannot be read"):
        read_questions(tmp_path / "none.jsonl")
