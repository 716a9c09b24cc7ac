"""All that is said to vLLM: start it, let it answer greedily, ask it afterwards what a step costs and how sure it is.

Prefix caching and asynchronous scheduling are off in every mode: the first would make later questions cheaper, the
second is not to be had with every way of drafting. Token ids go in and come out.
"""

import time
from collections.abc import Sequence

from doubledraft import stepclock
from doubledraft.job import Job
from doubledraft.runtime import log

NGRAM = (2, 4)  # tokens that must recur before what followed them is proposed: the fewest, and the most that are tried


def start(job: Job):
    """Start vLLM on the job's models; the process must have the environment of `runtime.engine_environment`."""
    from vllm import LLM

    began = time.perf_counter()
    engine = LLM(
        model=job.model,
        dtype=job.dtype,
        seed=job.seed,
        max_model_len=job.max_model_len,
        max_num_seqs=job.concurrency,
        gpu_memory_utilization=job.gpu_memory_utilization,
        tensor_parallel_size=job.tensor_parallel,
        enforce_eager=job.enforce_eager,
        enable_prefix_caching=False,
        async_scheduling=False,
        disable_log_stats=False,  # else requests carry no times
        worker_extension_cls="doubledraft.stepclock.StepClock",
        **_drafting(job),
    )
    log.info("engine started in %.0f s", time.perf_counter() - began)
    return engine


def _drafting(job: Job) -> dict[str, object]:
    if job.method == "none":
        return {}
    settings = {"method": job.method, "num_speculative_tokens": job.draft_length}
    if job.method == "draft_model":
        settings |= {"model": job.draft, "draft_tensor_parallel_size": job.tensor_parallel}
    else:
        settings |= {"prompt_lookup_min": NGRAM[0], "prompt_lookup_max": NGRAM[1]}
    return {"speculative_config": settings, "per_request_spec_decode_metrics": "detailed"}


def answer(engine, prompts: Sequence[list[int]], **sampling) -> list:
    """Give vLLM's RequestOutput of every prompt, in order: greedy, in flight together up to the job's concurrency."""
    from vllm import SamplingParams

    parameters = SamplingParams(temperature=0.0, detokenize=False, **sampling)
    return engine.generate([{"prompt_token_ids": ids} for ids in prompts], parameters, use_tqdm=False)


def step_seconds(engine, batches: Sequence[Sequence[list[int]]], job: Job) -> dict[str, float | None]:
    """Answer batches of prompts with the clock in the engine running; gives the medians of `stepclock.step_seconds`."""
    engine.collective_rpc("start_step_clock")
    for prompts in batches:
        answer(engine, prompts, max_tokens=job.max_tokens)
    steps = engine.collective_rpc("stop_step_clock")[0]  # of the first GPU
    costs = stepclock.step_seconds([stepclock.Step(*step) for step in steps], job.draft_length)
    log.info("seconds of a step: %s", ", ".join(f"{name} {value:.4f}" for name, value in costs.items() if value))
    return costs


def top2_gaps(engine, prefixes: Sequence[list[int]]) -> list[float]:
    """Give the log-probability gap of the target's two best next tokens after every prefix."""
    gaps = []
    for output in answer(engine, prefixes, max_tokens=1, logprobs=2) if prefixes else []:
        best = sorted((token.logprob for token in output.outputs[0].logprobs[0].values()), reverse=True)
        gaps.append(best[0] - best[1])
    return gaps
