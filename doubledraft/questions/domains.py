"""Prompts of a domain in three splits that share no group: train for drafts, validation for routers, test for scores.

A group is what would leak from one split into another: prompts of one template, of one module or repository, or that
nearly repeat each other (word 5-grams, as `overlap`). Groups that share a near repetition are merged. They are dealt to
the splits in a seeded order; a split takes its prompts from its groups in turn, so that none dominates it. Test and
validation get as many groups as prompts, at most a fifth of all each.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from doubledraft.grading.grader import Grader
from doubledraft.log import log
from doubledraft.questions import domain_sources, golds
from doubledraft.questions.domain_sources import DomainPrompt
from doubledraft.questions.ngrams import Index, ngrams
from doubledraft.questions.overlap import THRESHOLD, WORDS, distinct, normalise
from doubledraft.records import Question, write_records
from doubledraft.summaries import json_file
from doubledraft.summaries.domain_manifest import DomainManifest, SplitCounts

SPLITS = ("train", "validation", "test")
MOST_GROUPS = 5  # of so many groups, test and validation get at most one each
UNGRADABLE = "gold answer that cannot be graded"
COMPARED = 4  # prompts read for each one asked for: more would only cost time


def split_domain(
    *, spec: Mapping[str, object], domain: str, seed: int, out: Mapping[str, str | Path], manifest: str | Path
) -> None:
    """Write the prompts of a domain's config entry `spec`, a file for each of SPLITS, and the manifest.

    `subject` of a written question is its group; `answer` is its gold answer, empty where it has none. Raise ValueError
    where there are fewer prompts than `spec` asks for.
    """
    sizes = {split: spec[split] for split in SPLITS}
    source = domain_sources.read(spec, domain, seed, COMPARED * sum(sizes.values()))
    left_out: Counter[str] = Counter()
    prompts = _gradable(_distinct(source.prompts, left_out), left_out)
    random.Random(f"{seed} {domain} prompts").shuffle(prompts)
    groups = group(prompts[: COMPARED * sum(sizes.values())])
    parts = deal(groups, sizes, random.Random(f"{seed} {domain} groups"))
    for split, rows in parts.items():
        if len(rows) < sizes[split]:
            raise ValueError(
                f"config key domains.sets.{domain}: {sizes[split]} {split} prompts asked for, but the source "
                f"({spec['source']}) has {len(rows)} in groups of that split ({len(prompts)} prompts in {len(groups)} "
                f"groups, left out: {dict(left_out) or 'none'}); lower `{split}` or widen the source"
                + (": test and validation get at most a fifth of the groups each" if split != "train" else "")
                + ("; leave out a field `answer` that is no final answer" if UNGRADABLE in left_out else "")
            )
        write_records(out[split], [_question(row, domain, split, at) for at, row in enumerate(rows, start=1)])
    counts = {
        split: SplitCounts(prompts=len(rows), groups=len({at for at, _ in rows})) for split, rows in parts.items()
    }
    log.info("%s: %d prompts in %d groups; %s", domain, len(prompts), len(groups), counts)
    facts = DomainManifest(
        domain=domain,
        source=spec["source"],
        licence=source.licence,
        origin=source.origin,
        seed=seed,
        found=len(source.prompts),
        left_out=dict(left_out),
        groups=len(groups),
        splits=counts,
    )
    json_file.write(manifest, facts)


def group(prompts: Sequence[DomainPrompt]) -> list[list[DomainPrompt]]:
    """Return the prompts by group: those that share a key of their source, or nearly repeat each other."""
    parents = list(range(len(prompts)))

    def first(at: int) -> int:
        while parents[at] != at:
            at = parents[at]
        return at

    keys: dict[str, int] = {}
    grams = [ngrams(normalise(prompt.text), WORDS) for prompt in prompts]
    index = Index(THRESHOLD, grams)
    for at, prompt in enumerate(prompts):
        if prompt.key is not None:
            parents[first(at)] = first(keys.setdefault(prompt.key, at))
        if nearest := index.nearest(grams[at]):
            parents[first(at)] = first(int(nearest[0]))
        index.add(str(at), grams[at])
    groups: defaultdict[int, list[DomainPrompt]] = defaultdict(list)
    for at, prompt in enumerate(prompts):
        groups[first(at)].append(prompt)
    return list(groups.values())


def deal(
    groups: Sequence[Sequence[DomainPrompt]], counts: Mapping[str, int], order: random.Random
) -> dict[str, list[tuple[int, DomainPrompt]]]:
    """Return for each split its prompts with the number of their group; fewer than wanted where there are no more."""
    places = order.sample(range(len(groups)), len(groups))
    held_out = {split: min(counts[split], len(groups) // MOST_GROUPS) for split in ("test", "validation")}
    parts = {}
    for split, count in held_out.items():
        parts[split], places = places[:count], places[count:]
    parts["train"] = places
    return {split: _in_turn(groups, parts[split])[: counts[split]] for split in SPLITS}


def _in_turn(groups: Sequence[Sequence[DomainPrompt]], places: Sequence[int]) -> list[tuple[int, DomainPrompt]]:
    """Return the first prompt of every group, then the second of every group that has one, and so on."""
    longest = max((len(groups[at]) for at in places), default=0)
    return [(at, groups[at][turn]) for turn in range(longest) for at in places if turn < len(groups[at])]


def _distinct(prompts: Sequence[DomainPrompt], left_out: Counter[str]) -> list[DomainPrompt]:
    unique = distinct(prompts, lambda prompt: prompt.text)
    if repeats := len(prompts) - len(unique):
        left_out["repeats another prompt"] += repeats
    return unique


def _gradable(prompts: Sequence[DomainPrompt], left_out: Counter[str]) -> list[DomainPrompt]:
    """Return the prompts without those whose gold answer does not equal itself, which are counted."""
    if not any(prompt.answer for prompt in prompts):
        return list(prompts)
    gradable = []
    with Grader() as grader:
        for prompt in prompts:
            if prompt.answer and (reason := golds.fault(grader, prompt.answer)):
                log.info("%.80r is left out: gold answer %.80r: %s", prompt.text, prompt.answer, reason)
                left_out[UNGRADABLE] += 1
            else:
                gradable.append(prompt)
    return gradable


def _question(row: tuple[int, DomainPrompt], domain: str, split: str, number: int) -> Question:
    place, prompt = row
    return Question(
        id=f"{domain}-{split}-{number:04d}",
        scenario=domain,
        split=split,
        question=prompt.text,
        answer=prompt.answer,
        steps=[],
        subject=f"{domain}-{place}",
    )
