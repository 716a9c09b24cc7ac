"""Time the grading of answers: 1,000 ordinary rows, then each hostile answer of tests/grading/hostile.jsonl.

    .venv/bin/python -m benchmarks.grading

A row is a text with a box, graded in both readings. The boxes hold the decided rows of tests/grading/answers.jsonl over
and over: six in ten are numbers, words and lists, four in ten go to the worker as algebra. The time includes the start
of the worker. A hostile answer is graded against `17x`; its time may pass the limit of a comparison only by what it
takes to replace the process that it cost.
"""

import json
import sys
import time
from itertools import cycle, islice
from pathlib import Path

from doubledraft.grading.grader import Grader, score
from doubledraft.records import Generation

CASES = Path(__file__).parents[1] / "tests/grading"
ROWS = 1000
SHOWN = 44  # characters of an answer in the table


def read(name: str) -> list[dict]:
    """Read a case table."""
    return [json.loads(line) for line in (CASES / name).read_text(encoding="utf-8").split("\n") if line]


def ordinary() -> tuple[list[Generation], dict[str, str], list[str]]:
    """Return rows, gold answers by id, and the verdict that each row should get."""
    cases = [case for case in read("answers.jsonl") if case.get("prediction") and case["verdict"] != "undecided"]
    rows, gold, verdicts = [], {}, []
    for number, case in enumerate(islice(cycle(cases), ROWS)):
        text = f"Some steps come first, 3 * 5 = 15.\nSo it is $\\boxed{{{case['prediction']}}}$."
        rows.append(
            Generation(
                id=str(number),
                prompt_tokens=1,
                token_ids=[1],
                text=text,
                finish_reason="stop",
                batch=0,
                batch_seconds=1.0,
            )
        )
        gold[str(number)] = case["gold"]
        verdicts.append(case["verdict"])
    return rows, gold, verdicts


def main() -> None:
    """Print both tables."""
    rows, gold, verdicts = ordinary()
    start = time.monotonic()
    scores = score(rows, gold)
    seconds = time.monotonic() - start
    right = sum(row.lenient_verdict == verdict for row, verdict in zip(scores, verdicts, strict=True))
    sys.stdout.write(f"{ROWS} ordinary rows: {seconds:.1f} s, {right} with the verdict of the table\n\n")
    sys.stdout.write(f"{'answer':{SHOWN}}  {'verdict':9}  {'seconds':>7}  reason\n")
    with Grader() as grader:
        grader.grade("x+1", "1+x")  # starts the worker
        for case in read("hostile.jsonl"):
            answer = case.get("answer") or case["repeat"][0] * case["repeat"][1]
            start = time.monotonic()
            judgement = grader.grade("17x", answer)
            seconds = time.monotonic() - start
            shown = ascii(answer)[1:-1].replace("\\\\", "\\")
            shown = shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 3]}..."
            reason = judgement.reason or ""
            sys.stdout.write(f"{shown:{SHOWN}}  {judgement.verdict.value:9}  {seconds:7.2f}  {reason}\n")


if __name__ == "__main__":
    main()
