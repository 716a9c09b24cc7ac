"""Whether a draft is worth serving beside a target, in minutes: nothing is trained, and no server is started.

Our engine answers some questions with the target alone; both models read these answers (`teacher_forcing`), which gives
tokens per step at every K; and steps are timed, plain and with a short and a long draft, at every load. The cost model
joins the two. Another engine has other step times. The benchmark file that is written beside the advice measures what
was predicted.
"""

import time
from collections.abc import Sequence
from statistics import median

from doubledraft.engine.decode import checked_prompts, decode, stream
from doubledraft.engine.draft_length import FixedLength
from doubledraft.engine.load import local_folder
from doubledraft.evaluation.acceptance import per_token_acceptance
from doubledraft.evaluation.audit.replay import acceptance
from doubledraft.evaluation.load.costs import acceptance_needed, best_length, off_from, speculative_config, speedup
from doubledraft.inference.load_pair import Pair
from doubledraft.inference.teacher_forcing import GivenAnswer, force
from doubledraft.log import Progress
from doubledraft.summaries.advice import Advice, LoadAdvice, LoadCosts
from doubledraft.summaries.draft_audit import DraftAcceptance
from doubledraft.summaries.provenance import recorded

LOADS = (1, 2, 4, 8, 16)  # requests in flight
TIMED_LENGTHS = (2, 8)  # draft lengths whose steps are timed
TURNS, STEPS = 3, 3  # of each draft length, plain steps included; steps of a turn that are counted
ANSWERED_TOGETHER = 8
SEED = 17  # of the bootstrap
STEADY = 0.15  # relative change of the same pass within a load up to which the machine counts as steady


def advise(
    pair: Pair,
    draft_folder: str,
    prompts: Sequence[Sequence[int]],
    *,
    max_tokens: int,
    names: Sequence[str] = (),
    notes: Sequence[str] = (),
    price_per_hour: float | None = None,
) -> Advice:
    """Advise on a pair with a draft model, from its answers to prompts of token ids, in messages called by `names`.

    Raise ModelError where a model computes NaN or infinity.
    """
    began = time.perf_counter()
    checked_prompts(pair.target, prompts, max(max_tokens, _most_tokens()), names)
    pair.read_beginning(prompts)
    answers = own_answers(pair, prompts, max_tokens)
    audited = force(*map(local_folder, (pair.target.name, draft_folder)), answers)
    audit = acceptance(audited, pair.tokenizer, pair.stop_ids, SEED)
    mean_tokens = audit.tokens / audit.n
    costs = _costs_by_load(pair, prompts, mean_tokens)
    loads = [_at_load(cost, audit, price_per_hour) for cost in costs]
    best = {advice.costs.load: advice.best_draft_length for advice in loads}
    alpha, warnings = _alpha(audit, best[1] or 4), unsteady(costs)
    return Advice(
        target=pair.target.name,
        draft=draft_folder,
        verdict=("Uncertain, as the machine was not steady. " if warnings else "") + verdict(loads, alpha),
        notes=[*notes, *warnings, _basis(audit)],
        acceptance=audit,
        per_token_acceptance=alpha,
        loads=loads,
        off_from=off_from(best),
        speculative_config=speculative_config(draft_folder, best),
        dtype=str(pair.target.dtype).removeprefix("torch."),
        seconds=time.perf_counter() - began,
        provenance=recorded(),
    )


def own_answers(pair: Pair, prompts: Sequence[Sequence[int]], max_tokens: int) -> list[GivenAnswer]:
    """Return the target's own greedy answers to prompts."""
    progress, answers = Progress("the target's own answers", len(prompts), "questions"), []
    for start in range(0, len(prompts), ANSWERED_TOGETHER):
        batch = prompts[start : start + ANSWERED_TOGETHER]
        ids, _ = decode(pair.target, batch, max_tokens, stop_ids=pair.stop_ids)
        answers += [
            GivenAnswer(f"question {start + at}", prompt, token_ids)
            for at, (prompt, token_ids) in enumerate(zip(batch, ids, strict=True))
        ]
        progress.show(len(answers))
    return answers


def _costs_by_load(pair: Pair, prompts: Sequence[Sequence[int]], answer_tokens: float) -> list[LoadCosts]:
    measure_costs(pair, prompts, 1, answer_tokens)  # compiles code
    progress, costs = Progress("timing steps", sum(LOADS), "requests in flight"), []
    for load in LOADS:
        costs.append(measure_costs(pair, prompts, load, answer_tokens))
        progress.show(sum(cost.load for cost in costs))
    return costs


