r"""Read the questions of GSM8K, of MATH and of a user's own file, and count the rows that are left out.

The rules; each case is counted, and the counts stand in the manifest of the questions.

- GSM8K: gold is the number after the one `####`, without its thousands commas, minus sign kept.
- MATH: gold is the last balanced `\boxed` or `\fbox` of the solution, verbatim; a bare `\boxed 2` is 2. Boxes that say
  different things are an answer in parts, of which the last would be a wrong gold: the row is left out. So are rows
  without a box, of `Level ?`, and with a drawing (`[asy]`) in the problem; one in the solution is cut out of the steps.
- Own file: gold is `answer`, or what follows `####` in it, in which case the text before is the solution.
- A row without its fields, a gold that is no number (GSM8K), an unknown level or subject (MATH) is an error. So is a
  gold that nothing can be graded against (`golds`) in a user's file; in MATH such a row is left out.
- What comes from the hub has the number of rows written here, or it is an error; a local copy may be a part of it,
  which is logged.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from doubledraft.grading.grader import Grader
from doubledraft.log import log
from doubledraft.questions import files, golds
from doubledraft.questions.files import Paths, Table
from doubledraft.records import Question, RecordError

GSM8K = "openai/gsm8k"
GSM8K_REVISION = "740312add88f781978c0658806c59bc2815b9866"
GSM8K_ROWS = {"train": 7473, "test": 1319}
MATH = "EleutherAI/hendrycks_math"
MATH_REVISION = "21a5633873b6a120296cce3e2df9d5550074f4a3"
MATH_ROWS = {
    "algebra": {"train": 1744, "test": 1187},
    "counting_and_probability": {"train": 771, "test": 474},
    "geometry": {"train": 870, "test": 479},
    "intermediate_algebra": {"train": 1295, "test": 903},
    "number_theory": {"train": 869, "test": 540},
    "prealgebra": {"train": 1205, "test": 871},
    "precalculus": {"train": 746, "test": 546},
}
HUMANEVAL = "openai/openai_humaneval"
HUMANEVAL_REVISION = "7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544"
NUMBER = re.compile(r"-?(\d+|\d{1,3}(,\d{3})+)(\.\d+)?")
OWN_FIELDS = {
    "question": str,
    "answer": str | int | float,
    "id": str,
    "level": str | int,
    "subject": str,
    "solution": str,
}


@dataclass(frozen=True, slots=True)
class Pool:
    """The questions of one split of a source, with counts of what was read."""

    questions: list[Question]
    rows: int  # that were read
    origin: list[dict[str, object]]  # files with their digest, or data sets with their commit
    left_out: Counter[str] = field(default_factory=Counter)  # rows that gave no question, by reason
    special: Counter[str] = field(default_factory=Counter)  # rows that a special rule made a question of, by rule


def read_gsm8k(split: str, scenario: str, path: Paths | None = None, revision: str | None = None) -> Pool:
    """Read GSM8K: gold after `####`, steps from the solution's lines without their `<<...>>` marks.

    From the hub at `revision`, the pinned commit where None; or from `path`, as `files.local_files` takes it.
    """
    if path:
        table = files.read(files.local_files(path, ["main"], split))
    else:
        table = files.read_hub(GSM8K, "main", split, _pinned(GSM8K, revision, GSM8K_REVISION))
    _check_count(f"{GSM8K}, {split}", len(table.rows), GSM8K_ROWS[split], strict=not path)
    pool = Pool([], len(table.rows), [table.origin])
    for number, (where, row) in enumerate(table.rows, start=1):
        solution, gold = _gsm8k_answer(text(row, "answer", where), where)
        pool.special.update(thousands_commas="," in gold, negative=gold.startswith("-"))
        pool.questions.append(
            Question(
                id=f"{scenario}-{split}-{number:04d}",
                scenario=scenario,
                split=split,
                question=text(row, "question", where),
                answer=gold.replace(",", ""),
                steps=_lines(re.sub(r"<<.*?>>", "", solution)),
            )
        )
    return pool


def read_math(
    split: str,
    scenario: str,
    path: Paths | None = None,
    revision: str | None = None,
    subjects: list[str] | None = None,
    levels: list[int] | None = None,
) -> Pool:
    """Read MATH, of all or some subjects (keys of MATH_ROWS) and levels (1 to 5).

    From the hub at `revision`, the pinned commit where None; or from `path`, as `files.local_files` takes it.
    """
    names = subjects or list(MATH_ROWS)
    if unknown := [subject for subject in names if subject not in MATH_ROWS]:
        raise ValueError(f"subjects: {unknown[0]!r} is not a subject of MATH; choose from {', '.join(MATH_ROWS)}")
    tables = _math_tables(names, split, path, revision)
    pool = Pool([], sum(len(table.rows) for table in tables), [table.origin for table in tables])
    rows = [(where, row, *_subject_and_level(row, where)) for table in tables for where, row in table.rows]
    counts = Counter(subject for _, _, subject, _ in rows)
    for name in names:
        _check_count(f"{MATH}, {name}, {split}", counts[name], MATH_ROWS[name][split], strict=not path)
    with Grader() as grader:
        for where, row, subject, level in rows:
            if subject in names and (not levels or level == "?" or int(level) in levels):
                _add_math(pool, grader, row, where, scenario=scenario, split=split, subject=subject, level=level)
    return pool


def read_own(split: str, scenario: str, path: str | Path) -> Pool:
    """Read a user's JSON lines: question, answer; if given id, level, subject, solution (text, one step per line)."""
    questions: dict[str, Question] = {}
    with Grader() as grader:
        for number, (where, row) in enumerate(files.json_lines(path), start=1):
            values = _own_values(row, where)
            name = values.pop("id", f"{scenario}-{split}-{number:04d}")
            if name in questions:
                raise RecordError(f"{where}: id {name!r} occurs twice")
            if reason := golds.fault(grader, values["answer"]):
                raise RecordError(f"{where}: field 'answer' cannot be graded, {reason}: {values['answer']!r:.80}")
            steps = _lines(re.sub(r"(?m)^####.*$|<<.*?>>", "", values.pop("solution", "")))
            questions[name] = Question(id=name, scenario=scenario, split=split, steps=steps, **values)
    return Pool(list(questions.values()), len(questions), [files.origin([Path(path)])])


