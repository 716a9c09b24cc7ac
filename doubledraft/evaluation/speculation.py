"""What counters of a speculative run mean: acceptance, the cost model, and whether the counters can be true.

Pure functions of counts and times. K is the draft length; alpha the chance that one drafted token is accepted, given
that those before it were; c and v the time of one draft token and of one verification of K + 1 tokens, in plain target
steps. The model is that of Leviathan et al. 2023, arXiv:2211.17192, with v added: verification is not free on every
machine.
"""

from collections.abc import Mapping

from doubledraft.evaluation.acceptance import (
    best_draft_length,
    check_counters,
    expected_tokens,
    per_position_acceptance,
    per_token_acceptance,
    predicted_speedup,
)
from doubledraft.evaluation.runs import Run
from doubledraft.stats import as_json, ratio_interval, wilson


def figures(run: Run, seed: int) -> dict:
    """Give what the draft did, from the checked counters of every row."""
    rows, length = run.rows, run.info["draft_length"]
    check = check_counters(rows, length)
    emitted = [len(row.token_ids) for row in rows]
    steps, drafted, accepted = ([getattr(row, name) for row in rows] for name in ("steps", "drafted", "accepted"))
    rate = ratio_interval(accepted, drafted, seed)
    alpha = per_token_acceptance(rate.value, length) if rate else None
    always = all(row.drafted == length * (row.steps - 1) for row in rows)  # K in every step but that of the prompt
    return {
        "engine": run.engine,
        "method": run.info["method"],
        "draft_length": length,
        "concurrency": run.info["concurrency"],
        "emitted": sum(emitted),
        "steps": sum(steps),
        "drafted": sum(drafted),
        "accepted": sum(accepted),
        "tokens_per_step": as_json(ratio_interval(emitted, steps, seed)),
        "acceptance_rate": as_json(rate),
        "acceptance_definition": f"accepted/drafted, prefix count, {run.engine}",
        "per_position_acceptance": [as_json(share) for share in per_position_acceptance(rows, length)],
        "per_token_acceptance": alpha,
        "expected_tokens_per_step": {
            "from_counters": 1 + length * rate.value if rate and always else None,
            "from_alpha": expected_tokens(alpha, length) if rate else None,
        },
        **_agreement(run, seed),
        "token_classes": _token_classes(run),
        "self_check": None if _steps_inferred(run) else check,
    }


def _agreement(run: Run, seed: int) -> dict:
    """Count drafted tokens that the target would have kept by themselves; None where the engine does not tell."""
    told = all(row.agreed is not None for row in run.rows)  # vLLM stops counting at the first rejection
    agreed = [sum(map(sum, row.agreed)) for row in run.rows] if told else None
    return {
        "order_independent_agreement": as_json(ratio_interval(agreed, [row.drafted for row in run.rows], seed))
        if told
        else None,
        "agreement_definition": f"agreed/drafted, past the first rejection too, {run.engine}" if told else None,
    }


def _token_classes(run: Run) -> dict[str, dict] | None:
    """Give both acceptances by what a drafted token is; the intervals take tokens as independent, so are narrow."""
    counts = run.info["token_classes"]
    if counts is None:
        return None
    return {
        name: {
            "drafted": count["drafted"],
            "acceptance_rate": as_json(wilson(count["accepted"], count["drafted"])),
            "order_independent_agreement": as_json(wilson(count["agreed"], count["drafted"])),
        }
        for name, count in sorted(counts.items())
    }


def _steps_inferred(run: Run) -> bool:
    """Tell whether the steps of a run were inferred from what a check would hold against them."""
    return run.info["engine"] == "vllm" and run.info["method"] == "ngram"


def speedup(baseline: Run, speculative: Run, speculated: Mapping[str, object], seed: int) -> dict:
    """Give the measured speedup, paired by batch, beside what the cost model predicts from measured step times."""
    measured = ratio_interval(baseline.batches, speculative.batches, seed)
    draft_cost, verify_cost = _step_costs(baseline, speculative)
    length, alpha = speculated["draft_length"], speculated["per_token_acceptance"]
    predicted = predicted_from_alpha = best = None
    if None not in (draft_cost, verify_cost):
        predicted = predicted_speedup(speculated["tokens_per_step"]["value"], length, draft_cost, verify_cost)
    if None not in (draft_cost, verify_cost, alpha):
        tokens = expected_tokens(alpha, length)
        predicted_from_alpha = predicted_speedup(tokens, length, draft_cost, verify_cost)
        best = best_draft_length(alpha, draft_cost, verify_cost)
    bound = _bound(speculative, speculated)
    return {
        **measured.to_dict(),
        "unit": "batch",
        "baseline_seconds": sum(baseline.batches),
        "speculative_seconds": sum(speculative.batches),
        "predicted": predicted,
        "predicted_from_alpha": predicted_from_alpha,
        "draft_cost": draft_cost,
        "verify_cost": verify_cost,
        "best_draft_length": best,
        "bound": bound,
        "share_of_bound": measured.value / bound if bound else None,
    }


def bandwidth(baseline: Run, speculative: Run) -> dict:
    """Give the bytes of weights per second of each kind of step, beside the read bandwidth that the machine has.

    A draft that fits into a cache may read faster than memory gives. None where a step was not timed.
    """
    plain, drafted = baseline.info, speculative.info
    read = max((run["read_bytes_per_second"] for run in (plain, drafted) if run["read_bytes_per_second"]), default=None)
    steps = {"target": (plain, "target"), "draft": (drafted, "draft"), "verify": (drafted, "target")}
    return {
        "read_bytes_per_second": read,
        **{kind: _reading(run, model, run["step_seconds"][kind], read) for kind, (run, model) in steps.items()},
    }


def _reading(run: Mapping, model: str, seconds: float | None, read: float | None) -> dict[str, float] | None:
    size = (run["bytes_per_pass"] or {}).get(model)
    if None in (size, seconds, read):
        return None
    return {"bytes": size, "seconds": seconds, "bytes_per_second": size / seconds, "share": size / seconds / read}


def _bound(run: Run, speculated: Mapping[str, object]) -> float | None:
    """Give the speedup if a step cost no more than reading weights: the cost model with v = 1 and c = bytes / bytes."""
    sizes = run.info["bytes_per_pass"]
    if sizes is None:
        return None
    draft_cost = (sizes["draft"] or 0) / sizes["target"]
    return predicted_speedup(speculated["tokens_per_step"]["value"], speculated["draft_length"], draft_cost, 1.0)


def _step_costs(baseline: Run, speculative: Run) -> tuple[float | None, float | None]:
    """Draft step and verify step in plain target steps, those that the baseline's process timed."""
    plain, drafted = baseline.info["step_seconds"], speculative.info["step_seconds"]
    target = plain["target"]
    if target is None:
        return None, None
    draft, verify = (None if drafted[name] is None else drafted[name] / target for name in ("draft", "verify"))
    return draft, verify
