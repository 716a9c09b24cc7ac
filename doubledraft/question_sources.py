"""Read the questions of GSM8K, of MATH and of a user's own file: every one that can be trusted.

Rules, stated once. A gold is kept verbatim, but for the thousands commas of GSM8K. Of MATH are left out: rows of
`Level ?`, rows with a drawing (`[asy]`), and rows whose solution has no box or several, since no single gold could be
trusted there; how many is logged. A hub data set has to have the number of rows that is written here, so that a changed
one is noticed.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from doubledraft.records import Question, RecordError, parse_object
from doubledraft.runtime import log

GSM8K = "openai/gsm8k"
GSM8K_ROWS = {"train": 7473, "test": 1319}
MATH = "EleutherAI/hendrycks_math"
MATH_ROWS = {
    "algebra": {"train": 1744, "test": 1187},
    "counting_and_probability": {"train": 771, "test": 474},
    "geometry": {"train": 870, "test": 479},
    "intermediate_algebra": {"train": 1295, "test": 903},
    "number_theory": {"train": 869, "test": 540},
    "prealgebra": {"train": 1205, "test": 871},
    "precalculus": {"train": 746, "test": 546},
}
OWN_FIELDS = {
    "question": str,
    "answer": str | int | float,
    "id": str,
    "level": str | int,
    "subject": str,
    "solution": str,
}

Paths = str | Path | Mapping[str, str | Path]
Rows = Iterable[tuple[str, dict[str, object]]]  # (where it stands, for messages; the row)


def gsm8k(split: str, scenario: str, path: Paths | None = None, revision: str | None = None) -> list[Question]:
    """Read GSM8K: gold after `####`, steps from the solution's lines without their `<<...>>` marks.

    `path` replaces the hub data set here and in `math`: a folder in its layout, or JSON lines files {train, test}.
    """
    rows = _local(path, "main", split) if path else _hub(GSM8K, "main", split, revision, GSM8K_ROWS[split])
    questions = []
    for number, (where, row) in enumerate(rows, start=1):
        solution, mark, gold = _text(row, "answer", where).rpartition("####")
        if not mark:
            raise RecordError(f"{where}: the answer has no line '#### gold'; is this a file of GSM8K?")
        questions.append(
            Question(
                id=f"{scenario}-{split}-{number:04d}",
                scenario=scenario,
                split=split,
                question=_text(row, "question", where),
                answer=gold.strip().replace(",", ""),
                steps=_lines(re.sub(r"<<.*?>>", "", solution)),
            )
        )
    return questions


def math(
    split: str,
    scenario: str,
    path: Paths | None = None,
    revision: str | None = None,
    subjects: list[str] | None = None,
    levels: list[int] | None = None,
) -> list[Question]:
    """Read MATH, of all or some subjects (keys of MATH_ROWS) and levels (1 to 5): gold from the solution's only box."""
    wanted = subjects or list(MATH_ROWS)
    if unknown := [subject for subject in wanted if subject not in MATH_ROWS]:
        raise ValueError(f"subjects: {unknown[0]!r} is not a subject of MATH; choose from {', '.join(MATH_ROWS)}")
    questions, left_out = [], Counter()
    for where, row in _math_rows(wanted, split, path, revision):
        problem, level, kind, solution = (_text(row, key, where) for key in ("problem", "level", "type", "solution"))
        if not re.fullmatch(r"Level [1-5?]", level):
            raise RecordError(f"{where}: field 'level' should be 'Level 1' to 'Level 5', found {level!r}")
        subject, level = kind.casefold().replace(" & ", "_and_").replace(" ", "_"), level.removeprefix("Level ")
        if subject not in wanted or (levels and level != "?" and int(level) not in levels):
            continue
        golds = boxes(solution)
        if reason := _untrusted(problem, level, golds):
            left_out[reason] += 1
            continue
        questions.append(
            Question(
                id=f"{scenario}-{split}-{len(questions) + 1:04d}",
                scenario=scenario,
                split=split,
                question=problem,
                answer=golds[-1],
                steps=_lines(solution),
                level=level,
                subject=subject,
            )
        )
    for reason, count in sorted(left_out.items()):
        log.info("%s: %d %s rows of MATH left out, %s", scenario, count, split, reason)
    return questions


