"""Training questions that repeat a test question, exactly or nearly: they are removed from train and listed.

Exact: the same text, case, white space and punctuation aside. Near: the sets of word 5-grams have a Jaccard similarity
of at least 0.35. The 5-grams are those of Lee et al. 2022 (arXiv 2107.06499), who compare whole documents at 0.8. A
question of 45 words with three scattered words replaced is at 0.46, with four at 0.34, so the threshold finds questions
repeated with up to three words or numbers changed. In the released GSM8K three training questions are at 0.40 to 0.56,
each the story of a test question with other numbers, and the next one is at 0.20. Not found: a story in other words,
and a short question with a word in the middle replaced.

An index from n-gram to test questions limits the comparison to pairs with a common n-gram, and the similarity is exact;
`traces/near_duplicates` compares texts of one set with each other, at a high similarity, where MinHash is as good.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from doubledraft.records import Question

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
    grams = [_grams(question.question) for question in test]
    holders = defaultdict(list)
    for place, held in enumerate(grams):
        for gram in held:
            holders[gram].append(place)
    found = []
    for question in train:
        if twin := texts.get(normalise(question.question)):
            found.append(_overlap(question, twin, "exact", 1.0))
            continue
        own = _grams(question.question)
        shared = Counter(place for gram in own for place in holders.get(gram, ()))
        similar = {place: count / (len(own) + len(grams[place]) - count) for place, count in shared.items()}
        best = max(similar, key=lambda place: (similar[place], -place), default=None)
        if best is not None and similar[best] >= THRESHOLD:
            found.append(_overlap(question, test[best], "near", round(similar[best], 3)))
    return found


def normalise(text: str) -> str:
    """Return a question without case, white space and punctuation; operators stay, since they make the question."""
    return re.sub(r"[\s.,;:!?'\"$\\]+", " ", text.casefold()).strip()


def _grams(text: str) -> set[tuple[str, ...]]:
    """Return the word n-grams of a text, an operator or a bracket being a word; a shorter text is one n-gram."""
    words = re.findall(r"\w+|\S", normalise(text))
    return {tuple(words[start : start + WORDS]) for start in range(max(1, len(words) - WORDS + 1))}


def _overlap(question: Question, twin: Question, kind: str, similarity: float) -> Overlap:
    texts = {"question": question.question, "test_question": twin.question}
    return Overlap(id=question.id, test_id=twin.id, kind=kind, similarity=similarity, **texts)
