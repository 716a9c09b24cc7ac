"""Texts that nearly repeat an earlier text, found in time linear in the number of texts.

Two texts are near-duplicates when the sets of their runs of three words have a Jaccard similarity of at least 0.8.
MinHash: each set is reduced to the minima of 64 random hash functions; two minima agree with a probability equal to the
similarity (Broder 1997, doi:10.1109/SEQUEN.1997.666900). Texts that agree in one of 16 bands of 4 minima are compared
exactly. A text is compared only with the first text of each band, so a thousand repeats of one text are a thousand
pairs, not half a million. A pair of similarity 0.8 is missed with probability 0.0002.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

SIMILARITY = 0.8
RUN = 3  # words
BANDS, ROWS = 16, 4
HASHES = np.random.default_rng(1).integers(1, 1 << 63, size=(2, BANDS * ROWS, 1), dtype=np.uint64)


@dataclass(frozen=True, slots=True)
class Pair:
    """A text that nearly repeats an earlier one."""

    id: str
    of: str
    similarity: float


def near_duplicates(texts: Mapping[str, str]) -> list[Pair]:
    """List every text (by its id) that nearly repeats an earlier one, once, with the earlier text most like it."""
    runs = {id: _runs(text) for id, text in texts.items()}
    first: dict[bytes, str] = {}  # band -> the text that had it first
    pairs = []
    for id, mine in runs.items():
        bands = _bands(mine)
        earlier = dict.fromkeys(first[band] for band in bands if band in first)
        best = max(earlier, key=lambda other: _jaccard(mine, runs[other]), default=None)
        if best is not None and (similarity := _jaccard(mine, runs[best])) >= SIMILARITY:
            pairs.append(Pair(id, best, similarity))
        for band in bands:
            first.setdefault(band, id)
    return pairs


def templates(texts: Mapping[str, str]) -> dict[str, list[str]]:
    """Group the ids of texts that differ in their numbers only, in order of first appearance."""
    groups: dict[str, list[str]] = {}
    for id, text in texts.items():
        groups.setdefault(re.sub(r"\d+(?:[.,]\d+)*", "#", text), []).append(id)
    return groups


def _runs(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+|[^\w\s]", text.casefold())
    return {tuple(words[start : start + RUN]) for start in range(max(1, len(words) - RUN + 1))}


def _jaccard(one: set, other: set) -> float:
    return len(one & other) / len(one | other)


def _bands(runs: set[tuple[str, ...]]) -> list[bytes]:
    digests = b"".join(hashlib.blake2b("\0".join(run).encode(), digest_size=8).digest() for run in runs)
    hashed = np.frombuffer(digests, dtype=np.uint64)
    minima = (HASHES[0] * hashed + HASHES[1]).min(axis=1)  # wraps modulo 2^64
    return [bytes([band]) + minima[band * ROWS : (band + 1) * ROWS].tobytes() for band in range(BANDS)]
