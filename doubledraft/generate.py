"""Answers of a model by vLLM, timed: the one protocol of both benchmark modes, the untrained baselines, distillation.

Protocol. Questions in file order, in batches of `concurrency`; a batch is one call of the engine with a wall clock
around it. Prompts are built and answers decoded outside the clock, and two modes see the same token ids. `warmup`
requests come first and are not counted. Times of a request are the engine's own, from when it was scheduled, so
queueing is not in them.

Steps are target passes that emitted tokens: one for the prompt, then one for every verification. vLLM counts accepted
tokens before it cuts an answer at its end or at `max_tokens`, so accepted + steps may exceed the emitted tokens, by K
at most. With n-grams some steps find nothing to draft, which vLLM does not count: those are inferred from the emitted
tokens, so that no check of the counters against the tokens is left.

After the timed part, in the same engine: what a step costs (doubledraft.stepclock), and, where an answer differs from
the baseline's, how close the target's two best tokens are at the first difference: a tie of roundings, or a bug.

An engine runs in a process of its own (doubledraft.process) with the switches of `runtime.engine_environment`.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from doubledraft import process, progress, prompts, runtime, stepclock, vllm_engine
from doubledraft.job import Job, JobError
from doubledraft.records import Generation, Question, first_difference, read_records, write_json, write_records
from doubledraft.runtime import log

CLOCKED_BATCHES = 3  # batches that are answered once more, after the timed part, with the clock in the engine running
LOG_SECONDS = 10  # between two lines of progress


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
        engine = vllm_engine.start(job)
        for batch in _timed(job, engine, remaining, 1 + max((row.batch for row in rows), default=-1)):
            done = [replace(row, text=tokenizer.decode(row.token_ids, skip_special_tokens=True)) for row in batch]
            rows += done
            if job.resume:
                progress.append(job.out, done)
        if job.mode in ("baseline", "speculative"):
            clocked = _batches(asked, job.concurrency)[:CLOCKED_BATCHES]
            costs = vllm_engine.step_seconds(engine, [_prompts(batch) for batch in clocked], job)
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


def _timed(job: Job, engine, asked: list[Asked], first: int) -> Iterator[list[Generation]]:
    """Answer in batches; text is left empty. `first` is the index of the first batch."""
    if job.warmup:
        vllm_engine.answer(engine, _prompts(asked[: job.warmup]), max_tokens=job.max_tokens)
    start = spoken = time.perf_counter()
    done = tokens = 0
    for batch, questions in enumerate(_batches(asked, job.concurrency), start=first):
        began = time.perf_counter()
        outputs = vllm_engine.answer(engine, _prompts(questions), max_tokens=job.max_tokens)
        now = time.perf_counter()
        rows = [_generation(job, q, output, batch, now - began) for q, output in zip(questions, outputs, strict=True)]
        yield rows
        done, tokens = done + len(rows), tokens + sum(len(row.token_ids) for row in rows)
        if done == len(asked) or now - spoken > LOG_SECONDS:
            spoken, left = now, (now - start) * (len(asked) / done - 1)
            log.info("%d of %d answered, %.1f tokens/s, %.0f s left", done, len(asked), tokens / (now - start), left)


def _batches(asked: list[Asked], size: int) -> list[list[Asked]]:
    return [asked[at : at + size] for at in range(0, len(asked), size)]


def _prompts(asked: list[Asked]) -> list[list[int]]:
    return [question.token_ids for question in asked]


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
    undrafted = len(row.token_ids) - verified - accepted  # n-gram: steps that drafted nothing, inferred
    return replace(
        row,
        steps=verified + (max(undrafted, 0) if job.method == "ngram" else 0),
        drafted=drafts.num_draft_tokens,
        accepted=accepted,
        accepted_per_step=list(drafts.per_step_accepted),
    )


def _with_gaps(engine, asked: list[Asked], rows: list[Generation], baseline: list[Generation]) -> list[Generation]:
    """Note on rows that differ from the baseline's how close the target's two best tokens are where they first do."""
    plain = {row.id: row.token_ids for row in baseline}
    prefixes = {}
    for question, row in zip(asked, rows, strict=True):
        same = first_difference(row.token_ids, plain[row.id])
        if same is not None and same < min(len(row.token_ids), len(plain[row.id])):
            prefixes[row.id] = question.token_ids + row.token_ids[:same]
    gaps = dict(zip(prefixes, vllm_engine.top2_gaps(engine, list(prefixes.values())), strict=True))
    log.info("%d of %d answers differ from the baseline's", len(gaps), len(rows))
    return [replace(row, top2_gap=gaps.get(row.id)) for row in rows]


def _work(job: Job, asked: list[Asked]) -> str:
    """Hash all that the answers depend on."""
    model = (path for path in sorted(Path(job.model).iterdir()) if path.name != "manifest.json")
    questions = [(question.id, question.token_ids) for question in asked]
    return progress.key(model, [runtime.vllm_version(), job.max_tokens, job.dtype, job.seed, questions])


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
        log.error("%s: %s", type(error).__name__, " ".join(str(error).split()))
        raise


if __name__ == "__main__":  # vLLM's own processes import this module
    main()
