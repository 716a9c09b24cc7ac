"""The accept rule of speculative decoding: tensors in, tensors out, no model and no cache.

`p` is the target's distribution and `q` the draft's; a drafted token x was drawn from q. It is kept with probability
min(1, p(x) / q(x)). At the first that is not, a token drawn from norm(max(0, p - q)) takes its place and the rest of
the draft is dropped; where all are kept, a bonus token is drawn from p. What is emitted is distributed as p, whatever q
is: Leviathan et al. 2023, arXiv:2211.17192, algorithm 1 and appendix A.1, and Chen et al. 2023, arXiv:2302.01318,
algorithm 2 and theorem 1, who found it independently.

A proposer that does not draw, such as n-gram lookup, has q(x) = 1. Greedy decoding has p(x) = 1 at the best token, so
the rule keeps a drafted token exactly where it is the best; that needs no probabilities and has its own function.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

COLDEST = 1e-3  # draws are all but greedy there, and logits / temperature still far from float32's infinity


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen: greedily at temperature 0, else by a draw."""

    temperature: float = 0.0
    top_k: int | None = None  # only the k best tokens; None takes all
    top_p: float = 1.0  # only the fewest best tokens whose probabilities reach p; 1 takes all

    def __post_init__(self) -> None:
        if self.temperature != 0 and not COLDEST <= self.temperature < math.inf:  # NaN is in no range
            raise ValueError(
                f"temperature should be 0 (greedy), or finite and at least {COLDEST}; found {self.temperature}"
            )
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k should be at least 1, or None for all tokens; found {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p should be above 0 and at most 1, found {self.top_p}")

    @property
    def greedy(self) -> bool:
        """Whether the best token is always taken."""
        return self.temperature == 0


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Which drafted tokens of a batch are accepted, and what follows them."""

    accepted: "torch.Tensor"  # [batch], how many drafted tokens are kept
    next_token: "torch.Tensor"  # [batch], the token that follows them
    agreed: "torch.Tensor"  # [batch, K], whether each drafted token passes on its own


def probabilities(logits: "torch.Tensor", sampling: Sampling) -> "torch.Tensor":
    """Return the float32 distribution that tokens are drawn from: temperature, then top-k, then top-p, then softmax.

    `logits` are [..., vocabulary]. The order is that of Hugging Face generate; tokens tied with the k-th best stay.
    """
    logits = logits.float() / sampling.temperature
    if sampling.top_k is not None:
        least = logits.topk(min(sampling.top_k, logits.shape[-1])).values[..., -1:]
        logits = logits.masked_fill(logits < least, -float("inf"))
    if sampling.top_p < 1:
        logits = logits.masked_fill(_beyond_nucleus(logits, sampling.top_p), -float("inf"))
    return logits.softmax(-1)


def _beyond_nucleus(logits: "torch.Tensor", top_p: float) -> "torch.Tensor":
    """Mark the tokens before which better ones already hold `top_p`: Holtzman et al. 2020, arXiv:1904.09751."""
    ordered, order = logits.softmax(-1).sort(descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    return (before >= top_p).scatter(-1, order, before >= top_p)


def best_tokens(logits: "torch.Tensor") -> "torch.Tensor":
    """Return the best token [...] of logits [..., vocabulary]; -1, which is in no draft, if it is NaN or infinite."""
    best = logits.argmax(-1)  # NaN counts as the largest value
    return best.where(logits.gather(-1, best.unsqueeze(-1)).squeeze(-1).isfinite(), -1)


def draw(p: "torch.Tensor", generator: "torch.Generator | None") -> "torch.Tensor":
    """Draw one token from each row of [batch, vocabulary]; return [batch]."""
    return p.multinomial(1, generator=generator).squeeze(-1)


def accept(
    p: "torch.Tensor",
    q: "torch.Tensor | None",
    drafted: "torch.Tensor",
    lengths: "torch.Tensor",
    generator: "torch.Generator | None",
) -> Acceptance:
    """Apply the accept rule to drafts drawn from `q`, and draw the token that follows what is kept.

    `drafted` is [batch, K], of which the first `lengths` [batch] of each row count; `p` is [batch, K + 1, vocabulary]
    and `q` [batch, K, vocabulary], or None where the drafted tokens were not drawn.
    """
    import torch

    chosen = drafted.unsqueeze(-1)
    p_of_drafted = p[:, :-1].gather(-1, chosen).squeeze(-1)
    q_of_drafted = torch.ones_like(p_of_drafted) if q is None else q.gather(-1, chosen).squeeze(-1)
    chance = torch.rand(drafted.shape, generator=generator, device=p.device)
    agreed = passes(chance, p_of_drafted, q_of_drafted)
    accepted = leading(agreed, lengths)
    rows = torch.arange(len(p), device=p.device)
    rejected = accepted < lengths
    p_next, q_next = p[rows, accepted], torch.zeros_like(p[:, 0])  # q is 0 for a bonus token: nothing was rejected
    if drafted.shape[1]:
        at = accepted.clamp(max=drafted.shape[1] - 1)
        q_rejected = _certain(drafted[rows, at], q_next) if q is None else q[rows, at]
        q_next = torch.where(rejected.unsqueeze(-1), q_rejected, q_next)
    return Acceptance(accepted, draw(residual(p_next, q_next), generator), agreed)


def accept_greedy(best: "torch.Tensor", drafted: "torch.Tensor", lengths: "torch.Tensor") -> Acceptance:
    """Keep drafted tokens [batch, K] as long as they are the target's `best` [batch, K + 1], which follows them."""
    import torch

    agreed = drafted == best[:, :-1]
    accepted = leading(agreed, lengths)
    return Acceptance(accepted, best[torch.arange(len(best), device=best.device), accepted], agreed)


def passes(chance: "torch.Tensor", p: "torch.Tensor", q: "torch.Tensor") -> "torch.Tensor":
    """Keep a drafted token with probability min(1, p / q); `chance` is uniform in [0, 1), and q is never 0."""
    return chance * q < p


def residual(p: "torch.Tensor", q: "torch.Tensor") -> "torch.Tensor":
    """Return norm(max(0, p - q)), row by row: the distribution of the token that replaces a rejected one."""
    rest = (p - q).clamp(min=0)
    mass = rest.sum(-1, keepdim=True)
    return (rest / mass).where(mass > 0, p)  # p = q rejects nothing, but for the rounding of p / q


def leading(agreed: "torch.Tensor", lengths: "torch.Tensor") -> "torch.Tensor":
    """Count the tokens before the first that did not pass, among the first `lengths` of each row."""
    import torch

    real = torch.arange(agreed.shape[1], device=agreed.device) < lengths.unsqueeze(-1)
    return (agreed & real).cumprod(-1).sum(-1)


def _certain(tokens: "torch.Tensor", like: "torch.Tensor") -> "torch.Tensor":
    import torch

    return torch.zeros_like(like).scatter(-1, tokens.unsqueeze(-1), 1.0)
