"""Data sets as they are put to a model: known ones by name, and files of rows with a `question`, a `prompt` or `turns`.

By name: `humaneval`, `gsm8k` and `math`, from the hub at a pinned commit. As a file, JSON lines or parquet: GSM8K
(`question`, and `answer` that ends with `#### gold`), MATH (`problem`, `solution`), the format of HumanEval (`task_id`,
`prompt`, `entry_point`, `test`), the question files of MT-Bench and Spec-Bench (`question_id`, `turns`, of which the
first counts), this study's own questions, and other rows. The gold answer is what follows the last `####` of `answer`,
or all of it; without `answer`, the last box of `solution`.

What can be judged depends on the rows: those with `entry_point` and `test` ask for programs, which are run; those with
`answer` have a gold answer. Of others, such as chats, nothing but speed is measured.
"""

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from doubledraft.grading.code import CodeTask
from doubledraft.grading.extract import extract_strict
from doubledraft.grading.grader import Grader
from doubledraft.questions import files, golds, sources
from doubledraft.questions.files import Table
from doubledraft.questions.sources import text
from doubledraft.records import Question, RecordError

TEXT_FIELDS = ("question", "prompt", "problem", "turns")
NAME_FIELDS = ("id", "task_id", "question_id")
ON_HUB = ("humaneval", "gsm8k", "math")
CODE_FIELDS = ("entry_point", "test")


class JudgedBy(StrEnum):
    """What the answers to a data set are judged by."""

    answers = "final answers, compared with the gold answers"
    programs = "programs, judged by running their tests; accuracy is pass@1"
    nothing = "no gold answers and no tests: only speed is measured, and nothing is said of quality"


@dataclass(frozen=True, slots=True)
class DataSet:
    """Questions, and what their answers are judged by."""

    name: str
    questions: list[Question]
    judged: JudgedBy
    tasks: dict[str, CodeTask]  # by question id, where programs are judged


def names_of(source: str | Path, questions: Sequence[Question]) -> list[str]:
    """Return what messages call the prompts of a data set's questions."""
    return [f"{source}: the prompt of question {question.id!r}" for question in questions]


def read_data_set(source: str | Path, *, limit: int | None = None) -> DataSet:
    """Read the first `limit` questions of a data set of the hub, by its name in ON_HUB, or of a file.

    Raise RecordError naming the line, or the data set that cannot be fetched.
    """
    if source not in ON_HUB:
        return _from_table(Path(source).stem, files.read([Path(source)]), limit)
    try:
        if source == "humaneval":
            table = files.read_hub(sources.HUMANEVAL, "openai_humaneval", "test", sources.HUMANEVAL_REVISION)
            return _from_table(source, table, limit)
        reader = sources.read_gsm8k if source == "gsm8k" else sources.read_math
        return DataSet(source, reader("test", source).questions[:limit], JudgedBy.answers, {})
    except ValueError as error:
        raise RecordError(f"{source}: {error}") from None


def _from_table(name: str, table: Table, limit: int | None) -> DataSet:
    """Make a data set of rows; what they hold decides how answers are judged."""
    rows = table.rows[:limit]
    judged = JudgedBy.nothing
    if any(None not in map(row.get, CODE_FIELDS) for _, row in rows):
        judged = JudgedBy.programs
    elif any(_answer(row) not in (None, "") for _, row in rows):  # an empty one in every row: the study's own chats
        judged = JudgedBy.answers
    questions = _questions(name, rows, graded=judged is JudgedBy.answers)
    tasks = {}
    if judged is JudgedBy.programs:
        for question, (where, row) in zip(questions, rows, strict=True):
            tasks[question.id] = _task(question, row, where)
    return DataSet(name, questions, judged, tasks)


def _task(question: Question, row: Mapping[str, object], where: str) -> CodeTask:
    """Return the task of a row; raise RecordError for tests that no program could pass."""
    entry_point, test = (text(row, field, where) for field in CODE_FIELDS)
    if not entry_point.isidentifier():
        raise RecordError(f"{where}: field 'entry_point' should be the name of a function, found {entry_point!r:.80}")
    try:
        ast.parse(test)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise RecordError(f"{where}: field 'test' should be Python: {error}") from None
    if not re.search(r"^(?:def check\b|check\s*=)", test, re.MULTILINE):
        raise RecordError(f"{where}: field 'test' should define `check(candidate)`, found {test!r:.80}")
    return CodeTask(question.question, entry_point, test)


def _questions(name: str, rows: list[tuple[str, dict[str, object]]], graded: bool) -> list[Question]:
    questions: dict[str, Question] = {}
    with Grader() as grader:
        for number, (where, row) in enumerate(rows, start=1):
            id = str(next((row[field] for field in NAME_FIELDS if row.get(field) is not None), f"{name}-{number}"))
            if id in questions:
                raise RecordError(f"{where}: {id!r} occurs twice; each row needs a name of its own, or none")
            gold = _gold(grader, row, where) if graded else ""
            prompt = sources.asked_text(row, TEXT_FIELDS, where)
            questions[id] = Question(id=id, scenario=name, split="test", question=prompt, answer=gold, steps=[])
    return list(questions.values())


def _answer(row: Mapping[str, object]) -> object:
    """Return the field `answer` of a row, or where it has none the last box of `solution`, as MATH has it."""
    if row.get("answer") is None and (boxed := sources.boxes(str(row.get("solution")))):
        return boxed[-1]
    return row.get("answer")


def _gold(grader: Grader, row: Mapping[str, object], where: str) -> str:
    try:
        answer = text({"answer": _answer(row)}, "answer", where, str | int | float)
    except RecordError as error:
        raise RecordError(f"{error}; where no row has one, speed alone is measured") from None
    gold = extract_strict(answer) or answer.strip()
    if reason := golds.fault(grader, gold):
        raise RecordError(f"{where}: field 'answer' cannot be graded, {reason}: {gold!r:.80}")
    return gold
