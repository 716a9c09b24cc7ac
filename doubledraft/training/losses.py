"""Losses of a draft against its target: pure functions of logits, one value per token.

p is the target's distribution and q the draft's, both over the vocabulary at one position. Under greedy decoding a
drafted token is accepted where argmax q = argmax p; in sampling with the chance alpha = sum min(p, q) (Leviathan et al.
2023, arXiv:2211.17192), so 1 - alpha is the total variation between them.

Every loss takes draft and target logits [tokens, vocabulary] and returns [tokens], in nats where it is a logarithm.
Weights take the target's probability of each token of the text, and its position in the answer, and return [tokens].
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 6  # tokens of a step with 5 drafted ones; weights by position in a draft start anew with every block
DECAY = 4  # tokens after which `decay` has fallen to 1/e: DeepSpec's exp(-i / 4)
KEPT = 0.4  # share of the tokens that `top` keeps: AdaSPEC, arXiv:2510.19779
HYBRID = 3  # lk_hybrid: how fast the divergence gives way to the variation as acceptance grows
MIXED = 0.1  # ce_tv: share of the cross-entropy


def ce(draft: "Tensor", target: "Tensor") -> "Tensor":
    """Return -log q(argmax p): plain fine-tuning on the target's greedy text."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(draft, target.argmax(-1), reduction="none")


def kl(draft: "Tensor", target: "Tensor") -> "Tensor":
    """Return the forward divergence KL(p || q) = sum p log(p / q): Hinton et al. 2015, arXiv:1503.02531."""
    return _divergence(target.log_softmax(-1), draft.log_softmax(-1))


def rkl(draft: "Tensor", target: "Tensor") -> "Tensor":
    """Return the reverse divergence KL(q || p): Gu et al. 2023, arXiv:2306.08543."""
    return _divergence(draft.log_softmax(-1), target.log_softmax(-1))


def jsd(draft: "Tensor", target: "Tensor") -> "Tensor":
    """Return the Jensen-Shannon divergence, (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2: arXiv:2306.13649."""
    import math

    import torch

    q, p = draft.log_softmax(-1), target.log_softmax(-1)
    mean = torch.logaddexp(q, p) - math.log(2)
    return (_divergence(p, mean) + _divergence(q, mean)) / 2


def tv(draft: "Tensor", target: "Tensor") -> "Tensor":
    """Return the total variation 1 - sum min(p, q), the chance of rejection in sampling: arXiv:2310.08461."""
    return 1 - overlap(draft, target)


def nla(draft: "Tensor", target: "Tensor") -> "Tensor":
    """Return the negative logarithm of acceptance, -log sum min(p, q): arXiv:2602.23881."""
    return -overlap(draft, target).clamp(min=1e-12).log()


def lk_hybrid(draft: "Tensor", target: "Tensor") -> "Tensor":
    """Return w KL(p || q) + (1 - w) TV, w = exp(-3 alpha), which has no gradient: arXiv:2602.23881."""
    acceptance = overlap(draft, target)
    weight = (-HYBRID * acceptance.detach()).exp()
    return weight * kl(draft, target) + (1 - weight) * (1 - acceptance)


def ce_tv(draft: "Tensor", target: "Tensor") -> "Tensor":
    """Return 0.1 CE + 0.9 TV: what the DSpark drafts are trained with."""
    return MIXED * ce(draft, target) + (1 - MIXED) * tv(draft, target)


LOSSES = {loss.__name__: loss for loss in (ce, kl, rkl, jsd, tv, nla, lk_hybrid, ce_tv)}


def overlap(draft: "Tensor", target: "Tensor") -> "Tensor":
    """Return alpha = sum min(p, q) [tokens], the chance that a drawn token is accepted."""
    import torch

    return torch.minimum(draft.softmax(-1), target.softmax(-1)).sum(-1)


def _divergence(log_a: "Tensor", log_b: "Tensor") -> "Tensor":
    return (log_a.exp() * (log_a - log_b)).sum(-1)


def cat(sure: "Tensor", position: "Tensor") -> "Tensor":
    """Return the chance that the target itself would have generated the tokens before this one in its block: PARD-2.

    `sure` [tokens] is the target's probability of each token, `position` [tokens] its index in the answer.
    """
    import torch

    weights, reached = [], torch.ones(())
    for chance, index in zip(sure, position.tolist(), strict=True):
        reached = torch.ones_like(chance) if index % BLOCK == 0 else reached
        weights.append(reached)
        reached = reached * chance
    return torch.stack(weights)


def decay(position: "Tensor") -> "Tensor":
    """Return exp(-i / 4), i the position in the block: a late token counts only where all before it were accepted."""
    return (-(position % BLOCK) / DECAY).exp()


def top(draft_loss: "Tensor", target_loss: "Tensor") -> "Tensor":
    """Return 1 for the 40 % of tokens on which the draft loses most more than the target, 0 for the others: AdaSPEC.

    Both losses are -log of the probability of the text's token. AdaSPEC compares with a trained draft, which would take
    a second training; here the target is the reference.
    """
    import math

    import torch

    excess = draft_loss - target_loss
    largest = excess.topk(math.ceil(KEPT * len(excess))).indices
    return torch.zeros_like(excess).index_fill_(0, largest, 1.0)


def weights(kind: str, draft: "Tensor", target: "Tensor", tokens: "Tensor", position: "Tensor") -> "Tensor | None":
    """Return the weight of each token's loss, mean 1, without gradient; None where all count alike.

    `kind` is none, cat, decay or top; `tokens` [tokens] are the text's token ids.
    """
    import torch
    from torch.nn.functional import cross_entropy

    if kind == "none":
        return None
    with torch.no_grad():
        target_loss = cross_entropy(target, tokens, reduction="none")
        if kind == "top":
            weight = top(cross_entropy(draft, tokens, reduction="none"), target_loss)
        else:
            weight = decay(position) if kind == "decay" else cat((-target_loss).exp(), position)
        return weight / weight.mean()
