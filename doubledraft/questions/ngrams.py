"""Texts as sets of word n-grams, and the most similar of many texts: exact, without comparing all pairs.

Similarity is that of Jaccard: common n-grams by all n-grams. Two sets of similarity t or more share one of their
rarest n-grams, of which a set of n has n - ceil(t n) + 1 to look at (prefix filtering: Bayardo, Ma and Srikant 2007,
doi:10.1145/1242572.1242591). Only sets that share one of those are compared.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable

Grams = frozenset[tuple[str, ...]]


def ngrams(text: str, size: int) -> Grams:
    """Return the n-grams of `size` words, an operator or a bracket being a word; a shorter text is one n-gram."""
    words = re.findall(r"\w+|[^\w\s]", text)
    return frozenset(tuple(words[start : start + size]) for start in range(max(1, len(words) - size + 1)))


def jaccard(one: Grams, other: Grams) -> float:
    """Return the similarity of two sets, of which one is not empty."""
    common = len(one & other)
    return common / (len(one) + len(other) - common)


class Index:
    """Sets by name, in order; `nearest` finds the one most like another, from `threshold` on."""

    def __init__(self, threshold: float, sets: Iterable[Grams]) -> None:
        """Rank n-grams by how many of `sets` hold them; the sets themselves are added one by one."""
        self._threshold = threshold
        self._frequency = Counter(gram for grams in sets for gram in grams)
        self._sets: list[tuple[str, Grams]] = []
        self._first: dict[Grams, str] = {}  # equal sets are kept once, so that repeats cost nothing
        self._holders: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)  # places of sets by n-gram

    def add(self, name: str, grams: Grams) -> None:
        """Add a set, unless an equal one is there."""
        if grams not in self._first:
            self._first[grams] = name
            for gram in self._rarest(grams):
                self._holders[gram].append(len(self._sets))
            self._sets.append((name, grams))

    def nearest(self, grams: Grams) -> tuple[str, float] | None:
        """Return name and similarity of the most similar set, the first of several; None below the threshold."""
        if grams in self._first:
            return self._first[grams], 1.0
        places = {place for gram in self._rarest(grams) for place in self._holders.get(gram, ())}
        similarity, place = max(((jaccard(grams, self._sets[place][1]), -place) for place in places), default=(0.0, 0))
        return (self._sets[-place][0], similarity) if places and similarity >= self._threshold else None

    def _rarest(self, grams: Grams) -> list[tuple[str, ...]]:
        count = len(grams) - math.ceil(self._threshold * len(grams)) + 1
        return sorted(grams, key=lambda gram: (self._frequency[gram], gram))[:count]
