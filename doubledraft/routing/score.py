"""Every way to choose a draft, scored on test prompts in tokens per second: what a router gains, and what it cannot.

The matrix has every draft on every prompt, so an arm is replayed exactly (`choices`). Test prompts share no group with
what drafts or routers learnt from. Intervals are paired bootstraps over groups.

Controls: routers that learnt from shuffled advantages must gain nothing, and a router is also tried on a domain of
which it saw no prompt.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from doubledraft.records import Question, read_records
from doubledraft.routing import matrix as matrices
from doubledraft.routing import router as routers
from doubledraft.routing.choices import (
    Choice,
    choose_at_random,
    choose_best,
    choose_by_label,
    choose_by_scores,
    choose_one,
    choose_online,
    own_seconds,
    singles,
)
from doubledraft.routing.collect import read_hidden
from doubledraft.routing.domain_drafts import GENERIC
from doubledraft.routing.matrix import DraftMatrix
from doubledraft.routing.train import FACTS, best_single, features_of
from doubledraft.stats import Interval, mean_interval, ratio_interval, side
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
    whole, chosen = matrices.read(matrix), json_file.read(Path(routers_folder) / FACTS, RoutersFile)
    trained = {name: routers.load(Path(routers_folder) / name) for name in chosen.tokens_per_second}
    features = features_of([each.facts for each in trained.values()], prompts, read_hidden(hidden), whole.prompts)
    known, test = (whole.splits == split for split in ("validation", "test"))
    tested, seed = whole.take(test), settings["seed"]
    texts = {question.id: question.question for path in prompts for question in read_records(path, Question)}
    asked = [texts[id] for id in tested.prompts]
    single, oracle = choose_one(tested, chosen.best_single, "best single"), choose_best(tested)
    fixed = (choose_at_random(tested), single, *singles(tested, chosen.best_single), choose_by_label(tested))
    routed = (_by_router(name, each, asked, features[each.facts.features][test]) for name, each in trained.items())
    choices = (*fixed, *routed, choose_online(tested, seed), oracle)
    arms = [_arm(choice, single, oracle, tested, seed) for choice in choices]
    learnt = {name: (each.facts, features[each.facts.features]) for name, each in trained.items()}
    gain = next(arm.gain for arm in arms if arm.name == chosen.chosen)
    facts = RoutingScore(
        conclusion=conclusion(chosen.chosen, chosen.best_single, gain),
        one_draft_is_enough=side(gain, 0) <= 0,
        best_single=chosen.best_single,
        router=chosen.chosen,
        test_prompts=len(tested.prompts),
        groups=len(set(tested.groups)),
        draft_length=draft_length,
        turns=tested.seconds.shape[2],
        steadiness=_steadiness(tested, seed),
        plain_tokens_per_second=by_group(tested, tested.tokens, tested.plain.mean(1), seed),
        drafts=_on_domains(tested, seed),
        own=_own_drafts(tested, seed),
        arms=arms,
        left_out=_left_out(whole, known, test, learnt, seed),
        shuffled=[_shuffled(facts, seen, whole, known, test, single, seed) for facts, seen in learnt.values()],
        provenance=recorded(settings),
    )
    json_file.write(out, facts)


def _steadiness(matrix: DraftMatrix, seed: int) -> Interval | None:
    """Return the seconds of the first turn over those of the last one, of all drafts; None where there was one turn."""
    turns = matrix.seconds.sum(1)
    return by_group(matrix, turns[:, 0], turns[:, -1], seed) if turns.shape[1] > 1 else None


def by_group(matrix: DraftMatrix, above: np.ndarray, below: np.ndarray, seed: int) -> Interval:
    """Return the ratio of two totals over prompts, with an interval over the groups of the prompts."""
    groups = {name: at for at, name in enumerate(dict.fromkeys(matrix.groups))}
    places = [groups[name] for name in matrix.groups]
    sums = [np.bincount(places, weights=values) for values in (above, below)]
    return ratio_interval(*sums, seed)


def _by_router(name: str, router: routers.Router, asked: Sequence[str], features: np.ndarray) -> Choice:
    return choose_by_scores(name, router.scores(features), own_seconds(router, asked, features))


def _arm(choice: Choice, single: Choice, oracle: Choice, matrix: DraftMatrix, seed: int) -> RoutingArm:
    own, best = choice.seconds(matrix), oracle.seconds(matrix)
    return RoutingArm(
        name=choice.name,
        tokens_per_second=by_group(matrix, matrix.tokens, own, seed),
        speedup=by_group(matrix, matrix.plain.mean(1), own, seed),
        gain=_less_one(by_group(matrix, single.seconds(matrix), own, seed)),
        gap=_less_one(by_group(matrix, own, best, seed)),
        regret=float(1000 * (own.sum() - best.sum()) / matrix.tokens.sum()),
        as_oracle=by_group(matrix, (choice.shares * oracle.shares).sum(1), np.ones(len(own)), seed),
        router_milliseconds=float(1000 * np.median(choice.own_seconds)),
        chosen=dict(zip(matrix.drafts, choice.shares.mean(0).tolist(), strict=True)),
    )


def _less_one(ratio: Interval) -> Interval:
    low, high = (end if end is None else end - 1 for end in (ratio.low, ratio.high))
    return Interval(ratio.value - 1, low, high, ratio.n)


def _on_domains(matrix: DraftMatrix, seed: int) -> list[DraftOnDomain]:
    found = []
    for domain in dict.fromkeys(matrix.domains.tolist()):
        part = matrix.take(matrix.domains == domain)
        for at, draft in enumerate(matrix.drafts):
            seconds = part.seconds[:, at].mean(1)
            found.append(
                DraftOnDomain(
                    draft=draft,
                    domain=domain,
                    tokens_per_step=by_group(part, part.tokens, part.steps[:, at], seed),
                    tokens_per_second=by_group(part, part.tokens, seconds, seed),
                    speedup=by_group(part, part.plain.mean(1), seconds, seed),
                )
            )
    return found


def _own_drafts(matrix: DraftMatrix, seed: int) -> list[OwnDraft]:
    """Return what each domain's own draft is worth against the generic one."""
    found, generic = [], matrix.drafts.index(GENERIC)
    for domain in dict.fromkeys(matrix.domains.tolist()):
        part, own = matrix.take(matrix.domains == domain), matrix.drafts.index(domain)
        seconds = part.seconds.mean(2)
        found.append(
            OwnDraft(
                domain=domain,
                tokens_per_step=by_group(part, part.steps[:, generic], part.steps[:, own], seed),
                speed=by_group(part, seconds[:, generic], seconds[:, own], seed),
            )
        )
    return found


