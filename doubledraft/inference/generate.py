"""Answers of a model, timed: the one protocol of both benchmark modes, the untrained baselines, distillation.

Protocol. Questions in file order, in batches of `concurrency`; a batch is one call of the engine with a wall clock
around it. Prompts are built and answers decoded outside the clock, and two modes see the same token ids. `warmup`
requests come first and are not counted. Times of a request are the engine's own, from when it was scheduled, so
queueing is not in them. Steps are target passes that emitted tokens: one for the prompt, then one for every
verification; accepted tokens are counted before an answer is cut at its end or at `max_tokens`.

After the timed part, in the same engine: what a step costs, and, where an answer differs from the baseline's, how close
the target's two best tokens are at the first difference: a tie of roundings, or a bug. Then how fast this machine reads
memory, which no step can beat.

There are two engines, vLLM (`vllm_engine`) and our own (`native_engine`). One runs in a process of its own
(doubledraft.process), of its own module, with the switches of `engine_environment`; this module knows neither,
so that an edit of one does not make the answers of the other again. Only `cpu_pass` is reached from both: it is what
measures the memory on CPU.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from doubledraft import machine, process, prompts, provenance
from doubledraft.files import write_json
from doubledraft.inference import environment, resume
from doubledraft.inference.bandwidth import read_bandwidth
from doubledraft.inference.job import Job, JobError
from doubledraft.log import error_text, log
from doubledraft.records import Generation, Question, first_difference, read_records, write_records

CLOCKED_BATCHES = 3  # batches that are answered once more, after the timed part, to learn what a step costs
LOG_SECONDS = 10  # between two lines of progress
UNMEASURED = {  # what the run file of anything but a benchmark has in these places
    "kernel": None,
    "step_seconds": {"target": None, "draft": None, "verify": None},
    "bytes_per_pass": None,
    "read_bytes_per_second": None,
    "token_classes": None,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as the model sees it."""

    id: str
    token_ids: list[int]


class Engine(Protocol):
    """Answers prompts greedily. Made from a job, whose models it loads; in the process of its module."""

    kernel: str  # what runs a pass of the target: a speedup between two kernels would mean nothing

    def __init__(self, job: Job) -> None:
        """Load the models."""

    @staticmethod
    def version() -> str:
        """Give the version of the engine."""

    def answer(self, asked: Sequence[Asked]) -> list[Generation]:
        """Answer together, in order; text, batch and batch_seconds are left to the caller."""

    def step_seconds(self, batches: Sequence[Sequence[Asked]]) -> dict[str, float | None]:
        """Answer batches again; gives the median seconds of a target step, a drafted token, a verify step, or None."""

    def top2_gaps(self, prefixes: Sequence[list[int]]) -> list[float]:
        """Give the log-probability gap of the target's two best next tokens after every prefix."""

    def bytes_per_pass(self) -> dict[str, int | None]:
        """Give the bytes of weights that a pass of the target and of the draft reads; None where there is no draft."""

    def token_classes(self, rows: Sequence[Generation]) -> dict[str, dict[str, int]] | None:
        """Count drafted, accepted and agreed tokens by what they are; None where the engine does not tell."""


def run(job: Job) -> None:
    """Answer the questions by the job's engine in a process of its own; raises RuntimeError when it fails."""
    process.run(f"{__package__}.{job.engine}_engine", vars(job), environment.engine_environment(job.kv_cache_gib))


