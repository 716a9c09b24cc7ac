"""Results of speed experiments are ratios of totals, paired, with their spread."""

import pytest

from doubledraft.engine.decoding_metrics import Answer, DecodingStep, Metrics, StepTime
from doubledraft.evaluation.arms import Timing
from doubledraft.evaluation.experiment_results import Spread, samples, summarize
from doubledraft.evaluation.interleave import BASELINE
from doubledraft.questions.data_sets import DataSet, JudgedBy
from doubledraft.records import Question


def timing(arm: str, question: int, repeat: int, seconds: float, steps: list[DecodingStep], ids: list[int]) -> Timing:
    """Return an answer that took `seconds`, half of them for the prompt."""
    answer = Answer(3, ids, "length", steps)
    times = [StepTime(len(step.drafted), 0.0, seconds / 2 / len(steps)) for step in steps]
    return Timing(arm, question, repeat, seconds, Metrics([answer], seconds / 2, times))


QUESTIONS = [Question(id=f"q{at}", scenario="x", split="test", question="?", answer="", steps=[]) for at in range(2)]
DATA = DataSet("x", QUESTIONS, JudgedBy.nothing, {})
PLAIN = [DecodingStep([], [], 0, 1)] * 2
DRAFTED = [DecodingStep([7, 8], [True, False], 1, 2)]
TIMINGS = [
    timing(arm, question, repeat, seconds, PLAIN if arm == BASELINE else DRAFTED, [6, 7, last])
    for repeat in range(2)
    for arm, question, seconds, last in [
        (BASELINE, 0, 4.0 + repeat, 9),
        ("near", 0, 2.0, 9),
        (BASELINE, 1, 1.0, 9),
        ("near", 1, 0.5 + repeat, 9 + repeat),  # another token in the second repeat
    ]
]


def test_a_speedup_is_a_ratio_of_totals_with_the_spread_of_the_repeats():
    baseline, near = summarize(TIMINGS, DATA, str, seed=1)
    assert (baseline.arm, near.arm) == (BASELINE, "near")
    assert near.speedup.value == pytest.approx((4 + 5 + 1 + 1) / (2 + 2 + 0.5 + 1.5))
    assert near.speedup.n == near.n == 2 and near.repeats == 2, "questions are resampled, not repeats"
    assert near.speedup_of_repeats == Spread(pytest.approx(1.8571428), pytest.approx(6 / 3.5), pytest.approx(5 / 2.5))
    assert near.tokens_per_second == Spread(pytest.approx(2.0571428), pytest.approx(6 / 3.5), pytest.approx(6 / 2.5))
    assert baseline.speedup.value == 1


def test_acceptance_counts_up_to_the_first_refusal_and_steps_count_the_prompts_pass():
    baseline, near = summarize(TIMINGS, DATA, str, seed=1)
    assert near.tokens_per_step.value == pytest.approx(3 / 2) and baseline.tokens_per_step.value == 1
    assert near.acceptance_rate.value == near.order_independent_agreement.value == 0.5
    assert near.mean_draft_length == 2
    assert baseline.acceptance_rate is None and baseline.mean_draft_length is None, "a share of nothing"


def test_a_question_counts_as_identical_only_if_every_repeat_gave_the_baselines_tokens():
    baseline, near = summarize(TIMINGS, DATA, str, seed=1)
    assert near.identical_rate.value == 0.5 and baseline.identical_rate.value == 1


def test_samples_have_every_timed_answer_under_its_questions_name():
    rows = samples("x", QUESTIONS, TIMINGS)
    assert len(rows) == len(TIMINGS)
    assert rows[1] == {
        "data": "x",
        "arm": "near",
        "repeat": 0,
        "question": "q0",
        "seconds": 2.0,
        "prompt_tokens": 3,
        "emitted": 3,
        "steps": 2,
        "drafted": 2,
        "accepted": 1,
    }
