"""Every way to choose a draft, scored on test prompts in tokens per second: what a router gains, and what it cannot.

The matrix has every draft on every prompt, so an arm is replayed exactly: the seconds of the drafts that it chooses, and
its own time added. Prompts of the test split share no group with what drafts or routers learnt from. Intervals are
paired bootstraps over groups. The oracle chooses by one turn and is timed by the others, else it would choose what the
clock happened to favour. Random and hedge are expectations over their draws.

Controls: routers that learnt from shuffled advantages must gain nothing, and a router is also tried on a domain of which
it saw no prompt.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from doubledraft.records import Question, read_records
from doubledraft.routing import matrix as matrices
from doubledraft.routing import router as routers
from doubledraft.routing.collect import read_hidden
from doubledraft.routing.features import SentenceEncoder, of_texts
from doubledraft.routing.hedge import Hedge
from doubledraft.routing.matrix import Matrix
from doubledraft.routing.train import FACTS, best_single, features_of
from doubledraft.stats import Interval, ratio_interval
from doubledraft.summaries import json_file
from doubledraft.summaries.provenance import recorded
from doubledraft.summaries.router_file import RouterFile, RoutersFile
from doubledraft.summaries.routing_score import (
    DraftOnDomain,
    LeftOutDomain,
    RoutingArm,
    RoutingScore,
    ShuffledControl,
)

SHUFFLES = 20
TIMED = 5  # times that a router's choice is timed; the median counts


@dataclass(frozen=True, slots=True)
class Choice:
    """How an arm chooses: the probability of each draft for each prompt, and its own seconds."""

    name: str
    shares: np.ndarray  # [prompts, drafts]
    own_seconds: np.ndarray  # [prompts]

    def seconds(self, matrix: Matrix) -> np.ndarray:
        """Return the expected seconds of each prompt, [prompts]."""
        return (self.shares * matrix.seconds.mean(2)).sum(1) + self.own_seconds


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
    single = choose_one(tested, chosen.best_single, "best single")
    texts = {question.id: question.question for path in prompts for question in read_records(path, Question)}
    choices = [choose_at_random(tested), single, *_singles(tested, chosen.best_single), choose_by_label(tested)]
    for name, each in trained.items():
        own = _own_seconds(each, [texts[id] for id in tested.prompts], features[each.facts.features][test])
        choices.append(choose_by_scores(name, each.scores(features[each.facts.features][test]), own))
    choices += [choose_online(tested, seed), choose_best(tested)]
    arms = [_arm(choice, single, choices[-1], tested, seed) for choice in choices]
    learnt = {name: (each.facts, features[each.facts.features]) for name, each in trained.items()}
    gain = next(arm.gain for arm in arms if arm.name == chosen.chosen)
    facts = RoutingScore(
        conclusion=conclusion(chosen.chosen, chosen.best_single, gain),
        one_draft_is_enough=not (gain.low is not None and gain.low > 0),
        best_single=chosen.best_single,
        router=chosen.chosen,
        test_prompts=len(tested.prompts),
        groups=len(set(tested.groups)),
        draft_length=draft_length,
        turns=tested.seconds.shape[2],
        steadiness=by_group(tested, tested.seconds[..., 0].sum(1), tested.seconds[..., -1].sum(1), seed),
        plain_tokens_per_second=by_group(tested, tested.tokens, tested.plain.mean(1), seed),
        drafts=_on_domains(tested, seed),
        arms=arms,
        left_out=_left_out(whole, known, test, learnt, seed),
        shuffled=[_shuffled(facts, seen, whole, known, test, single, seed) for facts, seen in learnt.values()],
        provenance=recorded(settings),
    )
    json_file.write(out, facts)


def by_group(matrix: Matrix, above: np.ndarray, below: np.ndarray, seed: int) -> Interval:
    """Return the ratio of two totals over prompts, with an interval over the groups of the prompts."""
    groups = {name: at for at, name in enumerate(dict.fromkeys(matrix.groups))}
    places = [groups[name] for name in matrix.groups]
    sums = [np.bincount(places, weights=values) for values in (above, below)]
    return ratio_interval(*sums, seed)


def choose_at_random(matrix: Matrix) -> Choice:
    """Return the arm that takes each draft equally often."""
    return Choice("random", np.full(matrix.steps.shape, 1 / len(matrix.drafts)), np.zeros(len(matrix.prompts)))


def choose_one(matrix: Matrix, draft: str, name: str) -> Choice:
    """Return the arm that always takes one draft."""
    return _certain(name, np.full(len(matrix.prompts), matrix.drafts.index(draft)), len(matrix.drafts))


def choose_by_label(matrix: Matrix) -> Choice:
    """Return the arm that knows each prompt's domain and takes that domain's draft."""
    return _certain("domain label", [matrix.drafts.index(domain) for domain in matrix.domains], len(matrix.drafts))


def choose_by_scores(name: str, scores: np.ndarray, own_seconds: np.ndarray) -> Choice:
    """Return the arm of a router, from its scores [prompts, drafts] and its seconds [prompts]."""
    return replace(_certain(name, scores.argmax(1), scores.shape[1]), own_seconds=own_seconds)


def choose_best(matrix: Matrix) -> Choice:
    """Return the oracle: for each turn the draft that was fastest in the other turns, or in it where it is alone."""
    turns, shares = matrix.seconds.shape[2], np.zeros(matrix.steps.shape)
    seconds = np.zeros(len(matrix.prompts))
    for turn in range(turns):
        others = [other for other in range(turns) if other != turn] or [turn]
        best = matrix.seconds[..., others].sum(2).argmin(1)
        at = np.arange(len(best)), best
        shares[at] += 1 / turns
        seconds += matrix.seconds[..., turn][at] / turns
    return Choice("oracle", shares, seconds - (shares * matrix.seconds.mean(2)).sum(1))


def choose_online(matrix: Matrix, seed: int) -> Choice:
    """Return the arm that learns from each answer, prompts coming in an order of the seed; it pays for every scoring."""
    hedge, shares = Hedge(len(matrix.drafts)), np.zeros(matrix.steps.shape)
    gains = matrix.tokens[:, None] / matrix.steps
    for at in np.random.default_rng(seed).permutation(len(matrix.prompts)):
        shares[at] = hedge.probabilities()
        hedge.learn(gains[at] / gains.max())
    return Choice("hedge", shares, matrix.scoring.sum(1))


def _certain(name: str, drafts: Sequence[int], count: int) -> Choice:
    return Choice(name, np.eye(count)[np.asarray(drafts)], np.zeros(len(drafts)))


def _singles(matrix: Matrix, best: str) -> list[Choice]:
    """Return an arm for every draft but the best, so that what a single draft gives is seen."""
    return [choose_one(matrix, draft, f"only {draft}") for draft in matrix.drafts if draft != best]


def _own_seconds(router: routers.Router, texts: Sequence[str], features: np.ndarray) -> np.ndarray:
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


def _arm(choice: Choice, single: Choice, oracle: Choice, matrix: Matrix, seed: int) -> RoutingArm:
    own, best = choice.seconds(matrix), oracle.seconds(matrix)
    return RoutingArm(
        name=choice.name,
        tokens_per_second=by_group(matrix, matrix.tokens, own, seed),
        speedup=by_group(matrix, matrix.plain.mean(1), own, seed),
        gain=_less_one(by_group(matrix, single.seconds(matrix), own, seed)),
        gap=_less_one(by_group(matrix, own, best, seed)),
        regret=float(1000 * (own.sum() - best.sum()) / matrix.tokens.sum()),
        router_milliseconds=float(1000 * np.median(choice.own_seconds)) if choice.name != "oracle" else 0.0,
        chosen=dict(zip(matrix.drafts, choice.shares.mean(0).tolist(), strict=True)),
    )


def _less_one(ratio: Interval) -> Interval:
    low, high = (end if end is None else end - 1 for end in (ratio.low, ratio.high))
    return Interval(ratio.value - 1, low, high, ratio.n)


def _on_domains(matrix: Matrix, seed: int) -> list[DraftOnDomain]:
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


Learnt = Mapping[str, tuple[RouterFile, np.ndarray]]  # description and features of all prompts, by name


def _left_out(whole: Matrix, known: np.ndarray, test: np.ndarray, learnt: Learnt, seed: int) -> list[LeftOutDomain]:
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
    whole: Matrix,
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
        gains.append(_less_one(by_group(tested, single.seconds(tested), choice.seconds(tested), seed)))
    return ShuffledControl(
        router=facts.name,
        shuffles=SHUFFLES,
        gain=float(np.mean([gain.value for gain in gains])),
        largest=max(gains, key=lambda gain: gain.value),
        significant=sum(gain.low is not None and gain.low > 0 for gain in gains),
    )


def conclusion(router: str, single: str, gain: Interval) -> str:
    """Return what the gain of a router over the best single draft says, in a sentence."""
    said = f"{100 * gain.value:+.1f} %"
    if gain.low is None:
        return (
            f"Undecided: the router {router!r} answers at {said} of the speed of the draft {single!r}, from one group."
        )
    said = f"{said}, 95 % interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f} %, n = {gain.n} groups"
    if gain.low > 0:
        return (
            f"A draft for every prompt pays: the router {router!r} is faster than the draft {single!r} alone ({said})."
        )
    if gain.high < 0:
        return f"One draft is enough: the router {router!r} is slower than the draft {single!r} alone ({said})."
    return f"One draft is enough: the router {router!r} gains nothing certain over the draft {single!r} alone ({said})."
