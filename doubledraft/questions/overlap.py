"""Training questions that repeat a test question, exactly or nearly: they are removed from train and listed.

Exact: the same text, case, white space and punctuation aside. Near: the sets of word 5-grams have a Jaccard similarity
of at least 0.35. The 5-grams are those of Lee et al. 2022 (arXiv 2107.06499), who compare whole documents at 0.8. A
question of 45 words with three scattered words replaced is at 0.46, with four at 0.34, so the threshold finds questions
repeated with up to three words or numbers changed. In the released GSM8K three training questions are at 0.40 to 0.56,
each the story of a test question with other numbers, and the next one is at 0.20. Not found: a story in other words,
and a short question with a word in the middle replaced.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from doubledraft.questions.ngrams import Grams, Index, ngrams
from doubledraft.records import Question

Row = TypeVar("Row")
WORDS = 5
THRESHOLD = 0.35


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """A training question and the test question that it repeats; of several, the most similar one."""

    id: str  # of the training question
    test_id: str
    kind: str  # "exact" or "near"
    similarity: float  # of the sets of n-grams, 1 where exact
    question: str
    test_question: str


def find(train: Iterable[Question], test: Sequence[Question]) -> list[Overlap]:
    """List the training questions that repeat a test question, in the order of `train`."""
    texts = {normalise(question.question): question for question in test}
    questions = {question.id: question for question in test}
    grams = {question.id: _grams(question) for question in test}
    index = Index(THRESHOLD, grams.values())
    for id, gram_set in grams.items():
        index.add(id, gram_set)
    overlaps = []
    for question in train:
        if twin := texts.get(normalise(question.question)):
            overlaps.append(_overlap(question, twin, "exact", 1.0))
        elif nearest := index.nearest(_grams(question)):
            id, similarity = nearest
            overlaps.append(_overlap(question, questions[id], "near", round(similarity, 3)))
    return overlaps


def distinct(rows: Iterable[Row], text_of: Callable[[Row], str]) -> list[Row]:
    """Return the rows whose text no row before them has, case, white space and punctuation aside."""
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(normalise(text_of(row)), row)
    return list(first.values())


def normalise(text: str) -> str:
    """Return a question without case, white space and punctuation; operators stay, since they make the question."""
    return re.sub(r"[\s.,;:!?'\"$\\]+", " ", text.casefold()).strip()


def _grams(question: Question) -> Grams:
    return ngrams(normalise(question.question), WORDS)


def _overlap(question: Question, twin: Question, kind: str, similarity: float) -> Overlap:
    texts = {"question": question.question, "test_question": twin.question}
    return Overlap(id=question.id, test_id=twin.id, kind=kind, similarity=similarity, **texts)
