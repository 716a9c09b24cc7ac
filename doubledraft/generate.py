"""Answers of a model by vLLM, timed: the one protocol of both benchmark modes, the untrained baselines, distillation.

Protocol. Questions in file order, in batches of `concurrency`; a batch is one call of the engine with a wall clock
around it. Greedy. Token ids go in and come out: prompts are built and answers decoded outside the clock, and two
modes see the same ids. `warmup` requests come first and are not counted. Prefix caching and asynchronous scheduling
are off in every mode: the first would make later questions cheaper, the second is not to be had with every way of
drafting. Times of a request are the engine's own, from when it was scheduled, so queueing is not in them.

Steps are target passes that emitted tokens: one for the prompt, then one for every verification. vLLM counts accepted
tokens before it cuts an answer at its end or at `max_tokens`, so accepted + steps may exceed the emitted tokens, by K
at most.

After the timed part, in the same engine: what a step costs (doubledraft.stepclock), and, where an answer differs from
the baseline's, how close the target's two best tokens are at the first difference: a tie of roundings, or a bug.

An engine runs in a process of its own (doubledraft.process) with the switches of `runtime.engine_environment`.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from doubledraft import process, progress, prompts, runtime, stepclock
from doubledraft.records import Generation, Question, read_records, write_json, write_records
from doubledraft.runtime import log

CLOCKED_BATCHES = 3  # batches whose steps are timed, after the timed part
LOG_SECONDS = 10  # between two lines of progress


class JobError(ValueError):
    """A job that cannot be run as it is; the message names the value and what to do."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of the engine over a file of questions."""

    mode: str  # baseline | speculative | untrained | distill: a label, and the first two have their steps timed
    model: str  # folder of the target
    questions: str  # file of Question records
    prompt: str  # prompt file
    out: str  # file of Generation records
    run_out: str  # JSON: how they were made
    max_tokens: int  # of an answer
    max_model_len: int  # tokens of prompt and answer
    concurrency: int  # requests in flight
    dtype: str
    seed: int
    kv_cache_gib: int  # CPU
    gpu_memory_utilization: float  # GPU
    tensor_parallel: int  # GPU
    enforce_eager: bool
    few_shot: bool = False
    warmup: int = 0  # requests
    limit: int | None = None  # questions; None takes all
    method: str = "none"  # none | draft_model | ngram
    draft: str = ""  # folder of the draft; draft_model only
    draft_length: int = 0  # K
    baseline: str = ""  # generations to find the first differences from
    resume: bool = False  # append to `out` batch by batch, and continue what an earlier run left there

    def __post_init__(self) -> None:
        """Refuse what no engine could run."""
        if self.method not in ("none", "draft_model", "ngram"):
            raise JobError(f"method: expected none, draft_model or ngram, found {self.method!r}")
        if (self.method == "draft_model") != bool(self.draft):
            raise JobError(f"draft: method {self.method} takes {'no' if self.draft else 'a'} draft model")
        if (self.method != "none") != (self.draft_length > 0):
            raise JobError(f"draft_length: {self.draft_length} does not go with method {self.method}")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as the model sees it."""

    id: str
    token_ids: list[int]


def run(job: Job) -> None:
    """Answer the questions in a process of its own; raises RuntimeError when it fails."""
    process.run("doubledraft.generate", vars(job), runtime.engine_environment(job.kv_cache_gib))


def answer(job: Job) -> None:
    """Answer the questions in this process and write both outputs; raises JobError before the engine starts."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(job.model)
    asked = ask(job, tokenizer)
    rows = progress.resume(job.out, _work(job, asked)) if job.resume else []
    answered = {row.id for row in rows}
    remaining = [question for question in asked if question.id not in answered]
    costs = stepclock.step_seconds([], job.draft_length)
    if remaining:
        engine = _start(job)
        for batch in _timed(job, engine, remaining, 1 + max((row.batch for row in rows), default=-1)):
            done = [replace(row, text=tokenizer.decode(row.token_ids, skip_special_tokens=True)) for row in batch]
            rows += done
            if job.resume:
                progress.append(job.out, done)
        if job.mode in ("baseline", "speculative"):
            costs = _step_costs(job, engine, asked)
        if job.baseline:
            rows = _with_gaps(engine, asked, rows, read_records(job.baseline, Generation))
    if not job.resume:
        write_records(job.out, rows)
    write_json(job.run_out, _description(job, rows, costs))