def _own_values(row: Mapping[str, object], where: str) -> dict[str, str]:
    """Return the fields of a row of a user's file as text, an answer as in GSM8K split into solution and gold."""
    if unknown := sorted(row.keys() - OWN_FIELDS.keys()):
        raise RecordError(f"{where}: field {unknown[0]!r} is not known; a question has {', '.join(OWN_FIELDS)}")
    values = {name: text(row, name, where, kind) for name, kind in OWN_FIELDS.items() if row.get(name) is not None}
    for name in ("question", "answer"):
        if name not in values:
            raise RecordError(f"{where}: field {name!r} is missing; a question has {', '.join(OWN_FIELDS)}")
    solution, *marked = values["answer"].split("####")
    if marked:
        if len(marked) > 1 or not marked[0].strip() or "solution" in values:
            raise RecordError(
                f"{where}: field 'answer' should be the gold answer, or a solution and one line '#### gold' without a "
                f"field 'solution' beside it; found {values['answer']!r:.80}"
            )
        values |= {"answer": marked[0].strip(), "solution": solution}
    return values


def boxes(text: str) -> list[str]:
    r"""List the contents of every `\boxed{...}` and `\fbox{...}` with balanced braces, and of a bare `\boxed 2`."""
    contents = []
    for start in re.finditer(r"\\(?:boxed|fbox)(?![A-Za-z])\s*", text):
        rest = text[start.end() :]
        if not rest.startswith("{"):
            contents += re.findall(r"^[^\s$]*[^\s$.,;]", rest)
        elif (end := _closing_brace(rest)) is not None:
            contents.append(rest[1:end])
    return contents


def _closing_brace(text: str) -> int | None:
    depth = 0
    for match in re.finditer(r"\\.|[{}]", text, re.DOTALL):  # a brace after a backslash is a sign, not a bracket
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0 and match[0] == "}":
            return match.start()
    return None


def _gsm8k_answer(answer: str, where: str) -> tuple[str, str]:
    solution, *golds = answer.split("####")
    if len(golds) != 1:
        raise RecordError(f"{where}: the answer should have one '#### gold', found {len(golds)}; is this GSM8K?")
    if not NUMBER.fullmatch(gold := golds[0].strip()):
        raise RecordError(f"{where}: the gold after '####' should be a number, found {gold!r:.80}")
    return solution, gold


def _math_tables(subjects: list[str], split: str, path: Paths | None, revision: str | None) -> list[Table]:
    if path:
        return [files.read(files.local_files(path, subjects, split))]
    pinned = _pinned(MATH, revision, MATH_REVISION)
    return [files.read_hub(MATH, subject, split, pinned) for subject in subjects]