def measure_costs(pair: Pair, prompts: Sequence[Sequence[int]], load: int, answer_tokens: float) -> LoadCosts:
    """Return the median times of the parts of decoding with `load` requests in flight.

    The prompts are read by the target alone, before and after all else, and once by both models; then plain steps and
    those of a short and a long draft take turns along the same answers.
    """
    batch = [prompts[at % len(prompts)] for at in range(load)]
    before = decode(pair.target, batch, 1)[1].prefill_seconds
    length = FixedLength(max(TIMED_LENGTHS))
    run = stream(pair.target, pair.proposer, batch, _most_tokens(), draft_length=length)
    metrics, steps = next(run), {key: [] for key in (0, *TIMED_LENGTHS)}
    for key in [*steps] * TURNS:
        length.longest = key
        next(run)  # not counted: the draft reads here what plain steps emitted
        steps[key] += [next(run).times[-1] for _ in range(STEPS)]
    after = decode(pair.target, batch, 1)[1].prefill_seconds
    return LoadCosts(
        load=load,
        answer_tokens=answer_tokens,
        prefill=(before + after) / 2,
        drift=after / before,
        draft_prefill=metrics.prefill_seconds,
        target=median(step.verify_seconds for step in steps[0]),
        draft=median(step.draft_seconds / key for key in TIMED_LENGTHS for step in steps[key]),
        verify={str(key): median(step.verify_seconds for step in steps[key]) for key in TIMED_LENGTHS},
    )


def _most_tokens() -> int:
    """Return how long answers may be: no answer ends before all steps are timed, even if every draft is accepted."""
    return 2 + TURNS * (1 + STEPS) * sum(1 + length for length in (0, *TIMED_LENGTHS))


def _at_load(costs: LoadCosts, audit: DraftAcceptance, price: float | None) -> LoadAdvice:
    tokens = {drafts.draft_length: drafts.tokens_per_step.value for drafts in audit.simulated}
    best = best_length(costs, tokens)
    gain = speedup(costs, best, tokens.get(best, 1.0))
    seconds = costs.prefill + (costs.answer_tokens - 1) * costs.target
    rate = costs.load * costs.answer_tokens / seconds
    usd = None if price is None else price / 3600 / rate * 1e6
    return LoadAdvice(
        costs=costs,
        speedups={str(length): speedup(costs, length, value) for length, value in tokens.items()},
        best_draft_length=best,
        best_speedup=gain,
        acceptance_needed=acceptance_needed(costs, list(tokens)),
        tokens_per_second=rate,
        usd_per_million_tokens=usd,
        usd_per_million_tokens_drafted=None if usd is None else usd / gain,
    )


def _alpha(audit: DraftAcceptance, length: int) -> float:
    """Return the per-token acceptance at a draft length; 0 where nothing was drafted."""
    rate = audit.simulated[length - 1].acceptance_rate
    return per_token_acceptance(rate.value, length) if rate else 0.0


def verdict(loads: Sequence[LoadAdvice], alpha: float) -> str:
    """Return the advice in a sentence."""
    first = loads[0]
    paying = [advice.costs.load for advice in loads if advice.best_draft_length]
    if not paying:
        need = first.acceptance_needed
        if need is None:
            return "Not worth it: a drafted token costs so much that no acceptance would pay."
        return f"Not worth it: drafting would pay from an acceptance per token of {need:.2f} on, and it is {alpha:.2f}."
    most = max(loads, key=lambda advice: advice.best_speedup)
    gain = (
        f"with K = {most.best_draft_length} it is {most.best_speedup:.2f} times as fast at {most.costs.load} "
        f"request{'s' if most.costs.load > 1 else ''} in flight"
    )
    if len(paying) == len(loads):
        return f"Worth it: {gain}, and it pays at every load up to {paying[-1]}."
    if paying != [advice.costs.load for advice in loads[: len(paying)]]:
        return f"Worth it at some loads: {gain}; it pays only with {', '.join(map(str, paying))} in flight."
    return f"Worth it at low load: {gain}, and it no longer pays beyond {max(paying)} in flight."


def unsteady(costs: Sequence[LoadCosts]) -> list[str]:
    """Return a warning where the target took longer or shorter for the same prompts after a load than before it."""
    drifted = [cost for cost in costs if cost.drift is not None and max(cost.drift, 1 / cost.drift) > 1 + STEADY]
    if not drifted:
        return []
    where = ", ".join(f"{cost.drift:.2f} times as long at {cost.load} in flight" for cost in drifted)
    return [f"The machine was not steady: reading the same prompts again took {where}. Repeat it on a quiet machine."]


def _basis(audit: DraftAcceptance) -> str:
    return f"Predicted for doubledraft's engine, greedy decoding, from {audit.n} answers with {audit.tokens} tokens."
