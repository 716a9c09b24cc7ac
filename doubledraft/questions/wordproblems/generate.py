"""The generator of the default study's questions: word problems and algebra of three difficulties, answers exact.

Question `i` of a split depends on the difficulty, the split, the seed and `i` alone, so a larger count extends a
smaller one. Every round uses each template once, in an order of its own. The number tuples of a template are divided
between the splits by a hash that ignores their order, one bucket of five being test: a template is never tested with
numbers that it was trained with, not even in another order. A tuple is used at most once per split, which limits the
number of questions (`capacity`).

`generate_more` goes on where the training questions end: its numbers are none of theirs and none of the test set's.
"""

import hashlib
import random
from collections.abc import Iterator
from itertools import count, islice

from doubledraft.questions.wordproblems import easy, hard, medium
from doubledraft.questions.wordproblems.parts import Problem, Template
from doubledraft.records import Question

TEMPLATES = {
    "easy": easy.TEMPLATES,
    "medium": medium.TEMPLATES,
    "hard": hard.TEMPLATES,
}
BUCKETS = 5  # one of them is test


def generate(difficulty: str, split: str, count: int, seed: int, scenario: str) -> list[Question]:
    """Return `count` questions of a difficulty; raise ValueError where there are fewer."""
    available = capacity(difficulty, split)
    if count > available:
        raise ValueError(
            f"scenario {scenario!r}: {count} {split} questions asked for, but difficulty {difficulty!r} "
            f"has {available}; ask for at most {available}"
        )
    templates = _templates(difficulty)
    numbers = {kind.name: _shuffled(kind, split, seed) for kind in templates}
    questions = []
    for index in range(count):
        turn, place = divmod(index, len(templates))
        if place == 0:
            order = random.Random(f"{seed} {difficulty} {split} {turn}").sample(templates, len(templates))
        kind = order[place]
        words = random.Random(f"{seed} {kind.name} {split} {turn}")
        problem = kind.write(words, *numbers[kind.name][turn])
        id = f"{scenario}-{split}-{index + 1:04d}"
        questions.append(_question(id, scenario, split, difficulty, kind, words.choice(problem.texts), problem))
    return questions


def generate_more(difficulty: str, trained: int, wanted: int, seed: int, scenario: str) -> list[Question]:
    """Return `wanted` questions with other numbers than the test set and the first `trained` training questions have.

    Every round asks each template that has another text left, in an order of its own. Raise ValueError where there are
    fewer.
    """
    templates = _templates(difficulty)
    turns = -(-trained // len(templates))  # whose numbers the training questions have
    problems = {kind: _problems(kind, _shuffled(kind, "train", seed)[turns:], seed) for kind in templates}
    rows: list[tuple[Template, str, Problem]] = []
    while len(rows) < wanted:
        order = random.Random(f"{seed} {difficulty} more {len(rows)}").sample(templates, len(templates))
        turn = [(kind, *problem) for kind in order for problem in islice(problems[kind], 1)]
        if not turn:
            raise ValueError(
                f"scenario {scenario!r}: {wanted} more questions asked for, but difficulty {difficulty!r} has "
                f"{len(rows)} beside {trained} training questions; lower distill.questions or the scenario's `train`"
            )
        rows += turn
    return [
        _question(f"{scenario}-more-{number:04d}", scenario, "train", difficulty, *row)
        for number, row in enumerate(rows[:wanted], start=1)
    ]


def _problems(kind: Template, numbers: list[tuple[int, ...]], seed: int) -> Iterator[tuple[str, Problem]]:
    """Yield every text of a template once: one for each of its numbers, then again until that gives nothing new."""
    seen: set[str] = set()
    for turn in count():
        before = len(seen)
        for values in numbers:
            words = random.Random(f"{seed} {kind.name} more {values} {turn}")
            problem = kind.write(words, *values)
            text = words.choice(problem.texts)
            if text not in seen:
                seen.add(text)
                yield text, problem
        if len(seen) == before:
            return


def _question(
    id: str, scenario: str, split: str, difficulty: str, kind: Template, text: str, problem: Problem
) -> Question:
    return Question(
        id=id,
        scenario=scenario,
        split=split,
        question=text,
        answer=problem.answer,
        steps=problem.steps,
        level=difficulty,
        subject=kind.name,
    )


def capacity(difficulty: str, split: str) -> int:
    """Return how many different questions a difficulty has for a split, each template used equally often."""
    templates = _templates(difficulty)
    return len(templates) * min(len(numbers_of(kind, split)) for kind in templates)


def numbers_of(kind: Template, split: str) -> list[tuple[int, ...]]:
    """List the number tuples of a template that belong to a split, "train" or "test"."""
    for_test = {"train": False, "test": True}[split]
    return [numbers for numbers in kind.numbers if _is_test(kind.name, numbers) is for_test]


def _templates(difficulty: str) -> tuple[Template, ...]:
    if difficulty not in TEMPLATES:
        raise ValueError(f"difficulty {difficulty!r} is not known; choose one of {', '.join(TEMPLATES)}")
    return TEMPLATES[difficulty]


def _is_test(name: str, numbers: tuple[int, ...]) -> bool:
    key = f"{name} {sorted(numbers)}".encode()
    return hashlib.sha256(key).digest()[0] % BUCKETS == 0


def _shuffled(kind: Template, split: str, seed: int) -> list[tuple[int, ...]]:
    numbers = numbers_of(kind, split)
    random.Random(f"{seed} {kind.name} {split}").shuffle(numbers)
    return numbers
