"""Tests of differences between paired yes-or-no outcomes, and what corrects them for several tests and for clusters.

A pair is one question with the verdicts of two answers: lost: only the first is right; gained: only the
second.
"""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from doubledraft.stats import CONFIDENCE, Interval


def mcnemar(only_first: int, only_second: int) -> float | None:
    """Return the exact two-sided p-value of paired yes-or-no outcomes being yes equally often; None if no pair differs.

    Only discordant pairs count: under the hypothesis they split like a fair coin (McNemar 1947, exact form).
    """
    from scipy.stats import binomtest

    discordant = only_first + only_second
    return float(binomtest(only_first, discordant).pvalue) if discordant else None


def paired_difference(lost: float, gained: float, n: float) -> Interval | None:
    """Return the share of n pairs that were gained - the share that were lost, with its interval; None for no pairs.

    `lost` counts pairs with a yes only before, `gained` those with a yes only after. Tango's score interval (1998,
    doi:10.1002/(SICI)1097-0258(19980430)17:8<891::AID-SIM780>3.0.CO;2-B) has a width even where no pair differs, unlike
    a bootstrap, so a few equal answers are never taken for equality.
    """
    from scipy.optimize import brentq

    if not n:
        return None
    quantile = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    value = (gained - lost) / n

    def end(sign: int) -> float:
        if value == sign:
            return value
        return brentq(lambda at: score_z(lost, gained, n, at) + sign * quantile, value, sign * (1 - 1e-12))

    return Interval(value, end(-1), end(1), round(n))


def score_z(lost: float, gained: float, n: float, difference: float) -> float:
    """Return Tango's standard normal score of a paired difference being `difference`; it is above 0 if it is more."""
    shift = gained - lost - n * difference
    if shift == 0:
        return 0.0
    linear = -gained - lost + (2 * n - gained + lost) * difference
    constant = -lost * difference * (1 - difference)
    share = ((linear**2 - 8 * n * constant) ** 0.5 - linear) / (4 * n)  # of pairs lost, where the difference is true
    return shift / (n * (2 * share + difference * (1 - difference))) ** 0.5


def within_margin(lost: float, gained: float, n: float, margin: float) -> float:
    """Return the p-value of the paired difference being as large as the margin, up or down: small shows equivalence.

    The larger p-value of two one-sided tests (Schuirmann 1987), each by Tango's score.
    """
    return max(not_below(lost, gained, n, -margin), not_below(gained, lost, n, -margin))


def not_below(lost: float, gained: float, n: float, least: float) -> float:
    """Return the one-sided p-value of the paired difference being `least` or less: small shows that it is above."""
    return 1 - NormalDist().cdf(score_z(lost, gained, n, least))


def design_effect(differences: Sequence[float], clusters: Sequence[object]) -> float:
    """Return how many times the variance of a mean is that of independent values, where values of a cluster are alike.

    At least 1. Counts divided by it may be used as if independent (Rao and Scott 1992, doi:10.2307/2532311).
    """
    centred = np.array(differences, dtype=float) - np.mean(differences)
    sums: dict[object, float] = {}
    for cluster, value in zip(clusters, centred, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + value
    independent = float((centred**2).sum())
    return max(1.0, sum(total**2 for total in sums.values()) / independent) if independent else 1.0


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted for being several, so that all may be compared with one level; None stays None.

    Holm 1979: the k-th smallest of m is multiplied by m - k + 1, and none is smaller than one before it.
    """
    ranked = sorted((value, place) for place, value in enumerate(p_values) if value is not None)
    adjusted, least = [None] * len(p_values), 0.0
    for rank, (value, place) in enumerate(ranked):
        least = max(least, min(1.0, value * (len(ranked) - rank)))
        adjusted[place] = least
    return adjusted