Learnt = Mapping[str, tuple[RouterFile, np.ndarray]]  # description and features of all prompts, by name


def _left_out(
    whole: DraftMatrix, known: np.ndarray, test: np.ndarray, learnt: Learnt, seed: int
) -> list[LeftOutDomain]:
    """Train every router without one domain and try it there, against the draft that was best for the others."""
    found = []
    domains = list(dict.fromkeys(whole.domains.tolist()))
    for domain in domains if len(domains) > 1 else []:
        there = whole.domains == domain
        others, tested = whole.take(known & ~there), whole.take(test & there)
        single = choose_one(tested, best_single(others), "best single").seconds(tested)
        for name, (facts, features) in learnt.items():
            router = routers.fit(facts, features[known & ~there], others.advantage)
            choice = choose_by_scores(name, router.scores(features[test & there]), np.zeros(len(tested.prompts)))
            gain = _less_one(by_group(tested, single, choice.seconds(tested), seed))
            found.append(LeftOutDomain(domain=domain, router=name, gain=gain))
    return found


def _shuffled(
    facts: RouterFile,
    features: np.ndarray,
    whole: DraftMatrix,
    known: np.ndarray,
    test: np.ndarray,
    single: Choice,
    seed: int,
) -> ShuffledControl:
    """Train a router on the advantages of other prompts, SHUFFLES times, and score it on the test prompts."""
    generator, tested = np.random.default_rng(seed), whole.take(test)
    advantage, gains = whole.take(known).advantage, []
    for _ in range(SHUFFLES):
        router = routers.fit(facts, features[known], generator.permutation(advantage))
        choice = choose_by_scores(facts.name, router.scores(features[test]), np.zeros(len(tested.prompts)))
        gains.append(float(single.seconds(tested).sum() / choice.seconds(tested).sum() - 1))
    return ShuffledControl(router=facts.name, gain=mean_interval(gains, seed), smallest=min(gains), largest=max(gains))


def conclusion(router: str, single: str, gain: Interval) -> str:
    """Return what the gain of a router over the best single draft says, in a sentence."""
    said = f"{signed(gain.value)} %"
    if gain.low is None:
        few = f"{gain.n} group{'' if gain.n == 1 else 's'} of prompts, too few for an interval"
        return f"Undecided: the router {router} against the draft {single} alone: {said}, from {few}."
    said = f"{said}, 95 % interval {signed(gain.low)} to {signed(gain.high)} %, n = {gain.n} groups"
    verdict = {
        1: f"Choosing by the prompt beats one draft: the router {router} is faster than",
        0: f"One draft is enough: the router {router} is not shown to be faster than",
        -1: f"One draft is enough: the router {router} is slower than",
    }[side(gain, 0)]
    return f"{verdict} the draft {single} alone ({said})."


def signed(share: float) -> str:
    """Return a relative difference in percent, with its sign."""
    return f"{100 * share:+.1f}".replace("-", "\N{MINUS SIGN}")
