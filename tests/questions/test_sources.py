r"""GSM8K, MATH and a user's file: golds, levels, and every rule of what is left out.

Run:

The rows of MATH format are made up. The released GSM8K files are used where `shared/data` lies beside the repository.
"""

import json
import logging
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from doubledraft.questions import sources
from doubledraft.questions.sources import read_gsm8k, read_math, read_own
from doubledraft.records import RecordError
from tests.helpers.hub_server import hub_environment, serve

COMMIT = "0123456789abcdef" * 2 + "01234567"
RELEASED = Path(__file__).parents[3] / "shared/data"


def write_rows(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def both(folder: Path, *rows: dict) -> dict[str, Path]:
    """Write the same rows for both splits."""
    return {split: write_rows(folder / f"{split}.jsonl", list(rows)) for split in ("train", "test")}


def math_row(problem="Find $x$.", solution=r"So $x = \boxed{4}$.", level="Level 1", kind="Algebra") -> dict:
    return {"problem": problem, "level": level, "type": kind, "solution": solution}


# GSM8K


def test_gsm8k_gold_loses_commas_and_steps_lose_calculator_marks(tmp_path):
    row = {"question": "How many?", "answer": "He has 2*600=<<2*600=1200>>1200.\n\nThat is all.\n#### -1,200"}
    pool = read_gsm8k("train", "s", both(tmp_path, row))
    (question,) = pool.questions
    assert question.answer == "-1200"
    assert question.steps == ["He has 2*600=1200.", "That is all."]
    assert pool.special == {"thousands_commas": 1, "negative": 1}


@pytest.mark.skipif(not (RELEASED / "gsm8k_train.jsonl").exists(), reason="the released GSM8K files are not here")
@pytest.mark.parametrize(("split", "rows", "commas", "negative"), [("train", 7473, 79, 3), ("test", 1319, 14, 2)])
def test_every_row_of_the_released_gsm8k_gives_a_gold_and_steps(split, rows, commas, negative, caplog):
    with caplog.at_level(logging.WARNING, logger="doubledraft"):
        pool = read_gsm8k(split, "easy", {split: RELEASED / f"gsm8k_{split}.jsonl"})
    assert pool.rows == len(pool.questions) == rows
    assert pool.special == {"thousands_commas": commas, "negative": negative}
    assert not pool.left_out and not caplog.text, "all rows are used, and their number is the pinned one"
    assert len({question.question for question in pool.questions}) == rows
    for question in pool.questions:
        assert str(int(question.answer)) == question.answer, "every gold of the release is an integer"
        assert question.steps and not any("<<" in step or "####" in step for step in question.steps)


# MATH


@pytest.mark.parametrize(
    ("solution", "found"),
    [
        (r"so $\boxed{4}$.", ["4"]),
        (r"so $\boxed{\frac{3}{4}}$.", [r"\frac{3}{4}"]),
        (r"so $\boxed {4}$ and $\boxedsize{7}$", ["4"]),
        (r"so $\fbox{x}$", ["x"]),
        (r"so $\boxed 2$.", ["2"]),
        (r"so $\boxed 2.5.$", ["2.5"]),
        (r"so \boxed\frac12, at last", [r"\frac12"]),
        (r"so $\boxed{\{1, 2\}}$", [r"\{1, 2\}"]),
        (r"so $\boxed{\begin{pmatrix} 1 \\{2} \end{pmatrix}}$", [r"\begin{pmatrix} 1 \\{2} \end{pmatrix}"]),
        (r"so $\boxed{ 11,\! 111 }$", [r" 11,\! 111 "]),
        (r"$\boxed{1}$ or $\boxed{2}$", ["1", "2"]),
        (r"$\boxed{7}$, broken $\boxed{\frac{1}{2}$", ["7"]),
        (r"broken $\boxed{\frac{1}{2}$", []),
        (r"none", []),
    ],
)
def test_boxes_are_read_verbatim_with_balanced_braces(solution, found):
    assert sources.boxes(solution) == found


KEPT = {  # case: row, gold, count of the case
    "last balanced box": (math_row(solution=r"$\boxed{7}$, and $\boxed{\frac{1}{2}$"), "7", None),
    "verbatim": (math_row(solution=r"$\boxed{ \frac{ 1 }{2} }$"), r" \frac{ 1 }{2} ", None),
    "list in one box": (math_row(solution=r"$x = \boxed{1, -2}$"), "1, -2", None),
    "bare box": (math_row(solution=r"$\boxed 2$"), "2", "bare_box"),
    "equal boxes": (math_row(solution=r"$\boxed{x+1}$, that is $\boxed{x + 1}$"), "x + 1", "box_repeated"),
    "commas": (math_row(solution=r"$\boxed{11,\!111}$"), r"11,\!111", "thousands_commas"),
    "negative": (math_row(solution=r"$\boxed{-\frac{1}{2}}$"), r"-\frac{1}{2}", "negative"),
    "drawing in the solution": (math_row(solution="[asy]\ndraw;\n[/asy]\n$\\boxed{3}$"), "3", "drawing_cut_from_steps"),
}


@pytest.mark.parametrize("case", KEPT)
def test_math_gold_is_the_last_balanced_box_verbatim(case, tmp_path):
    row, gold, counted = KEPT[case]
    pool = read_math("train", "s", both(tmp_path, row))
    (question,) = pool.questions
    assert question.answer == gold
    assert {name for name, count in pool.special.items() if count} == ({counted} if counted else set())
    assert "[asy]" not in "".join(question.steps)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (math_row(level="Level ?"), "level not known"),
        (math_row(problem="See [asy] draw; [/asy]."), "needs a drawing"),
        (math_row(solution="x is 2"), "no box"),
        (math_row(solution=r"$\boxed{}$"), "no box"),
        (math_row(solution=r"$\boxed{1}$ or $\boxed{2}$"), "several different boxes"),
    ],
)
def test_math_row_without_one_gold_is_left_out_and_counted(row, reason, tmp_path):
    pool = read_math("train", "s", both(tmp_path, math_row("kept"), row), levels=[1])
    assert [question.question for question in pool.questions] == ["kept"]
    assert (pool.rows, pool.left_out) == (2, {reason: 1})


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (math_row(level="Level 6"), "field 'level' should be 'Level 1' to 'Level 5' or 'Level ?', found 'Level 6'"),
        (math_row(level="1"), "field 'level' should be"),
        (math_row(kind="Algebraa"), "field 'type' should be a subject of MATH, found 'Algebraa'"),
        (math_row(solution=""), "field 'solution' should be text that is not empty"),
        ({"problem": "a", "level": "Level 1", "type": "Algebra"}, "field 'solution' should be text"),
    ],
)
def test_math_row_that_breaks_the_contract_is_an_error_that_names_it(row, reason, tmp_path):
    path = both(tmp_path, math_row(), row)
    with pytest.raises(RecordError) as error:
        read_math("train", "s", path)
    assert str(error.value).startswith(f"{path['train']}:2: {reason}")