def own(split: str, scenario: str, path: str | Path) -> list[Question]:
    """Read a user's JSON lines: question, answer; if given id, level, subject, solution (text, a step a line)."""
    questions: dict[str, Question] = {}
    for number, (where, row) in enumerate(_json_lines(path), start=1):
        if unknown := sorted(row.keys() - OWN_FIELDS.keys()):
            raise RecordError(f"{where}: field {unknown[0]!r} is not known; a question has {', '.join(OWN_FIELDS)}")
        values = {name: _text(row, name, where, kind) for name, kind in OWN_FIELDS.items() if row.get(name) is not None}
        for name in ("question", "answer"):
            if name not in values:
                raise RecordError(f"{where}: field {name!r} is missing; a question has {', '.join(OWN_FIELDS)}")
        name = values.pop("id", f"{scenario}-{split}-{number:04d}")
        if name in questions:
            raise RecordError(f"{where}: id {name!r} stands twice")
        steps = _lines(re.sub(r"(?m)^####.*$", "", values.pop("solution", "")))
        questions[name] = Question(id=name, scenario=scenario, split=split, steps=steps, **values)
    return list(questions.values())


def boxes(text: str) -> list[str]:
    r"""Give what stands in every `\boxed{...}` and `\fbox{...}` with balanced braces, or in a bare `\boxed 2`."""
    found = []
    for start in re.finditer(r"\\(?:boxed|fbox)\b\s*", text):
        rest = text[start.end() :]
        if not rest.startswith("{"):
            found += re.findall(r"^[^\s$.,]+", rest)
        elif (end := _closing_brace(rest)) is not None:
            found.append(rest[1:end])
    return found


def _closing_brace(text: str) -> int | None:
    depth = 0
    for index, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0) if text[index - 1 : index] != "\\" else 0
        if depth == 0:
            return index
    return None


def _untrusted(problem: str, level: str, golds: list[str]) -> str | None:
    if level == "?":
        return "their level is not known"
    if "[asy]" in problem:
        return "they need a drawing"
    return None if len(golds) == 1 else "their solution has no box or several"


def _math_rows(subjects: list[str], split: str, path: Paths | None, revision: str | None) -> Rows:
    if isinstance(path, Mapping):
        yield from _local(path, None, split)
        return
    for subject in subjects:
        if path:
            yield from _local(path, subject, split)
        else:
            yield from _hub(MATH, subject, split, revision, MATH_ROWS[subject][split])


def _hub(repository: str, name: str, split: str, revision: str | None, expected: int) -> Rows:
    from datasets import load_dataset

    rows = load_dataset(repository, name, split=split, revision=revision)
    if len(rows) != expected:
        raise ValueError(
            f"{repository} ({name}, {split}) has {len(rows)} rows, expected {expected}: it has changed; set `revision`"
        )
    return ((f"{repository} ({name}, {split}) row {number}", row) for number, row in enumerate(rows, start=1))


def _local(path: Paths, name: str | None, split: str) -> Rows:
    if isinstance(path, Mapping):
        return _json_lines(path[split])
    if not Path(path).is_dir():
        raise ValueError(
            f"path: {path} is not a folder; give a folder of the data set or one file a split, {{train, test}}"
        )
    from datasets import load_dataset

    rows = load_dataset(str(path), name, split=split)
    return ((f"{path} ({name}, {split}) row {number}", row) for number, row in enumerate(rows, start=1))


def _json_lines(path: str | Path) -> Rows:
    lines = Path(path).read_bytes().split(b"\n")  # never splitlines: U+2028 may stand inside a JSON string
    if not any(line.strip() for line in lines):
        raise RecordError(f"{path}: the file has no rows")
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield f"{path}:{number}", parse_object(line, f"{path}:{number}")


def _text(row: Mapping[str, object], name: str, where: str, kind: type = str) -> str:
    value = row.get(name)
    if not isinstance(value, kind) or isinstance(value, bool) or not str(value).strip():
        raise RecordError(f"{where}: field {name!r} should be text that is not empty, found {value!r:.80}")
    return str(value)


def _lines(solution: str) -> list[str]:
    return [line.strip() for line in solution.split("\n") if line.strip()]
