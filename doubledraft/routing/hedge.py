"""A router that learns while it answers: every resident draft is scored on the text that the target emitted.

Greedy decoding emits the same text whatever was drafted, so one pass of each draft over that text tells how many tokens
per step it would have given: full information at no call of the target, as in HedgeSpec (arXiv:2510.20064). The
probabilities are those of the exponentially weighted forecaster with a rate that falls with the number of rounds
(Cesa-Bianchi and Lugosi 2006, theorem 2.3).
"""

from collections.abc import Sequence

import numpy as np

from doubledraft.engine.backend import Backend


class Hedge:
    """Probabilities over drafts, learnt from gains between 0 and 1."""

    def __init__(self, drafts: int) -> None:
        """Begin with equal probabilities for a number of drafts."""
        self._gains, self.rounds = np.zeros(drafts), 0

    def probabilities(self) -> np.ndarray:
        """Return the probability of each draft, [drafts]."""
        rate = (8 * np.log(len(self._gains)) / max(self.rounds, 1)) ** 0.5
        weights = np.exp(rate * (self._gains - self._gains.max()))
        return weights / weights.sum()

    def learn(self, gains: Sequence[float]) -> None:
        """Add what each draft would have gained, from 0 to 1, on one prompt."""
        self._gains += np.asarray(gains)
        self.rounds += 1


def agreed(draft: Backend, prompt: Sequence[int], answer: Sequence[int]) -> list[bool]:
    """Return for every token of an answer whether a draft, given the text before it, would have proposed it."""
    import torch

    text = [min(token, draft.vocabulary - 1) for token in (*prompt, *answer[:-1])]
    hidden = draft.forward(draft.tensor([text]), draft.new_cache(1, len(text)))[:, len(prompt) - 1 :]
    proposed = draft.token_ids_of(draft.logits(hidden).argmax(-1))[0]
    return (proposed == torch.tensor(list(answer), device=proposed.device)).tolist()
