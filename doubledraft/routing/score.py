"""Every way to choose a draft, scored on test prompts in tokens per second, beside an oracle.

The matrix has every draft on every prompt, so a policy is replayed exactly (`policies`). Test prompts share no group
with what drafts or routers learnt from. Intervals are paired bootstraps over groups.

Controls: routers that learnt from shuffled advantages must gain nothing, and a router is also tried on a domain of
which it saw no prompt.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from doubledraft.routing import matrix as matrices
from doubledraft.routing import policies
from doubledraft.routing import router as routers
from doubledraft.routing.collect import read_hidden
from doubledraft.routing.domain_drafts import GENERIC
from doubledraft.routing.matrix import DraftMatrix
from doubledraft.routing.policies import Policy
from doubledraft.routing.train import ROUTERS, best_single, features_of, texts_of
from doubledraft.stats import Interval, mean_interval, ratio_interval, side, totals
from doubledraft.summaries import json_file
from doubledraft.summaries.provenance import recorded
from doubledraft.summaries.router_file import RouterFile, RoutersFile
from doubledraft.summaries.routing_score import (
    DraftOnDomain,
    LeftOutDomain,
    OwnDraft,
    RoutingArm,
    RoutingScore,
    ShuffledControl,
)

SHUFFLES = 20


def score(
    *,
    matrix: str | Path,
    hidden: str | Path,
    prompts: Sequence[str | Path],
    routers_folder: str | Path,
    draft_length: int,
    settings: Mapping[str, object],
    out: str | Path,
) -> None:
    """Write score.json from the matrix, the hidden states, the files of prompts and the folder of routers."""
    full_matrix, trained = matrices.read(matrix), json_file.read(Path(routers_folder) / ROUTERS, RoutersFile)
    loaded = [routers.load(Path(routers_folder) / name) for name in trained.tokens_per_second]
    texts = texts_of(prompts, full_matrix.prompts)
    features = features_of([router.config for router in loaded], texts, read_hidden(hidden))
    learners = [(router.config, features[router.config.features]) for router in loaded]
    at_test, seed = full_matrix.splits == "test", settings["seed"]
    test = full_matrix.take(at_test)
    single, oracle = policies.always(test, trained.best_single, "best single"), policies.oracle(test)
    others = [policies.always(test, draft, f"only {draft}") for draft in test.drafts if draft != trained.best_single]
    test_texts = [text for text, at in zip(texts, at_test, strict=True) if at]
    routed = [_routed(router, test_texts, features[router.config.features][at_test]) for router in loaded]
    online = policies.online(test, draft_length, seed)
    methods = [policies.at_random(test), single, *others, policies.by_label(test), *routed, online]
    arms = [_arm(policy, single, oracle, test, seed) for policy in (*methods, oracle)]
    gain = next(arm.gain for arm in arms if arm.name == trained.chosen)
    routing_score = RoutingScore(
        conclusion=conclusion(trained.chosen, trained.best_single, gain),
        one_draft_is_enough=None if gain.low is None else side(gain, 0) <= 0,
        best_single=trained.best_single,
        router=trained.chosen,
        test_prompts=len(test.prompts),
        groups=len(set(test.groups)),
        draft_length=draft_length,
        turns=test.seconds.shape[2],
        steadiness=_steadiness(test, seed),
        plain_tokens_per_second=grouped_ratio(test, test.tokens, test.plain.mean(1), seed),
        drafts=_on_domains(test, seed),
        own=_own_drafts(test, seed),
        arms=arms,
        left_out=_left_out(full_matrix, learners, seed),
        shuffled=[_shuffled(config, rows, full_matrix, single, seed) for config, rows in learners],
        provenance=recorded(settings),
    )
    json_file.write(out, routing_score)


def _steadiness(matrix: DraftMatrix, seed: int) -> Interval | None:
    """Return the seconds of the first turn over those of the last one, of all drafts; None where there was one turn."""
    turns = matrix.seconds.sum(1)
    return grouped_ratio(matrix, turns[:, 0], turns[:, -1], seed) if turns.shape[1] > 1 else None


def grouped_ratio(matrix: DraftMatrix, above: np.ndarray, below: np.ndarray, seed: int) -> Interval:
    """Return the ratio of two totals over prompts, with an interval over the groups of the prompts."""
    return ratio_interval(*(totals(matrix.groups, values) for values in (above, below)), seed)


def _routed(router: routers.Router, texts: Sequence[str], features: np.ndarray) -> Policy:
    return policies.by_scores(
        router.config.name, router.scores(features), policies.time_router(router, texts, features)
    )


def _arm(policy: Policy, single: Policy, oracle: Policy, matrix: DraftMatrix, seed: int) -> RoutingArm:
    """Compare a policy with plain decoding, the best single draft and the oracle."""
    seconds, best = policy.seconds(matrix), oracle.seconds(matrix)
    agreement = (policy.probabilities * oracle.probabilities).sum(1)
    return RoutingArm(
        name=policy.name,
        tokens_per_second=grouped_ratio(matrix, matrix.tokens, seconds, seed),
        speedup=grouped_ratio(matrix, matrix.plain.mean(1), seconds, seed),
        gain=_less_one(grouped_ratio(matrix, single.seconds(matrix), seconds, seed)),
        gap=_less_one(grouped_ratio(matrix, seconds, best, seed)),
        regret=float(1000 * (seconds.sum() - best.sum()) / matrix.tokens.sum()),
        as_oracle=grouped_ratio(matrix, agreement, np.ones(len(seconds)), seed),
        router_milliseconds=float(1000 * np.median(policy.router_seconds)),
        chosen=dict(zip(matrix.drafts, policy.probabilities.mean(0).tolist(), strict=True)),
    )


def _less_one(ratio: Interval) -> Interval:
    low, high = (end if end is None else end - 1 for end in (ratio.low, ratio.high))
    return Interval(ratio.value - 1, low, high, ratio.n)


def _on_domains(matrix: DraftMatrix, seed: int) -> list[DraftOnDomain]:
    """Return what every draft is worth on every domain."""
    rows = []
    for domain in dict.fromkeys(matrix.domains.tolist()):
        part = matrix.take(matrix.domains == domain)
        for at, draft in enumerate(matrix.drafts):
            seconds = part.seconds[:, at].mean(1)
            rows.append(
                DraftOnDomain(
                    draft=draft,
                    domain=domain,
                    tokens_per_step=grouped_ratio(part, part.tokens, part.steps[:, at], seed),
                    tokens_per_second=grouped_ratio(part, part.tokens, seconds, seed),
                    speedup=grouped_ratio(part, part.plain.mean(1), seconds, seed),
                )
            )
    return rows


def _own_drafts(matrix: DraftMatrix, seed: int) -> list[OwnDraft]:
    """Return what each domain's own draft is worth against the generic one."""
    rows, generic = [], matrix.drafts.index(GENERIC)
    for domain in dict.fromkeys(matrix.domains.tolist()):
        part, own = matrix.take(matrix.domains == domain), matrix.drafts.index(domain)
        seconds = part.seconds.mean(2)
        rows.append(
            OwnDraft(
                domain=domain,
                tokens_per_step=grouped_ratio(part, part.steps[:, generic], part.steps[:, own], seed),
                speed=grouped_ratio(part, seconds[:, generic], seconds[:, own], seed),
            )
        )
    return rows


