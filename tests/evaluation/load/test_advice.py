"""The advice in a sentence, from loads whose costs are known, and the warning of a machine that was not steady."""

import pytest

from doubledraft.evaluation.load.advice import unsteady, verdict
from doubledraft.summaries.advice import LoadAdvice, LoadCosts


def load(number: int, best: int, speedup: float, needed: float | None = 0.5, drift: float = 1.0) -> LoadAdvice:
    parts = {"prefill": 0.05, "draft_prefill": 0.05, "target": 0.01, "draft": 0.001, "verify": {"2": 0.01}}
    return LoadAdvice(
        costs=LoadCosts(load=number, answer_tokens=60, drift=drift, **parts),
        speedups={str(best or 1): speedup},
        best_draft_length=best,
        best_speedup=speedup,
        acceptance_needed=needed,
        tokens_per_second=100.0,
        usd_per_million_tokens=None,
        usd_per_million_tokens_drafted=None,
    )


@pytest.mark.parametrize(
    ("loads", "sentence"),
    [
        (
            [(1, 4, 1.5), (2, 2, 1.2)],
            "Worth it: with K = 4 it is 1.50 times as fast at 1 request in flight, and it pays",
        ),
        (
            [(1, 4, 1.5), (2, 0, 1.0)],
            "Worth it at low load: with K = 4 it is 1.50 times as fast at 1 request in flight",
        ),
        (
            [(1, 0, 1.0), (2, 2, 1.2)],
            "Worth it at some loads: with K = 2 it is 1.20 times as fast at 2 requests in fli",
        ),
        (
            [(1, 0, 1.0), (2, 0, 1.0)],
            "Not worth it: drafting would pay from an acceptance per token of 0.50 on, and it",
        ),
        ([(1, 0, 1.0, None)], "Not worth it: a drafted token costs so much that no acceptance would pay."),
    ],
)
def test_the_verdict_names_the_best_length_and_the_loads_at_which_it_pays(loads, sentence):
    assert verdict([load(*one) for one in loads], 0.3).startswith(sentence)


def test_a_load_whose_prompts_took_longer_at_its_end_is_named():
    costs = [load(1, 4, 1.5, drift=1.01).costs, load(2, 4, 1.5, drift=1.4).costs]
    [warning] = unsteady(costs)
    assert "took 1.40 times as long at 2 in flight" in warning and "1 in flight" not in warning
    assert unsteady(costs[:1]) == []
