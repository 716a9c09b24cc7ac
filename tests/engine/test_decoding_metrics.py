"""Figures of a hand-made run."""

import pytest

from doubledraft.engine.decoding_metrics import Answer, DecodingStep, Metrics, StepTime, by_token_class, token_class
from doubledraft.evaluation.acceptance import CounterError, per_position_acceptance, summary

# Token 10 comes from the prompt's pass; the last step keeps two drafted tokens, of which the second ends the answer.
STEPS = [
    DecodingStep(drafted=[11, 12, 13], agreed=[True, False, True], accepted=1, emitted=2),
    DecodingStep(drafted=[21, 22, 23], agreed=[True, True, False], accepted=2, emitted=2),
]
ANSWER = Answer(prompt_tokens=4, token_ids=[10, 11, 14, 21, 22], finish_reason="stop", steps=STEPS)
TIMES = [StepTime(3, 0.3, 1.0), StepTime(3, 0.6, 2.0)]


def test_both_acceptances_and_tokens_per_step_follow_from_the_trace():
    figures = summary(Metrics([ANSWER], 0.5, TIMES))
    assert figures["tokens_per_step"] == 5 / 3
    assert figures["acceptance_rate"] == 3 / 6, "a prefix count: the 13 of the first step came after a refusal"
    assert figures["order_independent_agreement"] == 4 / 6, "counted beyond the first refusal too"
    assert figures["self_check"]["excess"] == 1, "the token after the end was not emitted"
    assert sum(figures["per_token_acceptance"] ** i for i in (1, 2, 3)) == pytest.approx(0.5 * 3)


def test_times_add_up_and_a_drafted_token_has_its_share():
    metrics = Metrics([ANSWER], 0.5, TIMES)
    assert summary(metrics)["seconds"] == pytest.approx(4.4)
    assert metrics.elapsed() == pytest.approx([0.5, 1.8, 4.4])
    assert metrics.step_seconds() == {"target": None, "draft": pytest.approx(0.15), "verify": 1.5}


def test_plain_decoding_has_a_target_step_and_no_acceptance():
    steps = [DecodingStep([], [], 0, 1)] * 2
    figures = summary(Metrics([Answer(4, [1, 2, 3], "length", steps)], 0.5, [StepTime(0, 0.0, 1.0)] * 2))
    assert figures["tokens_per_step"] == 1
    assert figures["step_seconds"] == {"target": 1.0, "draft": None, "verify": None}
    assert [figures[name] for name in ("acceptance_rate", "order_independent_agreement", "per_token_acceptance")] == [
        None,
        None,
        None,
    ]


def test_drafts_of_different_lengths_have_no_per_token_acceptance():
    steps = [DecodingStep([11], [True], 1, 2), *STEPS[:1]]
    answer = Answer(4, [10, 11, 12, 11, 14], "length", steps)
    assert summary(Metrics([answer], 0.5, TIMES))["per_token_acceptance"] is None


def test_a_row_is_the_record_that_other_engines_write():
    row = ANSWER.as_generation("q1")
    assert (row.steps, row.drafted, row.accepted, row.accepted_per_step) == (3, 6, 3, [1, 2])
    assert [share.value for share in per_position_acceptance([row], 3)] == [1, 0.5, 0]
    assert (row.drafts, row.agreed) == ([[11, 12, 13], [21, 22, 23]], [step.agreed for step in STEPS])


def test_counters_that_contradict_the_tokens_are_refused():
    with pytest.raises(CounterError, match="question '0'"):
        summary(Metrics([Answer(4, [10, 11, 14, 21, 22, 30, 31], "stop", STEPS)], 0.5, TIMES))


def test_classes_count_drafted_kept_and_agreed_tokens():
    text = {11: " boxes", 12: " 4", 13: " *", 21: "\n", 22: "<|im_end|>", 23: "####"}
    assert by_token_class(STEPS, text.__getitem__, stop_ids={22}) == {
        "words": {"drafted": 1, "accepted": 1, "agreed": 1},
        "digits and operators": {"drafted": 2, "accepted": 0, "agreed": 1},
        "space and punctuation": {"drafted": 1, "accepted": 1, "agreed": 1},
        "end of answer": {"drafted": 1, "accepted": 1, "agreed": 1},
        "answer marker": {"drafted": 1, "accepted": 0, "agreed": 0},
    }


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (" 42", "digits and operators"),
        ("=", "digits and operators"),
        (" \\", "digits and operators"),
        ("3x", "words"),
        (" rolls", "words"),
        ("####", "answer marker"),
        (" ##", "answer marker"),
        (".", "space and punctuation"),
        ("\n", "space and punctuation"),
    ],
)
def test_tokens_fall_into_classes(text: str, name: str):
    assert token_class(text) == name
