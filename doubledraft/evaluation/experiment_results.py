"""What the arms of speed experiments were worth: speed, acceptance, latency and quality, from their timed answers.

A speedup is a ratio of totals: wall time of the baseline / of the arm, prefill included. Its interval resamples
questions; its spread is over the repeats, each against the baseline of the same repeat. Both should emit the same
tokens, and the share of questions where they do is reported. Latency is that of a question, the mean of its repeats.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from statistics import fmean, median

from doubledraft.engine.decoding_metrics import together
from doubledraft.evaluation.acceptance import summary
from doubledraft.evaluation.arms import Timing
from doubledraft.evaluation.grade import UNGRADED, judge, share
from doubledraft.evaluation.interleave import BASELINE
from doubledraft.questions.data_sets import DataSet
from doubledraft.records import Question, Score
from doubledraft.stats import Interval, Percentiles, percentiles, ratio_interval, wilson
from doubledraft.summaries.cell_metrics import GroupAccuracy
from doubledraft.summaries.run_file import StepSeconds

Count = Callable[[Timing], float]
SECONDS, EMITTED, PASSES = attrgetter("seconds"), attrgetter("metrics.emitted"), attrgetter("metrics.passes")
DRAFTED, ACCEPTED, AGREED = map(attrgetter, ("metrics.drafted", "metrics.accepted", "metrics.agreed"))


@dataclass(frozen=True, slots=True)
class Spread:
    """How a ratio is spread over the repeats."""

    median: float
    min: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    """What one way of answering was worth on one data set."""

    arm: str
    n: int  # questions
    repeats: int
    emitted: int  # tokens of all repeats
    seconds: float  # of all repeats
    tokens_per_second: Spread
    speedup: Interval | None
    speedup_of_repeats: Spread
    tokens_per_step: Interval | None
    mean_draft_length: float | None
    acceptance_rate: Interval | None  # accepted / drafted, counted up to the first rejection
    order_independent_agreement: Interval | None  # agreed / drafted, counted past the first rejection too
    per_token_acceptance: float | None  # alpha; None where steps drafted different numbers of tokens
    identical_rate: Interval | None
    latency: Percentiles | None  # seconds per answer, one request at a time
    time_to_first_token: Percentiles | None  # seconds
    quality: GroupAccuracy  # of the first repeat; pass@1 of programs; null where nothing is judged
    step_seconds: StepSeconds


def summarize(
    timings: Sequence[Timing], data: DataSet, decode: Callable[[Sequence[int]], str], seed: int
) -> list[ArmResult]:
    """Return what every arm was worth on one data set, the baseline first; `decode` turns token ids into text."""
    by_arm: dict[str, list[Timing]] = {}
    for timing in sorted(timings, key=lambda timing: timing.arm != BASELINE):
        by_arm.setdefault(timing.arm, []).append(timing)
    scores = _scores([timing for timing in timings if timing.repeat == 0], data, decode)
    return [
        _result(arm, by_arm[BASELINE], _quality([scores[_key(timing)] for timing in arm if timing.repeat == 0]), seed)
        for arm in by_arm.values()
    ]


def _key(timing: Timing) -> tuple[int, tuple[int, ...]]:
    return timing.question, tuple(timing.answer.token_ids)


def _scores(timings: Sequence[Timing], data: DataSet, decode: Callable) -> dict[tuple, Score]:
    """Return the grade of every answer; equal answers of several arms are graded once."""
    distinct = {_key(timing): timing for timing in timings}
    rows = [
        timing.as_generation(data.questions[timing.question].id, decode(timing.answer.token_ids))
        for timing in distinct.values()
    ]
    return dict(zip(distinct, judge(data, rows), strict=True))


def _quality(scores: Sequence[Score]) -> GroupAccuracy:
    judged = [score for score in scores if score.strict_verdict != UNGRADED]
    return GroupAccuracy(
        strict=share(score.strict_verdict == "equal" for score in judged),
        lenient=share(score.lenient_verdict == "equal" for score in judged),
    )


def _result(timings: Sequence[Timing], baseline: Sequence[Timing], quality: GroupAccuracy, seed: int) -> ArmResult:
    overall = summary(together([timing.metrics for timing in timings]))

    def ratio(above: Count, below: Count) -> Interval | None:
        return ratio_interval(_totals(timings, "question", above), _totals(timings, "question", below), seed)

    seconds = _totals(timings, "question", SECONDS)
    return ArmResult(
        arm=timings[0].arm,
        n=len(seconds),
        repeats=len(_totals(timings, "repeat", SECONDS)),
        emitted=overall["emitted"],
        seconds=sum(seconds),
        tokens_per_second=_spread(_totals(timings, "repeat", EMITTED), _totals(timings, "repeat", SECONDS)),
        speedup=ratio_interval(_totals(baseline, "question", SECONDS), seconds, seed),
        speedup_of_repeats=_spread(_totals(baseline, "repeat", SECONDS), _totals(timings, "repeat", SECONDS)),
        tokens_per_step=ratio(EMITTED, PASSES),
        mean_draft_length=overall["mean_draft_length"],
        acceptance_rate=ratio(ACCEPTED, DRAFTED),
        order_independent_agreement=ratio(AGREED, DRAFTED),
        per_token_acceptance=overall["per_token_acceptance"],
        identical_rate=_identical(timings, baseline),
        latency=percentiles(_means(timings, SECONDS)),
        time_to_first_token=percentiles(_means(timings, attrgetter("metrics.prefill_seconds"))),
        quality=quality,
        step_seconds=StepSeconds(**overall["step_seconds"]),
    )


def _totals(timings: Sequence[Timing], unit: str, count: Count) -> list[float]:
    """Return the sums of a count by question or by repeat, in their order."""
    sums: dict[int, float] = {}
    for timing in timings:
        key = getattr(timing, unit)
        sums[key] = sums.get(key, 0) + count(timing)
    return [sums[key] for key in sorted(sums)]


def _means(timings: Sequence[Timing], count: Count) -> list[float]:
    """Return the mean of a count over the repeats of each question: repeats tell nothing new of the tail."""
    values: dict[int, list[float]] = {}
    for timing in timings:
        values.setdefault(timing.question, []).append(count(timing))
    return [fmean(counts) for counts in values.values()]


def _spread(above: Sequence[float], below: Sequence[float]) -> Spread:
    ratios = [numerator / denominator for numerator, denominator in zip(above, below, strict=True)]
    return Spread(median(ratios), min(ratios), max(ratios))


def _identical(timings: Sequence[Timing], baseline: Sequence[Timing]) -> Interval | None:
    """Return the share of questions that were answered with the baseline's tokens in every repeat."""
    plain = {(timing.question, timing.repeat): timing.answer.token_ids for timing in baseline}
    parted = {timing.question for timing in timings if timing.answer.token_ids != plain[timing.question, timing.repeat]}
    n = len({timing.question for timing in timings})
    return wilson(n - len(parted), n)


def samples(name: str, questions: Sequence[Question], timings: Iterable[Timing]) -> list[dict[str, object]]:
    """Return the rows of samples.csv of one data set: every answer that was timed."""
    return [
        {
            "data": name,
            "arm": timing.arm,
            "repeat": timing.repeat,
            "question": questions[timing.question].id,
            "seconds": timing.seconds,
            "prompt_tokens": timing.answer.prompt_tokens,
            "emitted": timing.metrics.emitted,
            "steps": timing.metrics.passes,
            "drafted": timing.metrics.drafted,
            "accepted": timing.metrics.accepted,
        }
        for timing in timings
    ]
