"""Intervals, percentiles and ratios of totals: plain numbers in, plain numbers out.

Every measured quantity is an `Interval`: its value, a 95 % interval and the number of units behind it. What cannot be
known is None, never NaN and never 0: a share of nothing has no value, and too few units have no interval. A ratio is a
ratio of totals, not a mean of ratios, which would let the shortest answers decide; its numerators and denominators are
resampled together.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 10_000  # puts the Monte Carlo error of a 2.5 % quantile near 0.16 points of probability
FEWEST_UNITS = 6  # of a bootstrap or a median: the range of 5 units misses their median in 6 % of samples, of 6 in 3 %
FEWEST = {90: 64, 99: 662}  # values that a percentile takes, as MLPerf LoadGen asks for
DRAWN_AT_ONCE = 1 << 20  # indices in memory


@dataclass(frozen=True, slots=True)
class Interval:
    """A quantity with its 95 % interval; `low` and `high` are None where the data cannot give one."""

    value: float
    low: float | None
    high: float | None
    n: int  # units behind the value: questions, drafting steps, or batches in flight together


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Median and tail of some values; a percentile is None where there are too few values to tell it."""

    p50: Interval  # the median
    p90: float | None  # from 64 values on
    p99: float | None  # from 662 values on
    n: int
    reason: str | None  # why a percentile is missing


def as_json(interval: Interval | None) -> dict[str, float | int | None] | None:
    """Return an interval as JSON has it: an object, or null where it is undefined."""
    return asdict(interval) if interval else None


def side(interval: Interval, value: float) -> int:
    """Return 1 where an interval lies above a value, -1 where below; 0 where it holds the value or has no ends."""
    return 0 if interval.low is None else (interval.low > value) - (interval.high < value)


