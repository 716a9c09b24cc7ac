"""What follows from counts of drafted and accepted tokens: acceptance, expected tokens per step, the best K.

K is the draft length; alpha the chance that a drafted token is accepted, given that those before it were; c and v the
time of one drafted token and of one verification, in plain target steps. The cost model is that of Leviathan et al.
2023, arXiv:2211.17192, with v added: verification is not free on every machine.
"""

from collections.abc import Sequence
from dataclasses import asdict

from doubledraft.engine.decoding_metrics import Metrics
from doubledraft.engine.draft_length import LONGEST_DRAFT
from doubledraft.records import Generation
from doubledraft.stats import Interval, wilson
from doubledraft.summaries.cell_metrics import CounterCheck


class CounterError(ValueError):
    """Counters of a speculative run that contradict the tokens it emitted."""


def per_token_acceptance(rate: float, draft_length: int) -> float:
    """Solve rate * K = alpha + alpha^2 + ... + alpha^K for alpha, where `rate` is accepted / drafted."""
    from scipy.optimize import brentq

    if not 0 <= rate <= 1 or draft_length < 1:
        raise ValueError(f"expected a rate in 0..1 and K of at least 1, found {rate} and {draft_length}")
    if rate in (0, 1):
        return float(rate)
    accepted = rate * draft_length
    return float(brentq(lambda alpha: sum(alpha**i for i in range(1, draft_length + 1)) - accepted, 0, 1, xtol=1e-12))


def expected_tokens(alpha: float, draft_length: int) -> float:
    """Return the tokens a drafting step emits on average, bonus token included: (1 - alpha^(K+1)) / (1 - alpha)."""
    return float(sum(alpha**i for i in range(draft_length + 1)))  # the geometric series, safe at alpha = 1


def predicted_speedup(tokens_per_step: float, draft_length: int, draft_cost: float, verify_cost: float) -> float:
    """Return the speedup over plain decoding by the cost model: S = E / (v + K * c)."""
    return tokens_per_step / (verify_cost + draft_length * draft_cost)


def best_draft_length(alpha: float, draft_cost: float, verify_cost: float, draft_length: int) -> int:
    """Return the draft length of the largest predicted speedup: 0 where drafting never pays, at most LONGEST_DRAFT.

    `verify_cost` was measured at `draft_length`. Between that and a plain step, and beyond it, the cost is taken to lie
    on a straight line.
    """
    slope = (verify_cost - 1) / draft_length

    def speedup(length: int) -> float:
        return predicted_speedup(expected_tokens(alpha, length), length, draft_cost, 1 + slope * length)

    return max(range(LONGEST_DRAFT + 1), key=speedup)


def per_position_acceptance(generations: Sequence[Generation], draft_length: int) -> list[Interval | None]:
    """Return the share of drafting steps that accepted at least i tokens, for i = 1..K.

    The intervals take steps as independent, which they are not quite: acceptance comes in runs, so they are somewhat
    narrow.
    """
    steps = [accepted for row in generations for accepted in row.accepted_per_step or []]
    return [wilson(sum(accepted >= i for accepted in steps), len(steps)) for i in range(1, draft_length + 1)]


def check_counters(generations: Sequence[Generation], draft_length: int) -> CounterCheck:
    """Check every row's counters against its emitted tokens, and return the totals of the check.

    A step emits its accepted tokens and one more, so accepted + steps equals the emitted tokens, except for those that
    the end of the answer or the token cap cut off the last step. Raise CounterError naming the row where the excess is
    negative or larger than the last step could hold, or where the counts contradict each other.
    """
    for row in generations:
        if problem := _contradiction(row, draft_length):
            raise CounterError(f"question {row.id!r}: {problem}; the engine's counters cannot be trusted, run it again")
    total = sum(row.accepted + row.steps for row in generations)
    emitted = sum(len(row.token_ids) for row in generations)
    trimmable = sum(_trimmable(row, draft_length) for row in generations)
    return CounterCheck(accepted_plus_steps=total, emitted=emitted, excess=total - emitted, trimmable=trimmable)


def _trimmable(row: Generation, draft_length: int) -> int:
    """Return how many tokens the end of the answer may have cut off the row's last step."""
    return min(draft_length, row.accepted_per_step[-1]) if row.accepted_per_step else 0


def _contradiction(row: Generation, draft_length: int) -> str | None:
    missing = [name for name in ("steps", "drafted", "accepted", "accepted_per_step") if getattr(row, name) is None]
    if missing:
        return f"a speculative row must have {', '.join(missing)}"
    emitted, per_step = len(row.token_ids), row.accepted_per_step
    excess = row.accepted + row.steps - emitted
    trimmable = _trimmable(row, draft_length)
    if min(row.steps, row.drafted, row.accepted, *per_step, 0) < 0:
        return "a counter is negative"
    if row.accepted > row.drafted:
        return f"accepted {row.accepted} of {row.drafted} drafted tokens"
    if sum(per_step) != row.accepted:
        return f"accepted_per_step sums to {sum(per_step)}, accepted is {row.accepted}"
    if max(per_step, default=0) > draft_length:
        return f"a step accepted {max(per_step)} tokens of a draft of {draft_length}"
    if row.drafted > draft_length * len(per_step):
        return f"drafted {row.drafted} tokens in {len(per_step)} steps of at most {draft_length}"
    if len(per_step) > row.steps:
        return f"{len(per_step)} steps drafted, but only {row.steps} ran"
    if not 0 <= excess <= trimmable:
        return (
            f"accepted {row.accepted} + steps {row.steps} - emitted {emitted} = {excess}, "
            f"but trimming the last step explains 0 to {trimmable}"
        )
    return None


def summary(metrics: Metrics) -> dict[str, object]:
    """Return a run's numbers as JSON has them; raise CounterError where the counters contradict the tokens."""
    rows = [answer.as_generation(str(index)) for index, answer in enumerate(metrics.answers)]
    steps = [step for answer in metrics.answers for step in answer.steps if step.drafted]
    longest = max((len(step.drafted) for step in steps), default=0)
    rate, drafted = metrics.acceptance_rate, metrics.drafted
    even = bool(steps) and all(len(step.drafted) == longest for step in steps)
    return {
        "emitted": metrics.emitted,
        "steps": metrics.passes,
        "drafted": drafted,
        "accepted": metrics.accepted,
        "tokens_per_step": metrics.tokens_per_step,
        "mean_draft_length": drafted / len(steps) if steps else None,
        "acceptance_rate": rate,
        "order_independent_agreement": metrics.agreed / drafted if drafted else None,
        "per_token_acceptance": per_token_acceptance(rate, longest) if even else None,
        "prefill_seconds": metrics.prefill_seconds,
        "seconds": metrics.seconds,
        "tokens_per_second": metrics.tokens_per_second,
        "step_seconds": metrics.step_seconds(),
        "self_check": asdict(check_counters(rows, longest)),
    }
