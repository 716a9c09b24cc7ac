"""Policies: ways to choose a draft for every prompt, replayed from the matrix with the seconds that choosing takes.

The seconds of a policy are those of the drafts that it chooses, and its own time added. Random and hedge are
expectations over their draws. The oracle knows how many passes of the target each draft takes, and not the measured
times: an oracle that chose by the times that it is scored by would gain from their noise.
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
class Policy:
    """The probability by which each draft is chosen for each prompt, and the seconds that choosing takes."""

    name: str
    probabilities: np.ndarray  # [prompts, drafts]
    router_seconds: np.ndarray  # [prompts]

    def seconds(self, matrix: DraftMatrix) -> np.ndarray:
        """Return the expected seconds of each prompt, [prompts]."""
        return (self.probabilities * matrix.seconds.mean(2)).sum(1) + self.router_seconds


def at_random(matrix: DraftMatrix) -> Policy:
    """Return the policy that takes each draft equally often."""
    return Policy("random", np.full(matrix.steps.shape, 1 / len(matrix.drafts)), np.zeros(len(matrix.prompts)))


def always(matrix: DraftMatrix, draft: str, name: str) -> Policy:
    """Return the policy that takes one draft for all prompts."""
    return _certain(name, np.full(len(matrix.prompts), matrix.drafts.index(draft)), len(matrix.drafts))


def by_label(matrix: DraftMatrix) -> Policy:
    """Return the policy that knows each prompt's domain and takes that domain's draft."""
    return _certain("domain label", [matrix.drafts.index(domain) for domain in matrix.domains], len(matrix.drafts))


def by_scores(name: str, scores: np.ndarray, router_seconds: np.ndarray | None = None) -> Policy:
    """Return a router's policy, from its scores [prompts, drafts] and its seconds [prompts], 0 where None."""
    policy = _certain(name, scores.argmax(1), scores.shape[1])
    return policy if router_seconds is None else replace(policy, router_seconds=router_seconds)


def oracle(matrix: DraftMatrix) -> Policy:
    """Return the policy of the fewest passes of the target, at the mean time of a step with each draft."""
    seconds_per_step = matrix.seconds.mean(2).sum(0) / matrix.steps.sum(0)
    return _certain("oracle", (matrix.steps * seconds_per_step).argmin(1), len(matrix.drafts))


def online(matrix: DraftMatrix, draft_length: int, seed: int) -> Policy:
    """Return the policy of hedge, which learns from each answer, in an order of the seed; it pays for every scoring."""
    hedge, probabilities = Hedge(len(matrix.drafts)), np.zeros(matrix.steps.shape)
    # The pass over the prompt gives a token too, so a short answer may have more of them than its steps can give.
    gains = np.minimum(matrix.tokens[:, None] / matrix.steps / (draft_length + 1), 1)
    for at in np.random.default_rng(seed).permutation(len(matrix.prompts)):
        probabilities[at] = hedge.probabilities()
        hedge.learn(gains[at])
    return Policy("hedge", probabilities, matrix.scoring.sum(1))


def _certain(name: str, drafts: Sequence[int], count: int) -> Policy:
    """Return the policy that takes for each prompt a draft of `count`, by its index."""
    return Policy(name, np.eye(count)[np.asarray(drafts)], np.zeros(len(drafts)))


def time_router(router: Router, texts: Sequence[str], features: np.ndarray) -> np.ndarray:
    """Return the seconds that a router takes for each prompt, one at a time; hidden states cost nothing."""
    kind, encoder = router.config.features, router.config.embedding and SentenceEncoder(router.config.embedding)
    router.scores(features[:1])
    medians = []
    for text, row in zip(texts, features, strict=True):
        times = []
        for _ in range(TIMED):
            began = time.perf_counter()
            router.scores(of_texts(kind, [text], row[None], encoder)).argmax(1)
            times.append(time.perf_counter() - began)
        medians.append(np.median(times))
    return np.array(medians)
