"""What a paid teacher costs."""

from dataclasses import replace

import pytest

from doubledraft.traces.teacher import budget
from doubledraft.traces.teacher.budget import BudgetError
from doubledraft.traces.teacher.ledger import Ledger
from doubledraft.traces.teacher.messages import request
from tests.helpers.teacher import SETTINGS, reply

REQUESTS = [
    request(id, 1, [{"role": "system", "content": "Reason."}, {"role": "user", "content": "1 + 1?"}], SETTINGS)
    for id in ("a", "b")
]


def test_an_estimate_has_the_likely_cost_and_the_most():
    estimate = budget.estimate(REQUESTS, SETTINGS, tokens_per_reply=50)
    assert (estimate.requests, estimate.input_tokens, estimate.output_tokens) == (2, 2 * (3 + 2), 100)
    assert estimate.usd == pytest.approx((10 * 1 + 100 * 10) / 1e6)
    assert estimate.most_usd == pytest.approx(2 * ((7 + 16 + 6 + 16) * 1 + 100 * 10) / 1e6)


def test_the_most_covers_text_of_more_bytes_than_characters():
    question = request("a", 1, [{"role": "user", "content": "∀x∈ℝ"}], SETTINGS)
    free_replies = replace(SETTINGS, max_output_tokens=0)
    assert budget.estimate([question], free_replies).most_usd == pytest.approx((3 + 1 + 3 + 3 + 16) / 1e6)


def test_what_could_pass_the_budget_is_refused_with_the_way_out():
    estimate = budget.estimate(REQUESTS, SETTINGS)
    budget.check(estimate, SETTINGS.budget - estimate.most_usd, SETTINGS)
    with pytest.raises(BudgetError, match=r"teacher\.budget is 1\.00 USD, of which 1\.00 .*2 more requests.*Raise"):
        budget.check(estimate, SETTINGS.budget - estimate.most_usd / 2, SETTINGS)


def test_money_is_set_aside_against_all_ledgers_of_the_study(tmp_path):
    most = budget.estimate(REQUESTS, SETTINGS).most_usd
    settings = replace(SETTINGS, budget=1.5 * most)
    with Ledger(tmp_path / "cot_easy.jsonl") as easy, Ledger(tmp_path / "cot_hard.jsonl") as hard:
        budget.reserve(REQUESTS, easy, settings)
        with pytest.raises(BudgetError):
            budget.reserve(REQUESTS, hard, settings)
        assert hard.committed == 0, "a refusal sets nothing aside"
        budget.reserve(REQUESTS, easy, settings)
        assert easy.committed == pytest.approx(most), "asking on after a kill is not counted twice"
        easy.record(reply(REQUESTS[0].key, input_tokens=1, output_tokens=0), settings)
        budget.reserve(REQUESTS[:1], hard, settings)


def test_cost_per_kept_trace_is_undefined_where_none_was_kept():
    assert budget.cost_per_kept(3.0, 4) == 0.75
    assert budget.cost_per_kept(3.0, 0) is None
