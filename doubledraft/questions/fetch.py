"""The questions of a scenario: from a source to the two files that everything else is built from.

A source has a pool for each split; a seed puts the pool in order and the first `count` are taken, so a larger count
extends a smaller one. More than the pool holds is an error, never a wider filter; with `allow_fewer` all of it is
taken, and the log, the metrics and the report record that. A question that a pool holds twice is taken once. A training
question that repeats a test question, exactly or nearly, is not taken, and is listed with it; the test set stays
as the source has it. The manifest holds every count and the origin of the rows.

Generated questions are only checked to be disjoint. Both splits share the templates by design, and the generator keeps
their numbers apart: every test question has a near repetition in train, and what is tested is new numbers.

What the trained target answers for its draft to learn from (`fetch_more`) are further questions, in a file of their
own, so that another number of them trains no target again.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from doubledraft.files import write_json
from doubledraft.log import log
from doubledraft.questions import overlap, sources
from doubledraft.questions.overlap import Overlap, normalise
from doubledraft.questions.sources import Pool
from doubledraft.questions.wordproblems import generate
from doubledraft.records import Question, read_records, write_records

SPLITS = ("train", "test")


def fetch(
    *,
    spec: Mapping[str, object],
    scenario: str,
    seed: int,
    train_path: str | Path,
    test_path: str | Path,
    overlap_path: str | Path,
    manifest_path: str | Path,
) -> None:
    """Write a scenario's training and test questions as its config entry `spec` describes them, and what was left out.

    Raise ValueError where a split has fewer questions than `spec` asks for and `spec` does not allow that.
    """
    pools, parts, overlaps = _read_splits(spec, scenario, seed)
    questions = {split: parts[split][: spec[split]] for split in SPLITS}
    counts = {split: _counts(pools[split], spec[split], len(questions[split])) for split in SPLITS}
    counts["train"]["left_out"] |= _overlap_counts(overlaps)
    for split in SPLITS:
        _check_enough(counts[split], spec, scenario, split)
    check_disjoint(questions["train"], questions["test"], scenario)
    write_records(train_path, questions["train"])
    write_records(test_path, questions["test"])
    write_records(overlap_path, sorted(overlaps, key=lambda row: row.id))
    write_json(manifest_path, {"scenario": scenario, "source": spec["source"], "seed": seed, "splits": counts})


def fetch_more(
    *,
    spec: Mapping[str, object],
    count: int | None,
    fewest: int,
    scenario: str,
    seed: int,
    train_path: str | Path,
    test_path: str | Path,
    out: str | Path,
    manifest_path: str | Path,
) -> None:
    """Write the questions that the trained target answers for its draft, none of which repeats a test question.

    `count` new ones where they are generated. Of a data set, up to `count` of its training questions, those first that
    the target was not trained on. None takes the training questions. Raise ValueError where that gives less than
    `fewest`, with which the draft's training could not choose a checkpoint.
    """
    train, test = read_records(train_path, Question), read_records(test_path, Question)
    if count is None:
        questions = train
    elif spec["source"] == "generated":
        questions = generate.generate_more(spec["difficulty"], len(train), count, seed, scenario)
        check_disjoint(train, questions, scenario)
    else:
        _, parts, _ = _read_splits(spec, scenario, seed)
        questions = (parts["train"][len(train) :] + train)[:count]
    check_disjoint(questions, test, scenario)
    if len(questions) < fewest:
        raise ValueError(
            f"scenario {scenario} gives the draft {len(questions)} questions, and train.draft.held_out needs {fewest}, "
            "twice as many as it holds out: add training questions, or lower it"
        )
    train_ids = {question.id for question in train}
    counts = {"asked": count, "got": len(questions), "trained_on": sum(row.id in train_ids for row in questions)}
    log.info("%s: questions to answer for the draft: %s", scenario, counts)
    write_records(out, questions)
    write_json(manifest_path, {"scenario": scenario, "source": spec["source"], "seed": seed} | counts)


def _read_splits(
    spec: Mapping[str, object], scenario: str, seed: int
) -> tuple[dict[str, Pool], dict[str, list[Question]], list[Overlap]]:
    """Return the pool of each split, its questions in order, and the overlaps with test, which train lacks here."""
    pools = {split: _read(spec, split, scenario, seed) for split in SPLITS}
    parts = {split: _in_order(pools[split], spec, seed, split) for split in SPLITS}
    overlaps = [] if spec["source"] == "generated" else overlap.find(parts["train"], parts["test"])
    overlap_ids = {row.id for row in overlaps}
    parts["train"] = [question for question in parts["train"] if question.id not in overlap_ids]
    return pools, parts, overlaps


def check_disjoint(train: Iterable[Question], test: Iterable[Question], scenario: str) -> None:
    """Raise ValueError where a question is in both of two lists, case and punctuation aside."""
    held_out = {normalise(question.question) for question in test}
    duplicates = [question for question in train if normalise(question.question) in held_out]
    if duplicates:
        raise ValueError(
            f"scenario {scenario!r}: {len(duplicates)} questions are in both train and test, first {duplicates[0].id!r}"
        )


def _read(spec: Mapping[str, object], split: str, scenario: str, seed: int) -> Pool:
    """Read the pool of a split from the source of a scenario's config entry."""
    source, path, revision = spec["source"], spec.get("path"), spec.get("revision")
    if source == "gsm8k":
        return sources.read_gsm8k(split, scenario, path, revision)
    if source == "math":
        return sources.read_math(split, scenario, path, revision, spec.get("subjects"), spec.get("levels"))
    if source == "jsonl":
        return sources.read_own(split, scenario, path[split] if isinstance(path, Mapping) else path)
    available = generate.capacity(spec["difficulty"], split)
    count = min(spec[split], available) if spec.get("allow_fewer") else spec[split]
    return Pool(generate.generate(spec["difficulty"], split, count, seed, scenario), count, [])