def ask(job: Job, tokenizer) -> list[Asked]:
    """Build the prompts, as token ids; raises JobError naming the question that leaves no room for its answer."""
    prompt = prompts.load(job.prompt)
    room = job.max_model_len - job.max_tokens - job.draft_length
    asked = []
    for question in read_records(job.questions, Question)[: job.limit]:
        messages = prompts.messages(prompt, question.question, few_shot=job.few_shot)
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        ids = tokenizer.encode(text, add_special_tokens=False)
        if len(ids) > room:
            raise JobError(
                f"{job.questions}: the prompt of question {question.id!r} has {len(ids)} tokens, but max_model_len "
                f"{job.max_model_len} leaves {room} beside max_tokens {job.max_tokens} and {job.draft_length} drafted: "
                "raise max_model_len, lower max_tokens, or drop the question"
            )
        asked.append(Asked(question.id, ids))
    return asked


def _start(job: Job):
    """Start vLLM on the job's models."""
    from vllm import LLM

    speculative = {"method": job.method, "num_speculative_tokens": job.draft_length}
    if job.method == "draft_model":
        speculative |= {"model": job.draft, "draft_tensor_parallel_size": job.tensor_parallel}
    drafts = {"speculative_config": speculative, "per_request_spec_decode_metrics": "detailed"}
    start = time.perf_counter()
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
        **(drafts if job.method != "none" else {}),
    )
    log.info("engine started in %.0f s", time.perf_counter() - start)
    return engine


def _generate(engine, prompts_: Sequence[list[int]], **sampling) -> list:
    """Give vLLM's RequestOutput of every prompt, in order, greedy."""
    from vllm import SamplingParams

    parameters = SamplingParams(temperature=0.0, detokenize=False, **sampling)
    return engine.generate([{"prompt_token_ids": ids} for ids in prompts_], parameters, use_tqdm=False)


def _timed(job: Job, engine, asked: list[Asked], first: int) -> Iterator[list[Generation]]:
    """Answer in batches; text is left empty. `first` is the index of the first batch."""
    if job.warmup:
        _generate(engine, [question.token_ids for question in asked[: job.warmup]], max_tokens=job.max_tokens)
    start = spoken = time.perf_counter()
    done = tokens = 0
    for batch, questions in enumerate(_batches(asked, job.concurrency), start=first):
        began = time.perf_counter()
        outputs = _generate(engine, [question.token_ids for question in questions], max_tokens=job.max_tokens)
        now = time.perf_counter()
        rows = [_generation(job, q, output, batch, now - began) for q, output in zip(questions, outputs, strict=True)]
        yield rows
        done, tokens = done + len(rows), tokens + sum(len(row.token_ids) for row in rows)
        if done == len(asked) or now - spoken > LOG_SECONDS:
            spoken, left = now, (now - start) * (len(asked) / done - 1)
            log.info("%d of %d answered, %.1f tokens/s, %.0f s left", done, len(asked), tokens / (now - start), left)


def _batches(asked: list[Asked], size: int) -> list[list[Asked]]:
    return [asked[at : at + size] for at in range(0, len(asked), size)]


def _generation(job: Job, question: Asked, output, batch: int, seconds: float) -> Generation:
    emitted, times = output.outputs[0], output.metrics
    if emitted.finish_reason not in ("stop", "length"):
        raise RuntimeError(
            f"vLLM ended the answer to {question.id!r} with {emitted.finish_reason!r}, not stop or length"
        )
    row = Generation(
        id=question.id,
        prompt_tokens=len(question.token_ids),
        token_ids=list(emitted.token_ids),
        text="",
        finish_reason=emitted.finish_reason,
        batch=batch,
        batch_seconds=seconds,
        time_to_first_token=times.first_token_ts - times.scheduled_ts,
        latency=times.last_token_ts - times.scheduled_ts,
        steps=len(emitted.token_ids),
    )
    if job.method == "none":
        return row
    drafts = emitted.spec_decode_metrics
    accepted = sum(drafts.per_step_accepted)
    verified = 1 + len(drafts.per_step_accepted)  # the first pass reads the prompt
    undrafted = len(row.token_ids) - verified - accepted  # n-gram: steps that found nothing to propose
    return replace(
        row,
        steps=verified + (max(undrafted, 0) if job.method == "ngram" else 0),
        drafted=drafts.num_draft_tokens,
        accepted=accepted,
        accepted_per_step=list(drafts.per_step_accepted),
    )


