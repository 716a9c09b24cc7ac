"""Speedups, predictions and steadiness; throughput and latency."""

from collections.abc import Sequence

from doubledraft.evaluation.samples import drafting_text
from doubledraft.number_text import number_text, p_text, quantity_text, range_text, share_text
from doubledraft.report.page import Section, TableCell, quantity, table, text
from doubledraft.report.tables import Row
from doubledraft.stats import Percentiles
from doubledraft.summaries.cell_metrics import RunMetrics, StepReading

APART = 0.1  # relative difference of measured and predicted speedup above which a warning is shown


def speed(drafted: Sequence[Row]) -> Section:
    """Return wall times, predictions, steadiness, throughput and latency."""
    return Section(
        id="speed",
        title="Speed",
        tables=[
            table(
                "Speedup and its uncertainty",
                ["cell", "speedup", "predicted", "blocks faster, sign test", "baseline / itself", "drift", "setting"],
                [[text(row.cell), *_speedup(row)] for row in drafted],
            ),
            table(
                "What a step with the draft costs, in plain steps of the target, and which K would pay",
                ["cell", "a verification", "a drafted token", "the whole step", "tokens it emits", "predicted speedup",
                 "best K by the model"],
                [[text(row.cell), *_step_cost(row)] for row in drafted],
            ),
            table(
                "Latency of an answer, without and with the draft",
                ["cell", "latency alone", "latency with the draft", "first token alone", "first token with the draft"],
                [
                    [
                        text(row.cell),
                        *[_median(run.latency) for run in _runs(row)],
                        *[_median(run.time_to_first_token) for run in _runs(row)],
                    ]
                    for row in drafted
                ],
            ),
            table(
                "Throughput, without and with the draft",
                ["cell", "tokens/s alone", "tokens/s with the draft", "a plain step reads"],
                [
                    [
                        text(row.cell),
                        *[_throughput(run) for run in _runs(row)],
                        _reading(row.metrics.bandwidth.target),
                    ]
                    for row in drafted
                ],
            ),
        ],
        alarms=[
            *[unsteady_warning(row) for row in drafted if is_unsteady(row)],
            *_disagreement([row for row in drafted if _disagrees(row)]),
        ],
        notes=_prediction_notes(drafted) + _percentile_notes(drafted),
    )  # fmt: skip


def is_unsteady(row: Row) -> bool:
    """Return whether the timing's control shows that the machine was not steady."""
    return bool(row.metrics.timing) and row.metrics.timing.steady is False


def unsteady_warning(row: Row) -> str:
    """Return the warning that stands beside the speedup of an unsteady cell."""
    timing = row.metrics.timing
    attempts = f", the last of {1 + len(timing.earlier)} attempts" if timing.earlier else ""
    return (
        f"{row.cell}: the machine was not steady. The target alone, timed twice in turns, took "
        f"{quantity_text(timing.control)} times as long as itself{attempts}; the speedup may be off by more than its "
        "interval."
    )


def _runs(row: Row) -> tuple[RunMetrics, RunMetrics]:
    return row.answers, row.metrics.speculative


def _speedup(row: Row) -> list[TableCell]:
    speedup, timing, spec = row.metrics.speedup, row.metrics.timing, row.metrics.speculation
    how = f"{spec.method}, {spec.concurrency} in flight, temperature {row.answers.temperature:g}, {spec.engine}"
    setting = text(drafting_text(spec), how)
    cells = [
        quantity(speedup, strong=True, alarm=is_unsteady(row)),
        text("none" if spec.reason else number_text(speedup.predicted), alarm=_disagrees(row)),
    ]
    if timing is None or timing.block_speedups is None:
        return [*cells, *[text(None)] * 3, setting]
    faster = sum(ratio > 1 for ratio in timing.block_speedups)
    return [
        *cells,
        text(f"{faster} of {timing.blocks}", p_text(timing.sign_test)),
        quantity(timing.control, alarm=is_unsteady(row)),
        text(None if timing.drift is None else f"{timing.drift:.2f}".replace("-", "−")),
        setting,
    ]


def _step_cost(row: Row) -> list[TableCell]:
    """Return the cost model of a row: what a step costs and emits, and the draft length that would be fastest."""
    speedup, spec = row.metrics.speedup, row.metrics.speculation
    return [
        text(speedup.verify_cost and number_text(speedup.verify_cost)),
        text(speedup.draft_cost and number_text(speedup.draft_cost)),
        text("none" if spec.reason else number_text(step_cost(row)), "" if spec.reason else drafting_text(spec)),
        quantity(spec.tokens_per_step),
        text("none" if spec.reason else number_text(speedup.predicted), alarm=_disagrees(row)),
        text(best_length(row)),
    ]


def best_length(row: Row) -> str | None:
    """Return the draft length of the largest predicted speedup; 0 where no draft is predicted to pay."""
    if row.metrics.speculation.reason:
        return "none"
    best = row.metrics.speedup.best_draft_length
    return None if best is None else str(best)


def step_cost(row: Row) -> float | None:
    """Return the time of a step that drafts, v + K c, in plain steps; None where it was not measured or K varies."""
    speedup, spec = row.metrics.speedup, row.metrics.speculation
    if spec.reason or None in (speedup.verify_cost, speedup.draft_cost):
        return None
    return speedup.verify_cost + spec.draft_length * speedup.draft_cost


def _throughput(run: RunMetrics) -> TableCell:
    bound = run.bound_tokens_per_second
    return text(
        number_text(run.tokens_per_second),
        f"{share_text(run.share_of_bound)} of the bound {number_text(bound)}" if bound else "no bound",
    )


def _median(times: Percentiles | None) -> TableCell:
    if times is None:
        return text(None)
    tail = [
        f"p{at} {number_text(value, ' s')}" for at, value in ((90, times.p90), (99, times.p99)) if value is not None
    ]
    return text(number_text(times.p50, " s"), ", ".join([range_text(times.p50), *tail]))


def _reading(step: StepReading | None) -> TableCell:
    if step is None:
        return text(None)
    return text(f"{step.bytes_per_second / 1e9:.1f} GB/s", f"{share_text(step.share)} of the machine’s")


def _disagrees(row: Row) -> bool:
    """Return whether the predicted speedup lies outside the measured interval, and further off than APART."""
    speedup = row.metrics.speedup
    if None in (speedup.predicted, speedup.low):
        return False
    outside = not speedup.low <= speedup.predicted <= speedup.high
    return outside and abs(speedup.predicted / speedup.value - 1) > APART


def _disagreement(rows: Sequence[Row]) -> list[str]:
    """Return one warning for all cells whose prediction and measurement are apart."""
    apart = [
        f"{row.cell} {quantity_text(row.metrics.speedup)}, predicted {number_text(row.metrics.speedup.predicted)}"
        for row in rows
    ]
    if not apart:
        return []
    return [
        f"The measured speedup differs from the prediction: {'; '.join(apart)}. Either time goes to something other "
        "than the passes of the models, or the machine’s speed changed between timing the blocks and timing the steps."
    ]


def _prediction_notes(drafted: Sequence[Row]) -> list[str]:
    return [
        f"No prediction for {row.cell}: {row.metrics.speculation.reason}."
        for row in drafted
        if row.metrics.speculation.reason
    ]


def _percentile_notes(drafted: Sequence[Row]) -> list[str]:
    """Return why percentiles are missing, once for each reason."""
    latencies = [run.latency for row in drafted for run in _runs(row) if run.latency]
    reasons = dict.fromkeys(latency.reason for latency in latencies if latency.reason)
    return [f"Times are medians. {reason[0].upper()}{reason[1:]}." for reason in reasons]
