"""The cost model at every load: what a draft length is worth when several requests share a step.

A plain answer takes the prompt's pass and a step per further token; one with drafts takes the prompt's pass in both
models, and steps of a verification and K drafted tokens. That is S = E / (v + K c) of `acceptance`, with the prompt
counted, and with all times measured at each load: a batch reads the target's weights once for all its requests, so the
more there are, the more of a step is computing, and a verified token costs nearly as much as an emitted one.
Verification is timed at two draft lengths and taken as a straight line between and beyond them.

Tokens per step at each K are those of `audit.replay`; they do not depend on the load.
"""

from collections.abc import Callable, Mapping, Sequence

from doubledraft.evaluation.acceptance import expected_tokens
from doubledraft.summaries.advice import LoadCosts

HALVINGS = 20  # of the range of an acceptance that is searched for


def speedup(costs: LoadCosts, length: int, tokens_per_step: float) -> float:
    """Return the predicted speedup of drafts of `length` tokens; 1 for 0. The prompt's pass counts as a step."""
    return _speedup(costs, length, costs.answer_tokens / tokens_per_step - 1)


def _speedup(costs: LoadCosts, length: int, steps: float) -> float:
    if not length:
        return 1.0
    plain = costs.prefill + (costs.answer_tokens - 1) * costs.target
    prompts = max(costs.prefill, costs.draft_prefill)  # reading them in both models is not faster: noise
    return plain / (prompts + steps * (_verify(costs, length) + length * costs.draft))


def _verify(costs: LoadCosts, length: int) -> float:
    """Return the seconds of a verification, by the straight line through the two draft lengths that were timed.

    It takes at least as long as a plain step, which reads the same weights for fewer tokens.
    """
    (short, low), (long, high) = ((int(key), seconds) for key, seconds in costs.verify.items())
    return max(costs.target, low + (high - low) * (length - short) / (long - short))


def best_length(costs: LoadCosts, tokens: Mapping[int, float]) -> int:
    """Return the K of the largest predicted speedup, 0 where none is above 1; `tokens` are tokens per step by K."""
    return max([0, *tokens], key=lambda length: speedup(costs, length, tokens.get(length, 1.0)))


def acceptance_needed(costs: LoadCosts, lengths: Sequence[int]) -> float | None:
    """Return the least alpha at which some draft length pays at this load; None where even 1 is too little.

    alpha is the chance that a drafted token is accepted, given that those before it were.
    """

    def pays(alpha: float) -> bool:
        return any(
            _speedup(costs, length, (costs.answer_tokens - 1) / expected_tokens(alpha, length)) > 1
            for length in lengths
        )

    return least(pays)


def least(holds: Callable[[float], bool]) -> float | None:
    """Return the least value from 0 to 1 from which on a property holds, to 2^-HALVINGS; None if it never does."""
    if not holds(1.0):
        return None
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def off_from(best: Mapping[int, int]) -> int | None:
    """Return the smallest load from which on drafting nothing is best, of those that were measured; None without one.

    `best` are the best draft lengths by load.
    """
    smallest = None
    for load in sorted(best, reverse=True):
        if best[load]:
            return smallest
        smallest = load
    return smallest


def schedule(best: Mapping[int, int]) -> list[list[int]]:
    """Return the best draft lengths as vLLM's `num_speculative_tokens_per_batch_size`: [first, last, K] of batch sizes.

    A load that was not measured takes the length of the next smaller one. The ranges begin at 1, as vLLM asks.
    """
    loads = sorted(best)
    firsts = [1, *loads[1:]]
    lasts = [first - 1 for first in loads[1:]] + [loads[-1]]
    ranges: list[list[int]] = []
    for load, first, last in zip(loads, firsts, lasts, strict=True):
        if ranges and ranges[-1][2] == best[load]:
            ranges[-1][1] = last
        else:
            ranges.append([first, last, best[load]])
    return ranges


def speculative_config(draft: str, best: Mapping[int, int]) -> dict[str, object] | None:
    """Return vLLM's `--speculative-config` for the best draft lengths by load; None where drafting never pays."""
    if not any(best.values()):
        return None
    return {
        "method": "draft_model",
        "model": draft,
        "num_speculative_tokens": max(best.values()),
        "num_speculative_tokens_per_batch_size": schedule(best),
    }
