"""Ways to choose a draft for every prompt, replayed from the matrix: which draft, and the seconds of choosing.

The seconds of an arm are those of the drafts that it chooses, and its own time added. Random and hedge are expectations
over their draws. The oracle foresees the passes of the target that each draft takes, and not the clock: an oracle that
chose by the times that it is scored by would gain by their noise.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from doubledraft.routing.features import SentenceEncoder, of_texts
from doubledraft.routing.hedge import Hedge
from doubledraft.routing.matrix import DraftMatrix
from doubledraft.routing.router import Router

TIMED = 5  # times that a router's choice is timed; the median counts


@dataclass(frozen=True, slots=True)
class Choice:
    """How an arm chooses: the probability of each draft for each prompt, and its own seconds."""

    name: str
    shares: np.ndarray  # [prompts, drafts]
    own_seconds: np.ndarray  # [prompts]

    def seconds(self, matrix: DraftMatrix) -> np.ndarray:
        """Return the expected seconds of each prompt, [prompts]."""
        return (self.shares * matrix.seconds.mean(2)).sum(1) + self.own_seconds


def choose_at_random(matrix: DraftMatrix) -> Choice:
    """Return the arm that takes each draft equally often."""
    return Choice("random", np.full(matrix.steps.shape, 1 / len(matrix.drafts)), np.zeros(len(matrix.prompts)))


def choose_one(matrix: DraftMatrix, draft: str, name: str) -> Choice:
    """Return the arm that always takes one draft."""
    return _certain(name, np.full(len(matrix.prompts), matrix.drafts.index(draft)), len(matrix.drafts))


def choose_by_label(matrix: DraftMatrix) -> Choice:
    """Return the arm that knows each prompt's domain and takes that domain's draft."""
    return _certain("domain label", [matrix.drafts.index(domain) for domain in matrix.domains], len(matrix.drafts))


def choose_by_scores(name: str, scores: np.ndarray, own_seconds: np.ndarray) -> Choice:
    """Return the arm of a router, from its scores [prompts, drafts] and its seconds [prompts]."""
    return replace(_certain(name, scores.argmax(1), scores.shape[1]), own_seconds=own_seconds)


def choose_best(matrix: DraftMatrix) -> Choice:
    """Return the oracle: the draft of the fewest passes of the target, at the mean time of a step with that draft."""
    seconds_per_step = matrix.seconds.mean(2).sum(0) / matrix.steps.sum(0)
    return _certain("oracle", (matrix.steps * seconds_per_step).argmin(1), len(matrix.drafts))


def choose_online(matrix: DraftMatrix, seed: int) -> Choice:
    """Return the arm that learns from each answer, in an order of the seed; it pays for every scoring."""
    hedge, shares = Hedge(len(matrix.drafts)), np.zeros(matrix.steps.shape)
    gains = matrix.tokens[:, None] / matrix.steps
    for at in np.random.default_rng(seed).permutation(len(matrix.prompts)):
        shares[at] = hedge.probabilities()
        hedge.learn(gains[at] / gains.max())
    return Choice("hedge", shares, matrix.scoring.sum(1))


def _certain(name: str, drafts: Sequence[int], count: int) -> Choice:
    return Choice(name, np.eye(count)[np.asarray(drafts)], np.zeros(len(drafts)))


def singles(matrix: DraftMatrix, best: str) -> list[Choice]:
    """Return an arm for every draft but the best, so that what a single draft gives is seen."""
    return [choose_one(matrix, draft, f"only {draft}") for draft in matrix.drafts if draft != best]


def own_seconds(router: Router, texts: Sequence[str], features: np.ndarray) -> np.ndarray:
    """Return the seconds that a router takes for each prompt, one at a time; hidden states cost nothing."""
    kind, encoder = router.facts.features, router.facts.embedding and SentenceEncoder(router.facts.embedding)
    router.scores(features[:1])
    found = []
    for text, row in zip(texts, features, strict=True):
        times = []
        for _ in range(TIMED):
            began = time.perf_counter()
            router.scores(of_texts(kind, [text], row[None], encoder)).argmax(1)
            times.append(time.perf_counter() - began)
        found.append(np.median(times))
    return np.array(found)