def _subject_and_level(row: Mapping[str, object], where: str) -> tuple[str, str]:
    """Return the subject (a key of MATH_ROWS) and the level ("1" to "5" or "?") of a row of MATH."""
    kind, level = text(row, "type", where), text(row, "level", where)
    subject = kind.casefold().replace(" & ", "_and_").replace(" ", "_")
    if subject not in MATH_ROWS:
        raise RecordError(f"{where}: field 'type' should be a subject of MATH, found {kind!r:.80}")
    if not re.fullmatch(r"Level [1-5?]", level):
        raise RecordError(f"{where}: field 'level' should be 'Level 1' to 'Level 5' or 'Level ?', found {level!r:.80}")
    return subject, level.removeprefix("Level ")


def _add_math(
    pool: Pool,
    grader: Grader,
    row: Mapping[str, object],
    where: str,
    *,
    scenario: str,
    split: str,
    subject: str,
    level: str,
) -> None:
    """Add the question of a row to the pool, or count why there is none."""
    problem, solution = text(row, "problem", where), text(row, "solution", where)
    boxed = boxes(solution)
    reason = _unusable(problem, level, boxed) or golds.fault(grader, boxed[-1])
    if reason:
        log.info("%s is left out: %s", where, reason)
        pool.left_out[reason] += 1
        return
    gold, without_drawings = boxed[-1], re.sub(r"(?s)\[asy\].*?\[/asy\]", "", solution)
    pool.special.update(
        bare_box=bool(re.search(r"\\(boxed|fbox)(?![A-Za-z])\s*+(?!{)", solution)),
        box_repeated=len(boxed) > 1,
        thousands_commas=bool(re.search(r"\d,(\\!)?\d{3}(?!\d)", gold)),
        negative=gold.startswith("-"),
        drawing_cut_from_steps=without_drawings != solution,
    )
    pool.questions.append(
        Question(
            id=f"{scenario}-{split}-{len(pool.questions) + 1:04d}",
            scenario=scenario,
            split=split,
            question=problem,
            answer=gold,
            steps=_lines(without_drawings),
            level=level,
            subject=subject,
        )
    )


def _unusable(problem: str, level: str, boxed: list[str]) -> str | None:
    if level == "?":
        return "level not known"
    if "[asy]" in problem:
        return "needs a drawing"
    if not boxed or not boxed[-1].strip():
        return "no box"
    return "several different boxes" if len({re.sub(r"\s", "", gold) for gold in boxed}) > 1 else None


def _pinned(repository: str, revision: str | None, commit: str) -> str:
    if revision and not files.COMMIT.fullmatch(revision):
        log.warning("%s: revision %r is no commit and may change; leave it out to get %s", repository, revision, commit)
    return revision or commit


def _check_count(what: str, rows: int, expected: int, *, strict: bool) -> None:
    if rows != expected and strict:
        raise ValueError(f"{what}: {rows} rows, expected {expected}: it has changed; set `revision`")
    if rows != expected:
        log.warning("%s: the local copy has %d rows, the released one %d", what, rows, expected)


def text(row: Mapping[str, object], name: str, where: str, kind: type = str) -> str:
    """Return a field as text; raise RecordError where it is empty, of another type, or cannot be written to a file."""
    value = row.get(name)
    if not isinstance(value, kind) or isinstance(value, bool) or not str(value).strip():
        raise RecordError(f"{where}: field {name!r} should be text that is not empty, found {value!r:.80}")
    if isinstance(value, float) and not math.isfinite(value):
        raise RecordError(f"{where}: field {name!r} should be a finite number, found {value}")
    if match := re.search("[\0\ud800-\udfff]", str(value)):
        raise RecordError(f"{where}: field {name!r} holds a character that no text has, {match[0]!r}")
    return str(value)


def asked_text(row: Mapping[str, object], names: Sequence[str], where: str) -> str:
    """Return the text in the first of the named fields that is not empty: of a list of turns, the first turn.

    Raise RecordError where none holds a text.
    """
    present = [name for name in names if row.get(name) is not None]
    if not present:
        raise RecordError(f"{where}: expected a text in one of {', '.join(names)}, found none")
    name = next((name for name in present if row[name]), present[0])
    turns = row[name]
    return text({name: turns[0] if isinstance(turns, list) and turns else turns}, name, where)


def _lines(solution: str) -> list[str]:
    return [line.strip() for line in solution.split("\n") if line.strip()]
