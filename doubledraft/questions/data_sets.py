"""Questions from a data set in a file: any rows with a `question` or a `prompt`.

Accepted are GSM8K (`question`, and `answer` that ends with `#### gold`), files in the format of HumanEval (`task_id`,
`prompt`), this study's own questions, and any other JSON lines or parquet with one of the two fields. The gold answer
is what follows the last `####` of `answer`, or all of it. Programs are never run, so HumanEval measures speed alone.
"""

from collections.abc import Mapping
from pathlib import Path

from doubledraft.grading.extract import extract_strict
from doubledraft.grading.grader import Grader
from doubledraft.questions import golds
from doubledraft.questions.files import read
from doubledraft.questions.sources import text
from doubledraft.records import Question, RecordError

TEXT_FIELDS = ("question", "prompt")
NAME_FIELDS = ("id", "task_id")


def read_questions(path: str | Path, *, limit: int | None = None, graded: bool = False) -> list[Question]:
    """Read the first `limit` questions of a file; `graded` ones must have an answer, others have an empty one.

    Raise RecordError naming the line.
    """
    path, questions = Path(path), {}
    with Grader() as grader:
        for number, (where, row) in enumerate(read([path]).rows[:limit], start=1):
            field = _first(row, NAME_FIELDS)
            name = str(row[field]) if field else f"{path.stem}-{number}"
            if name in questions:
                raise RecordError(f"{where}: {name!r} occurs twice; each row needs a name of its own, or none")
            gold = _gold(grader, row, where) if graded else ""
            field = _first(row, TEXT_FIELDS)
            if field is None:
                raise RecordError(f"{where}: expected a text in 'question' or 'prompt', found neither")
            asked = text(row, field, where)
            questions[name] = Question(id=name, scenario=path.stem, split="test", question=asked, answer=gold, steps=[])
    return list(questions.values())


def _gold(grader: Grader, row: Mapping[str, object], where: str) -> str:
    try:
        answer = text(row, "answer", where, str | int | float)
    except RecordError as error:
        raise RecordError(f"{error}; without a gold answer `doubledraft benchmark` can measure speed") from None
    gold = extract_strict(answer) or answer.strip()
    if reason := golds.fault(grader, gold):
        raise RecordError(f"{where}: field 'answer' cannot be graded, {reason}: {gold!r:.80}")
    return gold


def _first(row: Mapping[str, object], fields: tuple[str, ...]) -> str | None:
    """Return the first of the fields that the row has, None without any."""
    return next((field for field in fields if row.get(field) is not None), None)
