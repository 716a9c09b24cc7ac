"""What a draft did in a run, the speedup beside what the cost model predicts, and the bounds that memory sets.

Acceptance and the cost model are computed in `acceptance`; this module applies them to runs and their run files.
"""

from collections.abc import Sequence

from doubledraft.evaluation.acceptance import (
    CounterError,
    best_draft_length,
    check_counters,
    expected_tokens,
    per_position_acceptance,
    per_token_acceptance,
    predicted_speedup,
)
from doubledraft.evaluation.runs import Run
from doubledraft.records import Generation
from doubledraft.stats import Interval, ratio_interval, totals, wilson
from doubledraft.summaries.cell_metrics import (
    BandwidthMetrics,
    ExpectedTokens,
    SpeculationMetrics,
    Speedup,
    StepReading,
    TokenClass,
)
from doubledraft.summaries.run_file import EngineRun


def speculation_metrics(run: Run, seed: int) -> SpeculationMetrics:
    """Return what the draft did, from the counters of every row; raise CounterError where they cannot be true."""
    rows, length = run.rows, run.info.draft_length
    try:
        check = check_counters(rows, length)
    except CounterError as error:
        raise CounterError(f"{run.path}: {error}") from None
    units = run.units
    emitted = totals(units, [len(row.token_ids) for row in rows])
    steps, drafted, accepted = (
        totals(units, [getattr(row, name) for row in rows]) for name in ("steps", "drafted", "accepted")
    )
    drafting = sum(len(row.accepted_per_step) for row in rows)
    rate = ratio_interval(accepted, drafted, seed)
    alpha = expected = None
    if (reason := _varying(run)) is None:
        alpha = per_token_acceptance(rate.value, length)
        expected = ExpectedTokens(from_counters=1 + length * rate.value, from_alpha=expected_tokens(alpha, length))
    agreement = _agreement(rows, units, seed)
    return SpeculationMetrics(
        engine=run.engine,
        method=run.info.method,
        draft_length=length,
        adaptive=run.info.adaptive,
        draft_vocabulary=run.info.draft_vocabulary,
        draft_dtype=run.info.draft_dtype,
        mean_draft_length=sum(drafted) / drafting if drafting else None,
        concurrency=run.info.concurrency,
        emitted=sum(emitted),
        steps=sum(steps),
        drafted=sum(drafted),
        accepted=sum(accepted),
        tokens_per_step=ratio_interval(emitted, steps, seed),
        acceptance_rate=rate,
        acceptance_definition=f"accepted/drafted, prefix count, {run.engine}",
        per_position_acceptance=per_position_acceptance(rows, length),
        per_token_acceptance=alpha,
        expected_tokens_per_step=expected,
        reason=reason,
        order_independent_agreement=agreement,
        agreement_definition=f"agreed/drafted, past the first rejection too, {run.engine}" if agreement else None,
        token_classes=_token_classes(run.info),
        self_check=None if _steps_inferred(run.info) else check,
    )


def _varying(run: Run) -> str | None:
    """Return why a run has no alpha, None where each of its steps drafted K tokens."""
    if not any(row.drafted for row in run.rows):
        return "no step drafted a token"
    if run.info.method == "ngram":
        return "n-grams draft where the text repeats itself, and not K tokens in every step"
    if run.info.adaptive:
        return "the draft length adapts"
    if any(_undrafted(row, run.info.draft_length) for row in run.rows):
        return "some steps drafted fewer than K tokens"
    return None


def _undrafted(row: Generation, length: int) -> bool:
    """Return whether steps of an answer drafted fewer than K tokens, other than those next to the token cap.

    The first step is the prompt's pass. Where r < K tokens are left below the cap, a step may draft r - 1 of them.
    """
    allowed = length * (length + 1) // 2 if row.finish_reason == "length" else 0
    return length * (row.steps - 1) - row.drafted > allowed


def _agreement(rows: Sequence[Generation], units: Sequence[str], seed: int) -> Interval | None:
    """Return the share of drafted tokens that the target would have chosen at their place.

    None where the engine does not tell which tokens those are: vLLM stops counting at the first rejection.
    """
    if any(row.agreed is None for row in rows):
        return None
    agreed, drafted = [sum(map(sum, row.agreed)) for row in rows], [row.drafted for row in rows]
    return ratio_interval(totals(units, agreed), totals(units, drafted), seed)