def _left_out(matrix: DraftMatrix, learners: Sequence[tuple[RouterFile, np.ndarray]], seed: int) -> list[LeftOutDomain]:
    """Train every router without one domain and try it there, against the draft that was best for the others.

    `learners` are configs of routers with their features of all prompts.
    """
    domains = list(dict.fromkeys(matrix.domains.tolist()))
    rows = []
    for domain in domains if len(domains) > 1 else []:
        in_domain = matrix.domains == domain
        at_others, at_test = (matrix.splits == "validation") & ~in_domain, (matrix.splits == "test") & in_domain
        others, test = matrix.take(at_others), matrix.take(at_test)
        single = policies.always(test, best_single(others), "best single").seconds(test)
        for config, features in learners:
            router = routers.fit(config, features[at_others], others.advantage)
            policy = policies.by_scores(config.name, router.scores(features[at_test]))
            gain = _less_one(grouped_ratio(test, single, policy.seconds(test), seed))
            rows.append(LeftOutDomain(domain=domain, router=config.name, gain=gain))
    return rows


def _shuffled(
    config: RouterFile, features: np.ndarray, matrix: DraftMatrix, single: Policy, seed: int
) -> ShuffledControl:
    """Train a router on the advantages of other prompts, SHUFFLES times, and score it on the test prompts."""
    at_validation, at_test = (matrix.splits == split for split in ("validation", "test"))
    advantage, test = matrix.take(at_validation).advantage, matrix.take(at_test)
    generator, gains = np.random.default_rng(seed), []
    for _ in range(SHUFFLES):
        router = routers.fit(config, features[at_validation], generator.permutation(advantage))
        policy = policies.by_scores(config.name, router.scores(features[at_test]))
        gains.append(float(single.seconds(test).sum() / policy.seconds(test).sum() - 1))
    return ShuffledControl(router=config.name, gain=mean_interval(gains, seed), smallest=min(gains), largest=max(gains))


def conclusion(router: str, single: str, gain: Interval) -> str:
    """Return what the gain of a router over the best single draft says, in a sentence."""
    gain_text = f"{signed(gain.value)} %"
    if gain.low is None:
        few = f"{gain.n} group{'' if gain.n == 1 else 's'} of prompts, too few for an interval"
        return f"Undecided: the router {router} against the draft {single} alone: {gain_text}, from {few}."
    gain_text = f"{gain_text}, 95 % interval {signed(gain.low)} to {signed(gain.high)} %, n = {gain.n} groups"
    verdict = {
        1: f"Choosing by the prompt beats one draft: the router {router} is faster than",
        0: f"One draft is enough: the router {router} is not shown to be faster than",
        -1: f"One draft is enough: the router {router} is slower than",
    }[side(gain, 0)]
    return f"{verdict} the draft {single} alone ({gain_text})."


def signed(share: float) -> str:
    """Return a relative difference in percent, with its sign."""
    return f"{100 * share:+.1f}".replace("-", "\N{MINUS SIGN}")
