"""What traces will cost, before anything is paid."""

import json
from pathlib import Path

import pytest
import yaml

from doubledraft.questions.wordproblems import generate
from doubledraft.records import write_records
from doubledraft.traces import estimate as estimating
from doubledraft.traces.teacher import messages, prompt
from doubledraft.traces.teacher.ledger import Ledger
from doubledraft.traces.teacher.messages import Finish, Reply
from doubledraft.traces.teacher.settings import read_settings

ROOT = Path(__file__).parents[2]
QUESTIONS = generate.generate("easy", "train", 10, 17, "easy")
RULE = {"min_steps": 3, "max_steps": 5, "max_words": 5}
TEACHER = yaml.safe_load((ROOT / "config/config.yaml").read_text())["teacher"] | {
    "name": "openai",
    "model": "tiny",
    "price": {"input": 1.0, "output": 10.0},
    "budget": 1.0,
    "max_output_tokens": 1000,
    "attempts": 3,
}


def prompt_file(role: str) -> Path:
    return ROOT / f"config/prompts/teacher_{role}.yaml"


def estimate(folder: Path, role: str | None, **changes) -> dict:
    write_records(folder / "questions.jsonl", QUESTIONS)
    estimating.write(
        questions=folder / "questions.jsonl",
        prompt_file=prompt_file(role) if role else None,
        ledgers=sorted(folder.glob("ledger/*.jsonl")),
        out=folder / "estimate.json",
        role=role,
        rule=RULE if role != "solve" else None,
        teacher=(TEACHER | changes) if role else {"name": "oracle"},
    )
    return json.loads((folder / "estimate.json").read_text())


def test_where_nobody_is_asked_nothing_is_paid(tmp_path):
    found = estimate(tmp_path, None)
    assert found["teacher"] == {"name": "oracle"} and found["allowed"]
    assert (found["requests"], found["usd_low"], found["usd_high"], found["usd_budget"]) == (0, 0, 0, None)


def test_ends_are_one_likely_reply_each_and_every_attempt_at_full_length(tmp_path):
    found = estimate(tmp_path, "solve")
    output = 10 * 1000 * 10.0 / 1e6  # ten full replies
    assert (found["requests"], found["answered"]) == (10, 0)
    assert found["usd_low"] < output < found["usd_first_round"] < 1.2 * output
    assert found["usd_high"] == pytest.approx(3 * found["usd_first_round"])
    likely = found["output_tokens"] / 10
    assert 10 < likely < 200, "about as long as the questions' own solutions"


def test_drafts_are_short_and_condensing_sends_the_chain_of_thought(tmp_path):
    anew, condensed = estimate(tmp_path, "independent"), estimate(tmp_path, "condense")
    assert anew["output_tokens"] == condensed["output_tokens"] == 10 * 5 * 5
    assert condensed["input_tokens"] > anew["input_tokens"]
    assert condensed["usd_first_round"] > anew["usd_first_round"] + 10 * 1000 * 1.0 / 1e6 * 0.9


def test_what_is_paid_for_counts_against_the_budget_and_is_not_asked_again(tmp_path):
    settings = read_settings(TEACHER)
    template = prompt.load(prompt_file("solve"), "solve")
    with Ledger(tmp_path / "ledger/cot_easy.jsonl") as ledger:
        for question in QUESTIONS[:4]:
            asked = messages.request(
                question.id, 1, prompt.messages(template, {"question": question.question}), settings
            )
            reply = Reply(key=asked.key, finish=Finish.stop, text="x", reason=None, input_tokens=100, output_tokens=50)
            ledger.record(reply, settings)
    found = estimate(tmp_path, "solve")
    assert (found["requests"], found["answered"]) == (6, 4)
    assert found["usd_spent"] == pytest.approx(4 * (100 * 1 + 50 * 10) / 1e6)
    assert estimate(tmp_path, "solve", model="other")["answered"] == 0


def test_a_first_round_over_the_budget_is_said(tmp_path):
    assert not estimate(tmp_path, "solve", budget=0.05)["allowed"]
    assert estimate(tmp_path, "solve", budget=0.5)["allowed"]
