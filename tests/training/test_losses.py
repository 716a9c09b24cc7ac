"""Losses equal values computed by hand, and their gradients the differences of their values."""

import math

import pytest
import torch

from doubledraft.training import losses

# p = (1/2, 1/4, 1/4) and q = (1/4, 1/4, 1/2): they overlap by 3/4
P, Q = (torch.tensor([values], dtype=torch.float64).log() for values in ([0.5, 0.25, 0.25], [0.25, 0.25, 0.5]))
LN2 = math.log(2)
JSD = 0.5 * (0.5 * math.log(0.5 / 0.375) + 0.25 * math.log(0.25 / 0.375)) * 2  # both halves are alike here
WEIGHT = math.exp(-3 * 0.75)
BY_HAND = {
    "ce": 2 * LN2,  # -log q(0)
    "kl": 0.5 * LN2 - 0.25 * LN2,
    "rkl": 0.5 * LN2 - 0.25 * LN2,
    "jsd": JSD,
    "tv": 0.25,
    "nla": -math.log(0.75),
    "lk_hybrid": WEIGHT * 0.25 * LN2 + (1 - WEIGHT) * 0.25,
    "ce_tv": 0.1 * 2 * LN2 + 0.9 * 0.25,
}


@pytest.mark.parametrize("name", losses.LOSSES)
def test_a_loss_is_what_is_computed_by_hand(name):
    assert losses.LOSSES[name](Q + 5, P - 2).item() == pytest.approx(BY_HAND[name]), "logits are up to a constant"


def test_the_divergences_are_not_symmetric():
    p, q = torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.5, 0.5]]).log()
    assert losses.kl(q, p).item() == pytest.approx(0.9 * math.log(1.8) + 0.1 * math.log(0.2))
    assert losses.rkl(q, p).item() == pytest.approx(0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1))


@pytest.mark.parametrize("name", losses.LOSSES)
def test_the_gradient_is_that_of_the_value(name):
    torch.manual_seed(5)
    draft, target = torch.randn(2, 4, 7, dtype=torch.float64)
    loss = losses.LOSSES[name]
    if name == "lk_hybrid":  # its weight is held, as the method wants it
        held = (-3 * losses.overlap(draft, target)).exp()
        loss = lambda q, p: held * losses.kl(q, p) + (1 - held) * losses.tv(q, p)  # noqa: E731
        exact = torch.autograd.functional.jacobian(lambda q: losses.lk_hybrid(q, target), draft)
        torch.testing.assert_close(exact, torch.autograd.functional.jacobian(lambda q: loss(q, target), draft))
    assert torch.autograd.gradcheck(lambda q: loss(q, target), draft.requires_grad_())


@pytest.mark.parametrize("name", sorted(losses.LOSSES.keys() - {"ce", "ce_tv"}))  # which want the best token alone
def test_a_draft_that_is_the_target_loses_nothing(name):
    torch.manual_seed(6)
    target = 3 * torch.randn(5, 11, dtype=torch.float64)
    loss = losses.LOSSES[name]
    assert loss(target, target).abs().max() < 1e-9
    assert (loss(target + 0.5 * torch.randn_like(target), target) > 0).all()


def test_weights_by_place_start_anew_with_every_block():
    position = torch.arange(8)
    sure = torch.tensor([0.5, 0.5, 1.0, 0.1, 1.0, 1.0, 0.2, 0.3])
    assert losses.cat(sure, position).tolist() == pytest.approx([1, 0.5, 0.25, 0.25, 0.025, 0.025, 1, 0.2])
    assert losses.decay(position)[[0, 4, 6]].tolist() == pytest.approx([1, math.exp(-1), 1])


def test_top_keeps_what_the_draft_has_still_to_learn():
    found = losses.top(torch.tensor([3.0, 3.0, 0.1, 2.0, 1.0]), torch.tensor([2.9, 0.0, 0.1, 0.5, 0.9]))
    assert found.tolist() == [0, 1, 0, 1, 0], "the first is hard for the target too"


@pytest.mark.parametrize("kind", ["cat", "decay", "top"])
def test_weights_have_mean_1_and_no_gradient(kind):
    torch.manual_seed(7)
    draft, target = torch.randn(2, 12, 9)
    found = losses.weights(kind, draft.requires_grad_(), target, torch.arange(12) % 9, torch.arange(12))
    assert found.mean().item() == pytest.approx(1) and not found.requires_grad
    assert losses.weights("none", draft, target, torch.arange(12) % 9, torch.arange(12)) is None
