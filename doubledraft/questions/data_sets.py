"""A data set as it lies in a file, read as questions: whatever has a `question` or a `prompt` in each row.

Read are GSM8K (`question`, and `answer` that ends with `#### gold`), files in the format of HumanEval (`task_id`,
`prompt`), this study's own questions, and any other JSON lines or parquet with one of the two fields. The gold answer
is what follows the last `####` of `answer`, or all of it. Programs are never run, so HumanEval measures speed alone.
"""

from collections.abc import Mapping
from pathlib import Path

from doubledraft.grading.extract import extract_strict
from doubledraft.questions.files import read
from doubledraft.records import Question, RecordError

TEXT_FIELDS = ("question", "prompt")
NAME_FIELDS = ("id", "task_id")


def read_questions(path: str | Path, *, limit: int | None = None, graded: bool = False) -> list[Question]:
    """Read the first `limit` questions of a file; `graded` ones must have an answer, others have an empty one.

    Raises RecordError naming the line.
    """
    path, questions = Path(path), {}
    for number, (where, row) in enumerate(read([path]).rows[:limit], start=1):
        name = _first(row, NAME_FIELDS)
        name = f"{path.stem}-{number}" if name is None else str(name)
        if name in questions:
            raise RecordError(f"{where}: {name!r} stands twice; each row needs a name of its own, or none")
        answer = _gold(row, where) if graded else ""
        text = _text(row, where)
        questions[name] = Question(id=name, scenario=path.stem, split="test", question=text, answer=answer, steps=[])
    return list(questions.values())


def _text(row: Mapping[str, object], where: str) -> str:
    text = _first(row, TEXT_FIELDS)
    if not isinstance(text, str) or not text.strip():
        raise RecordError(f"{where}: expected a text in 'question' or 'prompt', found {text!r:.60}")
    return text


def _gold(row: Mapping[str, object], where: str) -> str:
    answer = row.get("answer")
    answer = str(answer) if isinstance(answer, int | float) else answer
    if not isinstance(answer, str) or not answer.strip():
        raise RecordError(
            f"{where}: expected the gold answer in 'answer', found {answer!r:.60}; without one, speed can be measured "
            "by `doubledraft benchmark`, but not accuracy"
        )
    return extract_strict(answer) or answer.strip()


def _first(row: Mapping[str, object], fields: tuple[str, ...]) -> object:
    """Give the first of the fields that the row has, None without any."""
    return next((row[field] for field in fields if row.get(field) is not None), None)