def test_math_keeps_the_subjects_and_levels_asked_for(tmp_path):
    rows = [
        math_row("one"),
        math_row("two", level="Level 2"),
        math_row("five", level="Level 5"),
        math_row("other", kind="Counting & Probability"),
    ]
    path = both(tmp_path, *rows)
    algebra = read_math("test", "s", path, subjects=["algebra"], levels=[1, 2]).questions
    assert [(row.question, row.level, row.subject) for row in algebra] == [
        ("one", "1", "algebra"),
        ("two", "2", "algebra"),
    ]
    (counting,) = read_math("test", "s", path, subjects=["counting_and_probability"]).questions
    assert counting.question == "other"
    assert len(read_math("test", "s", path).questions) == 4


def test_math_as_first_released_is_read_subject_by_subject(tmp_path):
    for subject, kind in (("algebra", "Algebra"), ("number_theory", "Number Theory")):
        for number in (2, 10, 1):
            file = tmp_path / f"train/{subject}/{number}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(math_row(f"{subject} {number}", kind=kind), indent=4))
    pool = read_math("train", "s", tmp_path, subjects=["number_theory", "algebra"])
    assert [question.question for question in pool.questions] == [
        f"{subject} {number}" for subject in ("number_theory", "algebra") for number in (1, 2, 10)
    ]
    assert pool.origin[0]["files"] == 6 and pool.origin[0]["path"] == str(tmp_path / "train")


def test_an_unknown_subject_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'algebr' is not a subject of MATH; choose from algebra"):
        read_math("test", "s", both(tmp_path), subjects=["algebr"])


# The hub

README = """---
configs:
- config_name: {name}
  data_files:
  - {{split: train, path: {name}/train-*}}
  - {{split: test, path: {name}/test-*}}
---
"""
FETCH = """
import json, logging, sys
from doubledraft.questions import sources
for line in sys.stdin:
    reader, arguments = json.loads(line)
    try:
        pool = getattr(sources, reader)(**arguments)
        print(json.dumps({"rows": pool.rows, "questions": len(pool.questions), "origin": pool.origin}))
    except ValueError as error:
        print(json.dumps({"error": str(error)}))
"""


def repository(name: str, train: list[dict], test: list[dict]) -> dict[str, bytes]:
    """Return the files of a data set on the hub with one configuration."""
    from pyarrow import BufferOutputStream, Table
    from pyarrow.parquet import write_table

    files = {"README.md": README.format(name=name).encode()}
    for split, rows in (("train", train), ("test", test)):
        content = BufferOutputStream()
        write_table(Table.from_pylist(rows), content)
        files[f"{name}/{split}-00000-of-00001.parquet"] = content.getvalue().to_pybytes()
    return files