def _in_order(pool: Pool, spec: Mapping[str, object], seed: int, split: str) -> list[Question]:
    """Return the questions of a pool, each once, in the order of the seed.

    Of one file for both splits, test takes the front of the order and train the back.
    """
    if spec["source"] == "generated":
        return pool.questions
    questions = _distinct(pool)
    if spec["source"] == "jsonl" and not isinstance(spec["path"], Mapping):
        order = random.Random(f"{seed} one file").sample(questions, len(questions))
        return order[: spec["test"]] if split == "test" else order[spec["test"] :][::-1]
    return random.Random(f"{seed} {split}").sample(questions, len(questions))


def _distinct(pool: Pool) -> list[Question]:
    unique = overlap.distinct(pool.questions, lambda question: question.question)
    if repeats := len(pool.questions) - len(unique):
        pool.left_out["repeats another question"] += repeats
    return unique


def _overlap_counts(overlaps: Sequence[Overlap]) -> dict[str, int]:
    kinds = Counter(row.kind for row in overlaps)
    return {f"{kind} overlap with test": count for kind, count in sorted(kinds.items())}


def _counts(pool: Pool, asked: int, got: int) -> dict[str, object]:
    return {
        "asked": asked,
        "got": got,
        "rows": pool.rows,
        "left_out": dict(pool.left_out),
        "special": {name: int(count) for name, count in pool.special.items()},
        "origin": pool.origin,
    }


def _check_enough(counts: Mapping[str, object], spec: Mapping[str, object], scenario: str, split: str) -> None:
    """Raise ValueError where a split has too few questions and `allow_fewer` is not set; log what was read."""
    asked, got = counts["asked"], counts["got"]
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts["left_out"].items())
    summary = f"{counts['rows']} {split} rows read" + (f"; left out: {reasons}" if reasons else "")
    if got < asked and not (got and spec.get("allow_fewer")):
        raise ValueError(
            f"scenario {scenario!r}: {asked} {split} questions asked for, but its source ({spec['source']}) has {got} "
            f"({summary}); lower `{split}`, widen the source, or set `allow_fewer: true` to take what there is"
        )
    if got < asked:
        log.warning("%s: %d %s questions asked for, %d taken, which are all there are", scenario, asked, split, got)
    log.info("%s: %d %s questions; %s", scenario, got, split, summary)
