"""How the adaptive rule weighs a chance against a price."""

from statistics import mean

import pytest
import torch

from doubledraft.engine.decoding_metrics import DecodingStep, StepTime
from doubledraft.engine.draft_length import BINS, AdaptiveLength, FixedLength
from doubledraft.evaluation.acceptance import best_draft_length

SURE, UNSURE = torch.tensor([[9.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.1, 0.0]])


def step(drafted: int, accepted: int) -> DecodingStep:
    return DecodingStep([0] * drafted, [index < accepted for index in range(drafted)], accepted, accepted + 1)


def draft(rule: AdaptiveLength, logits: torch.Tensor, rows: int = 1) -> int:
    """Draft tokens of one confidence as long as the rule goes on; gives how many."""
    rule.begin([True] * rows)
    for length in range(1, rule.longest + 1):
        if not rule.goes_on(logits.expand(rows, -1), logits.argmax(-1).expand(rows)):
            return length
    return rule.longest


def test_a_fixed_length_always_goes_on():
    rule = FixedLength(3)
    rule.begin([True])
    assert rule.goes_on(UNSURE, UNSURE.argmax(-1))


def test_without_a_measured_cost_it_drafts_as_far_as_it_may():
    assert AdaptiveLength(longest=6).longest == draft(AdaptiveLength(longest=6), UNSURE) == 6


def test_confident_tokens_are_drafted_further_than_unsure_ones():
    rule = AdaptiveLength()
    for _ in range(20):
        length = draft(rule, SURE)
        rule.learn([step(length, length)], StepTime(length, 0.1 * length, 1.0))
        length = draft(rule, UNSURE)
        rule.learn([step(length, 0)], StepTime(length, 0.1 * length, 1.0))
    assert draft(rule, SURE) > draft(rule, UNSURE) == 1


@pytest.mark.slow
@pytest.mark.parametrize("cost", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("alpha", [0.6, 0.8, 0.9])
def test_with_one_confidence_it_comes_to_the_best_length_of_the_cost_model(alpha: float, cost: float):
    """Every token has the same chance, so the rule must find the optimum that `speculation` has in closed form."""
    random = torch.Generator().manual_seed(0)
    rule, lengths = AdaptiveLength(), []
    for _ in range(2000):
        lengths.append(draft(rule, SURE))
        kept = int((torch.rand(lengths[-1], generator=random) < alpha).cumprod(0).sum())
        rule.learn([step(lengths[-1], kept)], StepTime(lengths[-1], cost * lengths[-1], 1.0))
    assert mean(lengths[1000:]) == pytest.approx(best_draft_length(alpha, cost, 1.0, 5), abs=1)


def test_a_verification_that_grows_with_its_tokens_shortens_the_draft():
    def settled(growth: float) -> int:
        rule = AdaptiveLength()
        for index in range(100):
            length = min(draft(rule, SURE), 2 if index % 4 else 16)  # near its limit an answer takes short drafts
            rule.learn([step(length, length - index % 2)], StepTime(length, 0.05 * length, 1.0 + growth * length))
        return draft(rule, SURE)

    assert settled(growth=0.3) < settled(growth=0.0)


def test_rows_that_have_ended_expect_nothing():
    rule = AdaptiveLength()
    rule.learn([step(4, 2), None], StepTime(4, 0.4, 1.0))
    rule.begin([False, False])
    assert not rule.goes_on(SURE.expand(2, -1), torch.zeros(2, dtype=torch.long))


def test_only_tokens_up_to_the_first_refusal_are_counted():
    rule = AdaptiveLength(longest=5)
    before = sum(rule._judged)
    assert draft(rule, SURE) == 5
    rule.learn([step(5, 2)], StepTime(5, 0.5, 1.0))
    assert sum(rule._judged) == before + 3
    assert rule._accepted[BINS - 1] == pytest.approx(2 * 0.95 + 2)


@pytest.mark.parametrize("rule", [FixedLength, AdaptiveLength])
def test_a_draft_of_no_tokens_is_refused(rule):
    with pytest.raises(ValueError, match="at least 1 token, found 0"):
        rule(0)