def answer(job: Job, kind: type[Engine]) -> None:
    """Answer the questions in this process and write both outputs; raises JobError before the engine starts."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(job.model)
    asked = ask(job, tokenizer)
    rows = resume.resume(job.out, _work(job, kind, asked)) if job.resume else []
    answered = {row.id for row in rows}
    remaining = [question for question in asked if question.id not in answered]
    found = UNMEASURED
    if remaining:
        engine = kind(job)
        for batch in _timed(job, engine, remaining, 1 + max((row.batch for row in rows), default=-1)):
            done = [replace(row, text=tokenizer.decode(row.token_ids, skip_special_tokens=True)) for row in batch]
            rows += done
            if job.resume:
                resume.append(job.out, done)
        if job.mode in ("baseline", "speculative"):
            found = _findings(job, engine, asked, rows)
        if job.baseline:
            rows = _with_gaps(engine, asked, rows, read_records(job.baseline, Generation))
    if not job.resume:
        write_records(job.out, rows)
    write_json(job.run_out, _description(job, kind, rows) | found)


def ask(job: Job, tokenizer) -> list[Asked]:
    """Build the prompts, as token ids.

    Raises JobError naming the question that leaves no room for its answer, or the model whose chat template knows
    nothing of thinking where the job tells it something.
    """
    prompt = prompts.load(job.prompt)
    told = {} if job.thinking is None else {"enable_thinking": job.thinking}
    if told and "enable_thinking" not in (tokenizer.chat_template or ""):
        raise JobError(
            f"config key untrained.thinking: the chat template of {job.model} cannot turn thinking on or off: "
            "expected [null], which tells it nothing"
        )
    room = job.max_model_len - job.max_tokens - job.draft_length
    asked = []
    for question in read_records(job.questions, Question)[: job.limit]:
        messages = prompts.messages(prompt, question.question, few_shot=job.few_shot)
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False, **told)
        ids = tokenizer.encode(text, add_special_tokens=False)
        if len(ids) > room:
            raise JobError(
                f"{job.questions}: the prompt of question {question.id!r} has {len(ids)} tokens, but max_model_len "
                f"{job.max_model_len} leaves {room} beside max_tokens {job.max_tokens} and {job.draft_length} drafted: "
                "raise max_model_len, lower max_tokens, or drop the question"
            )
        asked.append(Asked(question.id, ids))
    return asked


def _timed(job: Job, engine: Engine, asked: list[Asked], first: int) -> Iterator[list[Generation]]:
    """Answer in batches; text is left empty. `first` is the index of the first batch."""
    if job.warmup:
        for batch in _batches(asked[: job.warmup], job.concurrency):
            engine.answer(batch)
    start = spoken = time.perf_counter()
    done = tokens = 0
    for index, batch in enumerate(_batches(asked, job.concurrency), start=first):
        began = time.perf_counter()
        rows = engine.answer(batch)
        now = time.perf_counter()
        yield [replace(row, batch=index, batch_seconds=now - began) for row in rows]
        done, tokens = done + len(rows), tokens + sum(len(row.token_ids) for row in rows)
        if done == len(asked) or now - spoken > LOG_SECONDS:
            spoken, left = now, (now - start) * (len(asked) / done - 1)
            log.info("%d of %d answered, %.1f tokens/s, %.0f s left", done, len(asked), tokens / (now - start), left)


def _batches(asked: list[Asked], size: int) -> list[list[Asked]]:
    return [asked[at : at + size] for at in range(0, len(asked), size)]


def _findings(job: Job, engine: Engine, asked: list[Asked], rows: list[Generation]) -> dict[str, object]:
    """Measure, after the timed part, what belongs in the run file of a benchmark."""
    costs = engine.step_seconds(_batches(asked, job.concurrency)[:CLOCKED_BATCHES])
    log.info("seconds of a step: %s", ", ".join(f"{name} {value:.4f}" for name, value in costs.items() if value))
    return {
        "kernel": engine.kernel,
        "step_seconds": costs,
        "bytes_per_pass": engine.bytes_per_pass(),
        "read_bytes_per_second": read_bandwidth(machine.device()),
        "token_classes": engine.token_classes(rows),
    }


def _with_gaps(
    engine: Engine, asked: list[Asked], rows: list[Generation], baseline: list[Generation]
) -> list[Generation]:
    """Note on rows that differ from the baseline's how close the target's two best tokens are where they first do."""
    plain = {row.id: row.token_ids for row in baseline}
    prefixes = {}
    for question, row in zip(asked, rows, strict=True):
        same = first_difference(row.token_ids, plain[row.id])
        if same is not None and same < min(len(row.token_ids), len(plain[row.id])):
            prefixes[row.id] = question.token_ids + row.token_ids[:same]
    gaps = dict(zip(prefixes, engine.top2_gaps(list(prefixes.values())), strict=True))
    log.info("%d of %d answers differ from the baseline's", len(gaps), len(rows))
    return [replace(row, top2_gap=gaps.get(row.id)) for row in rows]


def _work(job: Job, kind: type[Engine], asked: list[Asked]) -> str:
    """Hash all that the answers depend on."""
    model = (path for path in sorted(Path(job.model).iterdir()) if path.name != "manifest.json")
    questions = [(question.id, question.token_ids) for question in asked]
    return resume.key(model, [job.engine, kind.version(), job.max_tokens, job.dtype, job.seed, questions])


def _description(job: Job, kind: type[Engine], rows: list[Generation]) -> dict[str, object]:
    """Say how the rows were made (the run file)."""
    seconds = {row.batch: row.batch_seconds for row in rows}
    return {
        "engine": job.engine,
        "version": kind.version(),
        "mode": job.mode,
        "method": job.method,
        "draft_length": job.draft_length or None,
        "concurrency": job.concurrency,
        "dtype": job.dtype,
        "n": len(rows),
        "wall_seconds": sum(seconds.values()),
        "emitted_tokens": sum(len(row.token_ids) for row in rows),
        "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,  # of this process; KiB
        "job": vars(job),
        "environment": {name: os.environ.get(name) for name in environment.engine_environment(job.kv_cache_gib)},
        "provenance": provenance.provenance(),
    }


def main(kind: type[Engine]) -> None:
    """Run the job given as JSON on the command line."""
    process.speak_to_parent()
    try:
        answer(Job(**json.loads(sys.argv[1])), kind)
    except Exception as error:
        log.error("%s", error_text(error))
        raise
