"""The accept rule on hand-made distributions."""

import math

import pytest
import torch

from doubledraft.engine.sampling import Sampling, accept, accept_greedy, draw, leading, passes, probabilities, residual

DRAWS = 200_000


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_residual_is_what_p_has_more_than_q():
    p, q = torch.tensor([[0.5, 0.3, 0.2]]), torch.tensor([[0.2, 0.6, 0.2]])
    assert residual(p, q).tolist() == [[1, 0, 0]]
    assert torch.allclose(residual(p, torch.tensor([[0.4, 0.1, 0.5]])), torch.tensor([[1 / 3, 2 / 3, 0]]))


def test_residual_without_a_draft_is_p_and_of_equals_is_no_nan():
    p = torch.tensor([[0.5, 0.3, 0.2]])
    assert torch.allclose(residual(p, torch.zeros_like(p)), p)
    assert torch.equal(residual(p, p), p)


def test_a_token_passes_with_chance_p_over_q():
    chance = torch.rand(DRAWS, generator=generator())
    share = passes(chance, torch.full((DRAWS,), 0.3), torch.full((DRAWS,), 0.6)).float().mean().item()
    assert share == pytest.approx(0.5, abs=0.005), "0.005 is 4.5 standard deviations: false alarm 7e-6"
    assert passes(chance, torch.tensor(0.4), torch.tensor(0.4)).all(), "p = q always passes"
    assert not passes(torch.zeros(1), torch.zeros(1), torch.ones(1)).any(), "p = 0 never passes"


def test_only_real_tokens_before_the_first_refusal_count():
    agreed = torch.tensor([[1, 1, 0, 1], [1, 1, 1, 1], [0, 1, 1, 1], [1, 1, 1, 1]], dtype=torch.bool)
    assert leading(agreed, torch.tensor([4, 4, 4, 2])).tolist() == [2, 4, 0, 2]


def test_greedy_keeps_the_best_tokens_and_adds_the_one_that_follows():
    best = torch.tensor([[5, 6, 7], [5, 6, 7], [5, 6, 7]])
    verdict = accept_greedy(best, torch.tensor([[5, 6], [5, 9], [9, 6]]), torch.tensor([2, 2, 2]))
    assert verdict.accepted.tolist() == [2, 1, 0]
    assert verdict.next_token.tolist() == [7, 6, 5]
    assert verdict.agreed.tolist() == [[True, True], [True, False], [False, True]]


def test_a_row_with_a_shorter_draft_gets_its_own_next_token():
    best, drafted = torch.tensor([[5, 6, 7]]), torch.tensor([[5, 6]])
    verdict = accept_greedy(best, drafted, torch.tensor([1]))
    assert (verdict.accepted.item(), verdict.next_token.item()) == (1, 6)


@pytest.mark.parametrize("drawn", [True, False], ids=["drawn from q", "not drawn"])
@pytest.mark.parametrize("length", [0, 1, 2])
def test_every_emitted_token_is_distributed_as_p(drawn: bool, length: int):
    """Chi-square of the first token; false alarm 1e-5 a case."""
    from scipy.stats import chisquare

    p = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).expand(DRAWS, 3, 4)
    q = torch.tensor([[0.4, 0.1, 0.4, 0.1]]).expand(DRAWS, 2, 4)
    random = generator(1)
    drafted = q[:, 0].multinomial(2, replacement=True, generator=random) if drawn else torch.ones(DRAWS, 2).long()
    verdict = accept(p, q if drawn else None, drafted, torch.full((DRAWS,), length), random)
    first = torch.where(verdict.accepted > 0, drafted[:, 0], verdict.next_token)
    expected = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.double) * DRAWS
    assert chisquare(first.bincount(minlength=4), expected).pvalue > 1e-5
    assert verdict.accepted.max() == length


def test_a_refused_token_that_was_not_drawn_never_returns():
    p = torch.tensor([[0.5, 0.3, 0.2]]).expand(1000, 2, 3)
    verdict = accept(p, None, torch.ones(1000, 1).long(), torch.ones(1000).long(), generator())
    assert 1 not in verdict.next_token[verdict.accepted == 0]


@pytest.mark.parametrize(
    "sampling",
    [Sampling(0.7), Sampling(1.5, top_k=5), Sampling(1.0, top_p=0.8), Sampling(0.9, top_k=8, top_p=0.6)],
    ids=str,
)
def test_probabilities_are_those_of_hugging_face(sampling: Sampling):
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    logits = torch.randn(50, 20, generator=generator())
    warped = TemperatureLogitsWarper(sampling.temperature)(None, logits)
    if sampling.top_k:
        warped = TopKLogitsWarper(sampling.top_k)(None, warped)
    if sampling.top_p < 1:
        warped = TopPLogitsWarper(sampling.top_p)(None, warped)
    assert torch.allclose(probabilities(logits, sampling), warped.softmax(-1), atol=1e-6)


def test_more_than_all_tokens_is_all_of_them():
    logits = torch.randn(2, 5, generator=generator())
    assert torch.equal(probabilities(logits, Sampling(1.0, top_k=9)), probabilities(logits, Sampling(1.0)))


def test_the_same_seed_draws_the_same_tokens():
    p = torch.full((100, 50), 0.02)
    assert torch.equal(draw(p, generator(3)), draw(p, generator(3)))
    assert not torch.equal(draw(p, generator(3)), draw(p, generator(4)))


def test_at_the_least_temperature_probabilities_are_finite():
    logits = torch.tensor([[1e4, -1e4, 0.0]])
    assert probabilities(logits, Sampling(1e-3)).tolist() == [[1, 0, 0]]


TEMPERATURES = (-1, 1e-45, math.nan, math.inf)


@pytest.mark.parametrize(
    "wrong", [*({"temperature": value} for value in TEMPERATURES), {"top_k": 0}, {"top_p": 0}, {"top_p": 1.2}], ids=str
)
def test_impossible_settings_are_refused_by_name(wrong: dict):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Sampling(**wrong)