@pytest.fixture(scope="module")
def from_hub(tmp_path_factory):
    """Return a function that runs readers with the real client against a local hub and returns what each found.

    In a process of its own: the client reads its address when it is imported.
    """
    gsm8k = [{"question": f"{n} + 1?", "answer": f"It is {n + 1}\n#### {n + 1}"} for n in range(1319)]
    algebra = [math_row(f"What is {n}?", level=f"Level {1 + n % 5}") for n in range(1187)]
    served = {
        "openai/gsm8k": repository("main", gsm8k[:7], gsm8k),
        "EleutherAI/hendrycks_math": repository("algebra", algebra[:7], algebra),
    }
    home = str(tmp_path_factory.mktemp("hub"))

    def fetch(*calls: tuple[str, dict]) -> tuple[list[dict], str]:
        with serve(served, COMMIT) as address:
            done = subprocess.run(
                [sys.executable, "-c", FETCH],
                input="".join(json.dumps(call) + "\n" for call in calls),
                env=hub_environment(address, home) | {"PYTHONPATH": str(Path(__file__).parents[2])},
                capture_output=True,
                text=True,
                check=False,
            )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()], done.stderr

    return fetch


@pytest.mark.slow
def test_the_hub_is_read_at_a_commit_that_is_recorded_and_a_changed_data_set_is_refused(from_hub):
    asked = {"scenario": "s", "split": "test", "revision": COMMIT}
    (gsm8k, algebra, branch, short, absent), told = from_hub(
        ("read_gsm8k", asked),
        ("read_math", asked | {"subjects": ["algebra"], "levels": [1, 2]}),
        ("read_gsm8k", asked | {"revision": "main"}),
        ("read_gsm8k", asked | {"split": "train"}),
        ("read_gsm8k", {"scenario": "s", "split": "test"}),
    )
    assert not [found["error"] for found in (gsm8k, algebra, branch) if "error" in found], told
    assert (gsm8k["rows"], gsm8k["questions"]) == (1319, 1319)
    assert gsm8k["origin"] == [
        {"repository": "openai/gsm8k", "config": "main", "revision": COMMIT, "commit": COMMIT},
    ]
    assert (algebra["rows"], algebra["questions"]) == (1187, 476)
    assert branch["origin"][0] | {"commit": COMMIT} == branch["origin"][0] and branch["origin"][0]["revision"] == "main"
    assert told.count("is no commit and may change") == 1 and "openai/gsm8k: revision 'main'" in told
    assert short["error"].startswith("openai/gsm8k, train: 7 rows, expected 7473: it has changed; set `revision`")
    assert sources.GSM8K_REVISION in absent["error"], "left out, the pinned commit is asked for"
    assert "could not be fetched" in absent["error"]


def test_without_network_the_message_says_how_to_use_a_local_copy(monkeypatch, tmp_path):
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    with pytest.raises(
        ValueError, match=r"openai/gsm8k \(main, test, .*could not be fetched.* set the scenario's `path`"
    ):
        read_gsm8k("test", "s")


@pytest.mark.slow
def test_a_hub_that_never_answers_is_given_up_and_the_message_says_how_to_wait_longer(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-c", "import time; time.sleep = lambda seconds: None  # between its tries\n" + FETCH],
            input=json.dumps(["read_gsm8k", {"scenario": "s", "split": "test"}]),
            env=hub_environment(address, tmp_path)
            | {"HF_HUB_DOWNLOAD_TIMEOUT": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            timeout=300,
        )
    assert re.search("could not be fetched: Couldn't reach .*HF_HUB_DOWNLOAD_TIMEOUT", json.loads(done.stdout)["error"])


# A user's own file


def test_own_rows_keep_their_optional_fields(tmp_path):
    rows = [
        {"question": "What is 1/2 + 1/4?", "answer": "3/4", "id": "q1", "level": 2, "subject": "sums"},
        {"question": "why?", "answer": 2.5, "solution": "a\n\nb\n#### x"},
    ]
    first, second = read_own("test", "s", write_rows(tmp_path / "mine.jsonl", rows)).questions
    assert (first.id, first.answer, first.level, first.subject, first.steps) == ("q1", "3/4", "2", "sums", [])
    assert (second.id, second.answer, second.level, second.steps) == ("s-test-0002", "2.5", None, ["a", "b"])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"question": "a"}', "field 'answer' is missing"),
        ('{"question": "a", "answer": "1", "soluton": "b"}', "field 'soluton' is not known"),
        ('{"question": "a", "answer": true}', "field 'answer' should be"),
        ('{"question": "a", "answer": 1e999}', "field 'answer' should be a finite number, found inf"),
    ],
)
def test_a_bad_row_is_refused_with_file_line_and_reason(tmp_path, line, reason):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"question": "good", "answer": "1"}\n' + line)
    with pytest.raises(RecordError) as error:
        read_own("train", "s", path)
    assert str(error.value).startswith(f"{path}:2: {reason}")
