"""Data sets of several formats are read as questions, and a bad row is refused by its line."""

import json

import pytest

from doubledraft.grading.code import CodeTask
from doubledraft.questions import files
from doubledraft.questions.data_sets import JudgedBy, read_data_set
from doubledraft.records import RecordError

GSM8K = {"question": "How many?", "answer": "4 * 6 = <<4*6=24>>24 boxes.\n#### 1,024"}
HUMAN_EVAL = {
    "task_id": "HumanEval/0",
    "prompt": "def add(a, b):\n",
    "canonical_solution": "    return a + b\n",
    "entry_point": "add",
    "test": "def check(candidate):\n    assert candidate(2, 3) == 5\n",
}
OWN = {"id": "easy-test-0001", "question": "What?", "answer": "-2/3", "steps": [], "scenario": "easy", "split": "test"}


def write(path, *rows: object):
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_gsm8k_own_questions_and_numbers_give_their_gold(tmp_path):
    path = write(tmp_path / "all.jsonl", GSM8K, OWN, {"question": "3?", "answer": 3})
    data = read_data_set(path)
    questions = data.questions
    assert data.judged is JudgedBy.answers and data.name == "all"
    assert [question.answer for question in questions] == ["1,024", "-2/3", "3"]
    assert [question.id for question in questions] == ["all-1", "easy-test-0001", "all-3"]


def test_human_eval_is_read_by_task_with_its_tests(tmp_path):
    path = write(tmp_path / "HumanEval.jsonl", HUMAN_EVAL)
    data = read_data_set(path)
    [question] = data.questions
    assert (question.id, question.question, question.answer) == ("HumanEval/0", HUMAN_EVAL["prompt"], "")
    assert data.judged is JudgedBy.programs
    assert data.tasks == {"HumanEval/0": CodeTask(HUMAN_EVAL["prompt"], "add", HUMAN_EVAL["test"])}
    path = write(tmp_path / "cut.jsonl", HUMAN_EVAL, {"task_id": "HumanEval/1", "prompt": "def sub(a, b):\n"})
    with pytest.raises(
        RecordError, match=r"cut\.jsonl:2: field 'entry_point' is missing|cut\.jsonl:2: field 'entry_point'"
    ):
        read_data_set(path)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("test", "assert add(2, 3) == 5", r"should define `check\(candidate\)`, found 'assert add"),
        ("test", "def check(candidate:", "should be Python: "),
        ("entry_point", "solution.add", "should be the name of a function, found 'solution.add'"),
    ],
)
def test_tests_that_no_program_could_pass_are_refused_by_their_line(field, value, message, tmp_path):
    path = write(tmp_path / "own.jsonl", HUMAN_EVAL, HUMAN_EVAL | {"task_id": "own/1", field: value})
    with pytest.raises(RecordError, match=rf"own\.jsonl:2: field '{field}' {message}"):
        read_data_set(path)


def test_of_chats_only_speed_is_measured_and_a_gold_that_is_missing_in_one_row_is_an_error(tmp_path):
    assert read_data_set(write(tmp_path / "chat.jsonl", {"prompt": "Hi"})).judged is JudgedBy.nothing
    path = write(tmp_path / "half.jsonl", GSM8K, {"question": "What?"})
    with pytest.raises(RecordError, match=r"half\.jsonl:2: field 'answer' should be .* speed alone is measured"):
        read_data_set(path)


def test_a_local_copy_of_math_is_judged_by_the_last_box_and_answers_that_are_null_by_nothing(tmp_path):
    rows = [
        {"problem": "Add 2 and 3.", "level": "Level 1", "type": "Algebra", "solution": r"It is $\boxed{5}$."},
        {"problem": "Add 2 and 4.", "solution": "Six.", "answer": "6"},  # MATH-500
    ]
    data = read_data_set(write(tmp_path / "math.jsonl", *rows))
    assert data.judged is JudgedBy.answers and [question.answer for question in data.questions] == ["5", "6"]
    rows = [{"prompt": "Hi", "answer": None, "entry_point": None, "test": None}]
    assert read_data_set(write(tmp_path / "nulls.jsonl", *rows)).judged is JudgedBy.nothing


def test_question_files_of_spec_bench_and_mt_bench_are_read_by_their_first_turn(tmp_path):
    rows = [{"question_id": at, "category": "writing", "turns": [f"Write {at}.", "Shorten it."]} for at in (81, 82)]
    data = read_data_set(write(tmp_path / "question.jsonl", *rows))
    assert [(question.id, question.question) for question in data.questions] == [
        ("81", "Write 81."),
        ("82", "Write 82."),
    ]
    assert data.judged is JudgedBy.nothing
    with pytest.raises(
        RecordError, match=r"empty\.jsonl:1: field 'turns' should be text that is not empty, found \[\]"
    ):
        read_data_set(write(tmp_path / "empty.jsonl", {"turns": []}))


def test_a_data_set_of_the_hub_that_cannot_be_fetched_is_named(monkeypatch):
    def refused(*_: object) -> None:
        raise ValueError("openai/openai_humaneval could not be fetched")

    monkeypatch.setattr(files, "read_hub", refused)
    with pytest.raises(RecordError, match="humaneval: openai/openai_humaneval could not be fetched"):
        read_data_set("humaneval")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "What?"}, ":2: expected a text in one of question, prompt, problem, turns, found none"),
        ({"question": " "}, ":2: field 'question' should be text that is not empty, found ' '"),
        ({"question": 7}, ":2: field 'question' should be text that is not empty, found 7"),
        ({"prompt": "", "id": "two"}, ":2: field 'prompt' should be text"),
        ({"question": "What?", "id": "one"}, ":2: 'one' occurs twice"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_by_file_and_line(row, message, tmp_path):
    path = write(tmp_path / "rows.jsonl", {"question": "What?", "id": "one"}, row)
    with pytest.raises(RecordError) as error:
        read_data_set(path)
    assert str(error.value).startswith(f"{path}{message}")
    assert len(read_data_set(path, limit=1).questions) == 1, "a row that is not asked for does no harm"


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RecordError, match="cannot be read"):
        read_data_set(tmp_path / "none.jsonl")
