"""Texts of one set that nearly repeat an earlier one, or differ in their numbers only.

Two texts are near-duplicates where the sets of their runs of three words have a Jaccard similarity of at least 0.8.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from doubledraft.questions.ngrams import Index, ngrams

SIMILARITY = 0.8
RUN = 3  # words


@dataclass(frozen=True, slots=True)
class SimilarPair:
    """A text that nearly repeats an earlier one."""

    id: str
    of: str
    similarity: float


def near_duplicates(texts: Mapping[str, str]) -> list[SimilarPair]:
    """List every text (by its id) that nearly repeats an earlier one, once, with the earlier text most like it."""
    runs = {id: ngrams(text.casefold(), RUN) for id, text in texts.items()}
    index, pairs = Index(SIMILARITY, runs.values()), []
    for id, grams in runs.items():
        if nearest := index.nearest(grams):
            pairs.append(SimilarPair(id, *nearest))
        index.add(id, grams)
    return pairs


def templates(texts: Mapping[str, str]) -> dict[str, list[str]]:
    """Group the ids of texts that differ in their numbers only, in order of first appearance."""
    groups: dict[str, list[str]] = {}
    for id, text in texts.items():
        groups.setdefault(re.sub(r"\d+(?:[.,]\d+)*", "#", text), []).append(id)
    return groups
