"""The questions of a scenario: from a source to the two files that everything else is built from.

A source gives a pool for each split; a seed puts the pool in order and the first `count` are taken, so a larger count
extends a smaller one. More than the pool holds is an error, never a wider filter. A question that a pool holds twice,
case and punctuation aside, is taken once, and a training question that stands in the test pool is not taken at all;
how many is logged.
"""

import random
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from doubledraft import question_sources, wordproblems
from doubledraft.question_sources import Paths
from doubledraft.records import Question, write_records
from doubledraft.runtime import log


def fetch(spec: Mapping[str, object], scenario: str, seed: int, train_path: str | Path, test_path: str | Path) -> None:
    """Write the training and test questions of a scenario, as its config entry `spec` describes them."""
    if spec["source"] == "jsonl" and not isinstance(spec["path"], Mapping):
        _check_one_file(spec, scenario)
    options = {key: spec.get(key) for key in ("difficulty", "path", "subjects", "levels", "revision")}
    train, test = (
        load(spec["source"], split, spec[split], seed, scenario=scenario, **options) for split in ("train", "test")
    )
    check_disjoint(train, test, scenario)
    write_records(train_path, train)
    write_records(test_path, test)
    log.info("%s: %d training and %d test questions", scenario, len(train), len(test))


def load(
    source: str,
    split: str,
    count: int,
    seed: int,
    *,
    scenario: str,
    difficulty: str | None = None,
    path: Paths | None = None,
    subjects: list[str] | None = None,
    levels: list[int] | None = None,
    revision: str | None = None,
) -> list[Question]:
    """Give `count` questions of a split, "train" or "test"; raises ValueError when the source has fewer.

    `path` of a jsonl source is {train, test}, or one file: test takes the front of its seeded order and train the back.
    """
    if source == "generated":
        return wordproblems.generate(difficulty, split, count, seed, scenario)
    if source == "jsonl" and not isinstance(path, Mapping):
        pool = _shuffled(_distinct(question_sources.own(split, scenario, path)), seed, "one file")
        pool = pool if split == "test" else pool[::-1]
    else:
        readers = {
            "gsm8k": lambda split: question_sources.gsm8k(split, scenario, path, revision),
            "math": lambda split: question_sources.math(split, scenario, path, revision, subjects, levels),
            "jsonl": lambda split: question_sources.own(split, scenario, path[split]),
        }
        held_out = readers[source]("test") if split == "train" else []
        pool = _shuffled(_distinct(readers[source](split), held_out), seed, split)
    if count > len(pool):
        raise ValueError(
            f"scenario {scenario!r}: {count} {split} questions asked for, but its source ({source}) has {len(pool)}; "
            f"lower `{split}` or widen the source"
        )
    return pool[:count]


def check_disjoint(train: Iterable[Question], test: Iterable[Question], scenario: str) -> None:
    """Raise ValueError when a question stands in both splits, case and punctuation aside."""
    held_out = {normalise(question.question) for question in test}
    both = [question for question in train if normalise(question.question) in held_out]
    if both:
        raise ValueError(
            f"scenario {scenario!r}: {len(both)} questions stand in both train and test, first {both[0].id!r}"
        )


def normalise(text: str) -> str:
    """Give a question without case, white space and punctuation; operators stay, since they make the question."""
    return re.sub(r"[\s.,;:!?'\"$\\]+", " ", text.casefold()).strip()


def _check_one_file(spec: Mapping[str, object], scenario: str) -> None:
    available = len(_distinct(question_sources.own("test", scenario, spec["path"])))
    if spec["train"] + spec["test"] > available:
        raise ValueError(
            f"scenario {scenario!r}: {spec['train']} train and {spec['test']} test questions asked for, "
            f"but {spec['path']} has {available} different ones; lower `train` or `test`"
        )


def _distinct(questions: list[Question], held_out: Iterable[Question] = ()) -> list[Question]:
    seen = {normalise(question.question) for question in held_out}
    kept = []
    for question in questions:
        if (key := normalise(question.question)) not in seen:
            seen.add(key)
            kept.append(question)
    if len(kept) < len(questions):
        log.info("left out %d questions that repeat another one or stand in test", len(questions) - len(kept))
    return kept


def _shuffled(questions: list[Question], seed: int, order: str) -> list[Question]:
    return random.Random(f"{seed} {order}").sample(questions, len(questions))
