"""Extraction and grading of answers, ordinary and hostile: .venv/bin/pytest tests/grading/test_grader.py

The case table tests/grading/answers.jsonl grows with every failure seen.
"""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from doubledraft.grading import worker as answers_worker
from doubledraft.grading.endings import ENDINGS
from doubledraft.grading.extract import extract_lenient, extract_strict
from doubledraft.grading.grader import WALL_SECONDS, Grader, Judgement, Verdict, score
from doubledraft.records import Generation

CASES = [json.loads(line) for line in Path(__file__).with_name("answers.jsonl").read_text().splitlines()]
HOSTILE = [json.loads(line) for line in Path(__file__).with_name("hostile.jsonl").read_text().splitlines()]
PAGE = (Path(__file__).parents[2] / "docs/grading.md").read_text(encoding="utf-8").replace("⏎", "\n")
EXAMPLES = re.findall(rf"^\| ({'|'.join(ENDINGS)}) \| `([^`]*)` \| `([^`]*)` \|$", PAGE, re.MULTILINE)
WITHOUT_END = r"\binom{1000000000}{500000000}"
PATIENT = 60.0  # seconds of a comparison where a busy machine shall change no verdict


@pytest.fixture(scope="module")
def grader():
    with Grader(wall_seconds=PATIENT) as grader:
        yield grader


def generation(number: int, text: str) -> Generation:
    return Generation(
        id=str(number), prompt_tokens=1, token_ids=[1], text=text, finish_reason="stop", batch=0, batch_seconds=0.1
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["why"])
def test_every_case_of_the_table_gets_its_verdict(grader, case):
    prediction = case.get("prediction")
    if "text" in case:
        assert extract_strict(case["text"]) == case["strict"], "strict extraction"
        prediction = extract_lenient(case["text"])
        assert prediction == case["lenient"], "lenient extraction"
    found = grader.grade(case["gold"], prediction)
    assert found.verdict == case["verdict"]
    assert bool(found.reason) == (found.verdict == Verdict.undecided)
    if prediction and prediction.strip():
        assert grader.grade(prediction, case["gold"]).verdict == found.verdict, "from the other side"


@pytest.mark.parametrize(("way", "text", "answer"), EXAMPLES)
def test_every_way_to_end_an_answer_reads_the_examples_of_the_page(way, text, answer):
    assert ENDINGS[way](text) == answer
    assert extract_lenient(text) == answer, "no earlier way should read it otherwise"


def test_the_page_on_grading_has_an_example_of_every_way():
    assert list(dict.fromkeys(way for way, _, _ in EXAMPLES)) == list(ENDINGS)


@pytest.mark.parametrize(
    "behind",
    [
        "\n\nQuestion: A shop sells 41 hats. How many?\n#### 41",
        "\n### Problem 2: how many?\n#### 41",
        "<|im_end|>\n#### 41",
        "</s>41",
    ],
)
def test_nothing_behind_the_end_of_an_answer_counts(behind):
    assert extract_strict("20 + 6 = 26\n#### 26" + behind) == "26"
    assert extract_lenient("The answer is 26." + behind) == "26"
    assert extract_lenient("Question: how many?\nThe answer is 26.") == "26", "a question before the answer is none"


def hostile(case: dict, marker: Path) -> str:
    """Return the answer of a row of the table."""
    if "repeat" in case:
        return case["repeat"][0] * case["repeat"][1]
    return case["answer"].replace("{marker}", str(marker))


@pytest.mark.slow
def test_hostile_answers_cost_their_limit_at_most_and_harm_no_other_row(tmp_path):
    marker, limit = tmp_path / "marker", 0.5
    before = resident_bytes()
    with Grader(wall_seconds=limit) as grader:
        grader.grade("x+1", "1+x")  # starts the worker
        for case in HOSTILE:
            start = time.monotonic()
            judgement = grader.grade("17x", hostile(case, marker))
            seconds = time.monotonic() - start
            assert judgement.verdict != Verdict.equal, case["what"]
            assert seconds < limit + 30, f"{case['what']} took {seconds:.1f} s"
        assert grader.grade("17 apples", "17") == Judgement(Verdict.equal)
    assert not marker.exists(), "text was run as code"
    assert resident_bytes() - before < 100e6, "the parent should hold none of it"


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_the_row_after_one_that_cost_its_process_is_graded():
    with Grader(wall_seconds=PATIENT) as grader:
        assert grader.grade("x+1", "1+x") == Judgement(Verdict.equal)
        worker = grader._worker.pid
        (child,) = Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
        os.kill(int(child), signal.SIGKILL)
        assert grader.grade("x+1", "1+x") == Judgement(Verdict.undecided, "the comparison took its process down")
        assert grader.grade("x^2-1", "(x-1)(x+1)") == Judgement(Verdict.equal)
        assert grader._worker.pid == worker