def wilson(successes: int, n: int) -> Interval | None:
    """Return the share of successes with Wilson's score interval, None for 0 of 0.

    Wilson 1927; recommended for small n and for shares near 0 or 1 by Brown, Cai and DasGupta 2001,
    doi:10.1214/ss/1009213286.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"expected 0 <= successes <= n, found {successes} of {n}")
    if n == 0:
        return None
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    return Interval(share, max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share)), n)


def mean_interval(values: Sequence[float], seed: int) -> Interval | None:
    """Return the mean with a bootstrap interval, None for no values."""
    return ratio_interval(values, [1] * len(values), seed)


def ratio_interval(numerators: Sequence[float], denominators: Sequence[float], seed: int) -> Interval | None:
    """Return a ratio of totals with a paired bootstrap interval over units; None where the denominators sum to 0.

    `numerators[i]` and `denominators[i]` belong to one unit and are resampled together. The interval is the expanded
    percentile one, which corrects the percentile interval's narrowness at small n (Hesterberg 2015,
    doi:10.1080/00031305.2015.1089789). It has no ends below FEWEST_UNITS units, or where the denominators of a resample
    sum to 0.
    """
    pairs = np.array([numerators, denominators], dtype=float)  # unequal lengths raise here
    if not np.isfinite(pairs).all():
        raise ValueError("expected finite numbers to take a ratio of, found NaN or infinity")
    numerator, denominator = pairs.sum(axis=1)
    if denominator == 0:
        return None
    ends = _bootstrap_ends(pairs, lambda totals: totals[0] / totals[1], seed)
    return Interval(float(numerator / denominator), *ends, pairs.shape[1])


def totals(units: Sequence[str], values: Sequence[float]) -> list[float]:
    """Return the sum of the values of each unit, in the order in which units first occur."""
    sums: dict[str, float] = {}
    for unit, value in zip(units, values, strict=True):
        sums[unit] = sums.get(unit, 0) + value
    return list(sums.values())


def share_interval(units: Sequence[str], outcomes: Sequence[bool], seed: int) -> Interval | None:
    """Return the share of true outcomes: Wilson's interval where each is a unit, else a bootstrap's over units."""
    if len(set(units)) == len(units):
        return wilson(sum(outcomes), len(outcomes))
    return ratio_interval(totals(units, outcomes), totals(units, [1] * len(outcomes)), seed)


def ratio_change_interval(
    before: tuple[Sequence[float], Sequence[float]], after: tuple[Sequence[float], Sequence[float]], seed: int
) -> Interval | None:
    """Return a ratio of totals after - the same before, with a paired bootstrap interval over units.

    Each of the two is (numerators, denominators), one of each per unit: the same units in the same order, resampled
    together. None where denominators sum to 0.
    """
    values = np.array([*before, *after], dtype=float)  # unequal lengths raise here

    def change(totals: np.ndarray) -> np.ndarray:
        return totals[2] / totals[3] - totals[0] / totals[1]

    totals = values.sum(axis=1)
    if not totals[1] or not totals[3]:
        return None
    return Interval(float(change(totals)), *_bootstrap_ends(values, change, seed), values.shape[1])


def block_ratio_interval(numerators: Sequence[float], denominators: Sequence[float], seed: int) -> Interval:
    """Return a ratio of totals over few blocks of time, with an interval for machines whose speed drifts.

    `numerators[i]` and `denominators[i]` are totals of block i, resampled together. The interval is symmetric for the
    logarithm: the bootstrap's standard error times a quantile of Student's t (Hesterberg 2015). From three
    blocks on it holds the truth as often as it says, also where one block was slowed in the middle; percentiles of so
    few resampled blocks are too near. One block has no interval.
    """
    return _log_interval([numerators, denominators], lambda totals: totals[0] / totals[1], seed)


def block_ratio_change_interval(
    before: tuple[Sequence[float], Sequence[float]], after: tuple[Sequence[float], Sequence[float]], seed: int
) -> Interval:
    """Return a ratio of totals after / the same before, over the same blocks; see `block_ratio_interval`.

    Each of the two is (numerators, denominators), one of each per block.
    """
    return _log_interval([*before, *after], lambda totals: totals[2] / totals[3] / (totals[0] / totals[1]), seed)


def _log_interval(
    blocks: Sequence[Sequence[float]], statistic: Callable[[np.ndarray], np.ndarray], seed: int
) -> Interval:
    from scipy.stats import t

    values = np.array(blocks, dtype=float)
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise ValueError("expected positive finite numbers to take a ratio of")
    n, value = values.shape[1], float(statistic(values.sum(axis=1)))
    if n == 1:
        return Interval(value, None, None, n)
    logs = np.log(statistic(values @ _resampled(n, seed)))
    error = float(logs.std() * (n / (n - 1)) ** 0.5)  # a bootstrap's variance lacks 1/n of it
    factor = float(np.exp(t.ppf(0.5 + CONFIDENCE / 2, n - 1) * error))
    return Interval(value, value / factor, value * factor, n)


@lru_cache(maxsize=1)
def _resampled(n: int, seed: int) -> np.ndarray:
    """Return how often each of n units is in each resample: (n, RESAMPLES)."""
    return np.random.default_rng(seed).multinomial(n, [1 / n] * n, size=RESAMPLES).T.astype(float)


def percentiles(values: Sequence[float]) -> Percentiles | None:
    """Return the median with its interval, and the percentiles that there are enough values for; None for no values."""
    if not values:
        return None
    n = len(values)
    tail = {at: float(np.percentile(values, at)) if n >= least else None for at, least in FEWEST.items()}
    missing = [f"p{at} takes {FEWEST[at]} values" for at, value in tail.items() if value is None]
    reason = f"{' and '.join(missing)}, and there are {n}" if missing else None
    return Percentiles(median_interval(values), tail[90], tail[99], n, reason)


def median_interval(values: Sequence[float]) -> Interval | None:
    """Return the median between two order statistics, an interval that assumes nothing of the distribution.

    Conover 1999, Practical Nonparametric Statistics, section 3.2. Fewer than FEWEST_UNITS values have no interval.
    """
    from scipy.stats import binom

    if not values:
        return None
    ordered, n = sorted(map(float, values)), len(values)
    rank = int(binom.ppf(0.5 - CONFIDENCE / 2, n, 0.5))  # of the lower end, from 1, and of the upper one from the top
    ends = (ordered[rank - 1], ordered[n - rank]) if rank else (None, None)
    return Interval(float(np.median(ordered)), *ends, n)


def geometric_mean(ratios: Sequence[Interval]) -> Interval | None:
    """Return the geometric mean of independent ratios, with an interval from theirs; None for none.

    Each ratio's interval is symmetric in the logarithm, over n units, as `block_ratio_interval` makes it. The degrees
    of freedom are Welch's and Satterthwaite's. A ratio without ends leaves the mean without ends.
    """
    from scipy.stats import t

    if not ratios:
        return None
    mean = float(np.exp(np.mean([np.log(ratio.value) for ratio in ratios])))
    n = sum(ratio.n for ratio in ratios)
    if any(ratio.low is None or ratio.n < 2 for ratio in ratios):
        return Interval(mean, None, None, n)
    quantiles = [float(t.ppf(0.5 + CONFIDENCE / 2, ratio.n - 1)) for ratio in ratios]
    variances = [
        (np.log(ratio.high / ratio.low) / 2 / quantile) ** 2 for ratio, quantile in zip(ratios, quantiles, strict=True)
    ]
    total = sum(variances)
    if total == 0:
        return Interval(mean, mean, mean, n)
    freedom = total**2 / sum(part**2 / (ratio.n - 1) for part, ratio in zip(variances, ratios, strict=True))
    factor = float(np.exp(t.ppf(0.5 + CONFIDENCE / 2, freedom) * total**0.5 / len(ratios)))
    return Interval(mean, mean / factor, mean * factor, n)


def _bootstrap_ends(
    values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], seed: int
) -> tuple[float, float] | tuple[None, None]:
    """Return the expanded percentile interval of a statistic of totals; (None, None) where it cannot be had.

    That is for fewer than FEWEST_UNITS units, and where a denominator can be 0. `values` is (rows, n): numerators and
    denominators in turn. The statistic takes their totals (rows, resamples).
    """
    from scipy.stats import t

    n = values.shape[1]
    if n < FEWEST_UNITS:
        return None, None
    totals = np.concatenate([values @ counts.T for counts in _counts(n, seed, RESAMPLES)], axis=1)
    if (totals[1::2] == 0).any():
        return None, None
    tail = NormalDist().cdf((n / (n - 1)) ** 0.5 * t.ppf(0.5 - CONFIDENCE / 2, n - 1))
    low, high = np.quantile(statistic(totals), [tail, 1 - tail])
    return float(low), float(high)


@lru_cache(maxsize=4)  # a cell's quantities are over its questions, its batches and its levels
def _counts(n: int, seed: int, resamples: int) -> list[np.ndarray]:
    """Return how often each of n units is in each resample, in parts (resamples, n) that hold memory down."""
    generator, rows = np.random.default_rng(seed), max(1, DRAWN_AT_ONCE // n)
    parts = []
    for start in range(0, resamples, rows):
        drawn = generator.integers(n, size=(min(rows, resamples - start), n))
        places = drawn + n * np.arange(len(drawn))[:, None]
        counts = np.bincount(places.ravel(), minlength=drawn.size).reshape(drawn.shape)
        parts.append(counts.astype(np.min_scalar_type(n)))
    return parts