def _token_classes(info: EngineRun) -> dict[str, TokenClass] | None:
    if info.token_classes is None:
        return None
    return {
        name: TokenClass(
            drafted=count.drafted,
            acceptance_rate=wilson(count.accepted, count.drafted),
            order_independent_agreement=wilson(count.agreed, count.drafted),
        )
        for name, count in sorted(info.token_classes.items())
    }


def _steps_inferred(info: EngineRun) -> bool:
    """Return whether the steps of a run were inferred from the tokens that a check would compare them with."""
    return info.engine == "vllm" and info.method == "ngram"


def speedup(baseline: Run, speculative: Run, speculated: SpeculationMetrics, measured: Interval, unit: str) -> Speedup:
    """Return the measured speedup, whose `n` counts `unit`, beside what the cost model predicts from step times."""
    draft_cost, verify_cost = _step_costs(baseline, speculative)
    length, alpha = speculated.draft_length, speculated.per_token_acceptance
    predicted = predicted_from_alpha = best = None
    if None not in (draft_cost, verify_cost, alpha):
        predicted = predicted_speedup(speculated.tokens_per_step.value, length, draft_cost, verify_cost)
        predicted_from_alpha = predicted_speedup(expected_tokens(alpha, length), length, draft_cost, verify_cost)
        best = best_draft_length(alpha, draft_cost, verify_cost, length)
    return Speedup(
        measured.value,
        measured.low,
        measured.high,
        measured.n,
        unit=unit,
        baseline_seconds=sum(baseline.batches),
        speculative_seconds=sum(speculative.batches),
        predicted=predicted,
        predicted_from_alpha=predicted_from_alpha,
        draft_cost=draft_cost,
        verify_cost=verify_cost,
        best_draft_length=best,
    )


def _step_costs(baseline: Run, speculative: Run) -> tuple[float | None, float | None]:
    """Return the time of a drafted token and of a verification, in plain steps of the baseline's process."""
    plain, drafted = baseline.info.step_seconds, speculative.info.step_seconds
    if plain.target is None:
        return None, None
    draft, verify = (None if part is None else part / plain.target for part in (drafted.draft, drafted.verify))
    return draft, verify


def bandwidth_metrics(baseline: Run, speculative: Run) -> BandwidthMetrics:
    """Return the bytes of weights per second of each kind of step, beside the read bandwidth of the machine.

    A draft that fits into a cache may read faster than memory does.
    """
    plain, drafted = baseline.info, speculative.info
    bandwidth = max(filter(None, (plain.read_bytes_per_second, drafted.read_bytes_per_second)), default=None)
    return BandwidthMetrics(
        read_bytes_per_second=bandwidth,
        target=_reading(plain, "target", plain.step_seconds.target, bandwidth),
        draft=_reading(drafted, "draft", drafted.step_seconds.draft, bandwidth),
        verify=_reading(drafted, "target", drafted.step_seconds.verify, bandwidth),
    )


def _reading(info: EngineRun, model: str, seconds: float | None, bandwidth: float | None) -> StepReading | None:
    size = getattr(info.bytes_per_pass, model, None)
    if None in (size, seconds, bandwidth):
        return None
    return StepReading(bytes=size, seconds=seconds, bytes_per_second=size / seconds, share=size / seconds / bandwidth)


def bound_tokens_per_second(run: Run) -> float | None:
    """Return the tokens per second of a run whose steps cost no more than reading their weights once from memory.

    E * bandwidth / (target bytes + K * draft bytes), with the run's own tokens and drafted tokens per step as E and K.
    Requests in flight share a pass, at best all of them. Only weights that stay in a cache could exceed it.
    """
    sizes, bandwidth = run.info.bytes_per_pass, run.info.read_bytes_per_second
    if sizes is None or bandwidth is None:
        return None
    emitted = sum(len(row.token_ids) for row in run.rows)
    drafts = run.info.method != "none"
    steps = sum(row.steps for row in run.rows) if drafts else emitted
    drafted = sum(row.drafted for row in run.rows) if drafts else 0
    bytes_read = steps * sizes.target + drafted * (sizes.draft or 0)
    return run.info.concurrency * emitted * bandwidth / bytes_read
