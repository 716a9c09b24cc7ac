"""The cost model at every load, by hand and against vLLM's own reading of the schedule."""

import pytest

from doubledraft.evaluation.acceptance import predicted_speedup
from doubledraft.evaluation.load.costs import acceptance_needed, best_length, off_from, schedule, speedup
from doubledraft.summaries.advice import LoadCosts


def costs(target: float, draft: float, verify: dict[str, float], *, prefill: float = 0.05, tokens: float = 61):
    parts = {"prefill": prefill, "draft_prefill": prefill * 1.2, "target": target, "draft": draft, "verify": verify}
    return LoadCosts(load=1, answer_tokens=tokens, **parts)


ALONE = costs(0.010, 0.001, {"2": 0.010, "6": 0.012})
CROWDED = costs(0.020, 0.005, {"2": 0.060, "6": 0.140})


def test_an_answer_is_its_prompt_and_its_steps_and_verification_a_straight_line():
    steps = 61 / 3.05 - 1
    assert speedup(ALONE, 4, 3.05) == pytest.approx((0.05 + 60 * 0.010) / (0.06 + steps * (0.011 + 4 * 0.001)))
    assert speedup(ALONE, 8, 3.05) == pytest.approx((0.05 + 60 * 0.010) / (0.06 + steps * (0.013 + 8 * 0.001)))
    assert speedup(ALONE, 0, 1.0) == 1


def test_of_long_answers_it_is_the_published_cost_model():
    long = costs(0.010, 0.001, {"2": 0.010, "6": 0.012}, tokens=1e6)
    assert speedup(long, 4, 3.0) == pytest.approx(predicted_speedup(3.0, 4, 0.1, 1.1), rel=1e-4)


def test_the_best_length_falls_with_the_load_and_is_none_where_nothing_pays():
    tokens = {1: 1.8, 2: 2.4, 4: 3.2, 8: 3.9}
    assert best_length(ALONE, tokens) == 4
    assert best_length(CROWDED, tokens) == 0


def test_the_acceptance_needed_is_where_the_best_length_begins_to_pay():
    plain, cost = 0.05 + 60 * 0.010, 0.010 + 0.001  # a step of one drafted token: the line gives less than a plain step
    assert acceptance_needed(ALONE, [1]) == pytest.approx(60 / ((plain - 0.06) / cost) - 1, abs=1e-4)
    assert acceptance_needed(CROWDED, range(1, 9)) is None, "not even if every token were accepted"


def test_a_draft_that_is_never_accepted_pays_nowhere_whatever_noise_is_in_the_times():
    noisy = LoadCosts(load=2, answer_tokens=61, prefill=0.2, draft_prefill=0.1, target=0.020, draft=0.001,
                      verify={"2": 0.015, "8": 0.060})  # fmt: skip
    assert best_length(noisy, dict.fromkeys(range(1, 17), 1.0)) == 0


@pytest.mark.parametrize(
    ("best", "load"), [({1: 4, 2: 2, 4: 0, 8: 0}, 4), ({1: 0, 2: 0}, 1), ({1: 4, 2: 0, 4: 2}, None), ({1: 3}, None)]
)
def test_drafting_is_off_from_the_first_load_after_which_it_never_pays(best, load):
    assert off_from(best) == load


def test_vllm_reads_the_schedule():
    from vllm.v1.spec_decode.dynamic.utils import build_dynamic_sd_schedule_lookup

    ranges = schedule({1: 4, 2: 4, 4: 2, 8: 0, 16: 0})
    assert ranges == [[1, 3, 4], [4, 7, 2], [8, 16, 0]]
    assert build_dynamic_sd_schedule_lookup(ranges, 20, 4)[1:] == [4] * 3 + [2] * 4 + [0] * 13
    assert schedule({2: 3, 4: 0}) == [[1, 3, 3], [4, 4, 0]], "the smallest load counts for those below it"
