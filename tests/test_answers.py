"""Extraction and grading of answers, ordinary and hostile: .venv/bin/pytest tests/test_answers.py

The case table tests/cases/answers.jsonl grows with every failure seen.
"""

import json
import os
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from doubledraft import answers_worker
from doubledraft.answers import WALL_SECONDS, Grader, Judgement, Verdict, extract_lenient, extract_strict, score
from doubledraft.records import Generation

CASES = [
    json.loads(line) for line in Path(__file__).with_name("cases").joinpath("answers.jsonl").read_text().splitlines()
]
HOSTILE = [  # (prediction, what it tries)
    ("100000000!", "a huge factorial"),
    ("9^{9^{9^{9}}}", "a tower of powers"),
    ("(x+1)^{100000000}", "a huge expansion"),
    ("10^{10^{10}}+x", "a number that fills the memory"),
    (r"\sum_{n=1}^{100000000}\frac{1}{n^{3}+n}", "a long sum"),
    (r"\int_0^1 \exp(x^{x^{x^x}})\sin(x^{9})dx", "an integral without closed form"),
    ("(" * 140 + "x" + ")" * 140, "deep nesting"),
    ("{" * 150, "unbalanced braces"),
    (r"\frac{1}{" * 30 + "2" + "}" * 30, "nested fractions"),
    ("1" * 250 + "!", "the factorial of a long number"),
    ("7" * 100_000, "a very long number"),
    ("\x00\x1b[31m\u202e5", "control characters"),
    ("__import__('os').system('touch {marker}')", "a call"),
    ("().__class__.__base__.__subclasses__()", "an attribute walk"),
    (r"\text{__import__('pathlib').Path('{marker}').touch()}+x", "a call in text"),
    ("open('{marker}','w')+x", "a written file"),
    ("lambda: (yield)", "syntax"),
]


@pytest.fixture(scope="module")
def grader():
    with Grader() as grader:
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
    assert grader.grade(case["gold"], prediction).verdict == case["verdict"]


def test_undecided_always_has_a_reason_and_other_verdicts_never(grader):
    for case in CASES:
        judgement = grader.grade(case["gold"], case.get("prediction"))
        assert bool(judgement.reason) == (judgement.verdict == Verdict.undecided), (case, judgement)


def test_every_decidable_gold_answer_equals_itself(grader):
    for gold in {case["gold"] for case in CASES} - {"1/0"}:
        assert grader.grade(gold, gold).verdict == Verdict.equal, gold


def test_equality_does_not_depend_on_the_side(grader):
    for case in CASES:
        if case.get("prediction") and case["verdict"] == "equal" and case["why"] != "a calculation ends in its value":
            assert grader.grade(case["prediction"], case["gold"]).verdict == Verdict.equal, case


def test_hostile_answers_cost_their_limit_at_most_and_harm_no_other_row(tmp_path):
    marker, limit = tmp_path / "marker", 0.5
    with Grader(wall_seconds=limit) as grader:
        grader.grade("x+1", "1+x")  # starts the worker
        for prediction, what in HOSTILE:
            start = time.monotonic()
            judgement = grader.grade("17x", prediction.replace("{marker}", str(marker)))
            seconds = time.monotonic() - start
            assert judgement.verdict != Verdict.equal, what
            assert seconds < limit + 5, f"{what} took {seconds:.1f} s"
            assert grader.grade("x^2-1", "(x-1)(x+1)") == Judgement(Verdict.equal), f"the row after {what}"
    assert not marker.exists(), "text was run as code"


def test_running_out_of_time_or_memory_is_undecided_and_says_so(grader, monkeypatch):
    assert WALL_SECONDS == 2
    assert grader.grade("17", "100000000!") == Judgement(Verdict.undecided, "the comparison ran out of time")
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


def test_extraction_is_linear_in_the_length_of_a_text():
    start = time.monotonic()
    for text in ("\\boxed{" * 30_000, "{" * 200_000, "#### \n" * 30_000, "answer is " * 30_000, "1," * 100_000):
        extract_lenient(text)
    assert time.monotonic() - start < 5