def _step_costs(job: Job, engine, asked: list[Asked]) -> dict[str, float | None]:
    """Answer the first batches once more with the clock inside the engine running."""
    engine.collective_rpc("start_step_clock")
    for questions in _batches(asked, job.concurrency)[:CLOCKED_BATCHES]:
        _generate(engine, [question.token_ids for question in questions], max_tokens=job.max_tokens)
    steps = engine.collective_rpc("stop_step_clock")[0]
    costs = stepclock.step_seconds([stepclock.Step(*step) for step in steps], job.draft_length)
    log.info("seconds of a step: %s", ", ".join(f"{name} {value:.4f}" for name, value in costs.items() if value))
    return costs


def _with_gaps(engine, asked: list[Asked], rows: list[Generation], baseline: list[Generation]) -> list[Generation]:
    """Note on rows that differ from the baseline's how close the target's two best tokens are where they first do."""
    plain = {row.id: row.token_ids for row in baseline}
    prefixes = {}
    for question, row in zip(asked, rows, strict=True):
        same = _common(row.token_ids, plain[row.id])
        if same < min(len(row.token_ids), len(plain[row.id])):
            prefixes[row.id] = question.token_ids + row.token_ids[:same]
    outputs = _generate(engine, list(prefixes.values()), max_tokens=1, logprobs=2) if prefixes else []
    gaps = {}
    for id, output in zip(prefixes, outputs, strict=True):
        best = sorted((token.logprob for token in output.outputs[0].logprobs[0].values()), reverse=True)
        gaps[id] = best[0] - best[1]
    log.info("%d of %d answers differ from the baseline's", len(gaps), len(rows))
    return [replace(row, top2_gap=gaps.get(row.id)) for row in rows]


def _common(first: list[int], second: list[int]) -> int:
    """Give the length of the common prefix."""
    return next(
        (at for at, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )


def _work(job: Job, asked: list[Asked]) -> str:
    """Hash all that the answers depend on."""
    model = (path for path in sorted(Path(job.model).iterdir()) if path.name != "manifest.json")  # it has a date in it
    prompts_ = [(question.id, question.token_ids) for question in asked]
    return progress.key(model, [runtime.vllm_version(), job.max_tokens, job.dtype, job.seed, prompts_])


def _description(job: Job, rows: list[Generation], costs: dict[str, float | None]) -> dict[str, object]:
    """Say how the rows were made (the run file)."""
    seconds = {row.batch: row.batch_seconds for row in rows}
    return {
        "engine": "vllm",
        "version": runtime.vllm_version(),
        "mode": job.mode,
        "method": job.method,
        "draft_length": job.draft_length or None,
        "concurrency": job.concurrency,
        "dtype": job.dtype,
        "n": len(rows),
        "wall_seconds": sum(seconds.values()),
        "emitted_tokens": sum(len(row.token_ids) for row in rows),
        "step_seconds": costs,
        "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,  # of this process; KiB
        "job": vars(job),
        "environment": {name: os.environ.get(name) for name in runtime.engine_environment(job.kv_cache_gib)},
        "provenance": runtime.provenance(),
    }


def main() -> None:
    """Run the job given as JSON on the command line."""
    process.speak_to_parent()
    try:
        answer(Job(**json.loads(sys.argv[1])))
    except Exception as error:
        log.error("%s: %s", type(error).__name__, error)
        raise


if __name__ == "__main__":  # vLLM's own processes import this module
    main()