@pytest.mark.parametrize(
    ("prediction", "reason"),
    [
        ("x" * 301, "longer than 300 characters"),
        ("(" * 21 + "x" + ")" * 21, "more than 20 brackets inside each other"),
        ("x^{10000}+1", "a number too large to compute"),
        ("9^{9^{9^{9}}}", "a number too large to compute"),
        ("10000!", "a number too large to compute"),
    ],
)
def test_what_is_too_long_too_deep_or_too_large_is_refused_before_any_comparison(prediction, reason):
    grader = Grader()
    assert grader.grade("17x", prediction) == Judgement(Verdict.undecided, reason)
    assert grader._worker is None


@pytest.mark.slow
def test_running_out_of_time_or_memory_is_undecided_and_says_so(monkeypatch):
    assert WALL_SECONDS == 2
    with Grader(wall_seconds=0.5) as hurried:
        assert hurried.grade("17", WITHOUT_END) == Judgement(Verdict.undecided, "the comparison ran out of time")
    monkeypatch.setattr(answers_worker, "same", lambda *_: len(bytearray(answers_worker.MEMORY_BYTES)))
    child, pipe = answers_worker.fork_child(WALL_SECONDS)
    pipe.send(("17", "18"))
    assert pipe.recv() == [False, "the comparison ran out of memory"]
    child.kill()


def test_the_comparing_process_may_neither_write_nor_connect_nor_start_others(monkeypatch, tmp_path):
    attempts = [
        lambda *_: (tmp_path / "marker").touch(),
        lambda *_: (tmp_path / "marker").write_text("here"),
        lambda *_: socket.socket(),
        lambda *_: os.system("true"),
        lambda *_: subprocess.run(["true"]),
    ]
    for attempt in attempts:
        monkeypatch.setattr(answers_worker, "same", attempt)
        child, pipe = answers_worker.fork_child(WALL_SECONDS)
        pipe.send(("17", "18"))
        assert pipe.recv() == [False, "the comparison failed: PermissionError"]
        child.kill()
    assert not list(tmp_path.iterdir())


def test_grading_works_off_the_main_thread(grader):
    found = []
    thread = threading.Thread(target=lambda: found.append(grader.grade("x+1", "1+x").verdict))
    thread.start()
    thread.join()
    assert found == [Verdict.equal]


@pytest.mark.slow
def test_a_thousand_ordinary_rows_are_graded():
    texts = ["3 * 5 = 15\n#### {}", "so \\boxed{{{}}}", "The answer is {} apples.", "it is {} then"]
    rows = [generation(i, texts[i % 4].format(i if i % 10 else f"{i}x + 1 - 0")) for i in range(1000)]
    gold = {str(i): str(i) if i % 10 else f"1 + {i}x" for i in range(1000)}
    scores = score(rows, gold)
    assert sum(row.lenient_verdict == "equal" for row in scores) > 850


def test_scores_keep_both_readings_and_the_reason():
    rows = [generation(1, "The answer is 15"), generation(2, "#### 16"), generation(3, "#### some apples")]
    first, second, third = score(rows, {"1": "15", "2": "15", "3": "15"})
    assert (first.strict, first.strict_verdict, first.lenient_verdict) == (None, "different", "equal")
    assert (second.strict_verdict, second.lenient_verdict, second.reason) == ("different", "different", None)
    assert third.strict_verdict == "undecided" and third.reason == "the prediction cannot be parsed"


@pytest.mark.slow
def test_extraction_is_linear_in_the_length_of_a_text():
    start = time.thread_time()
    for text in (
        "\\boxed{" * 30_000,
        "{" * 200_000,
        "#### \n" * 30_000,
        "answer is " * 30_000,
        "1," * 100_000,
        "$1" * 60_000,
    ):
        extract_lenient(text)
    for text in ("\\(1" * 30_000, "\\[1" * 30_000, "answer:" + " " * 100_000, "\\boxed{1}," * 20_000):
        extract_lenient(text)
    assert time.thread_time() - start < 15, "quadratic time would be minutes"
