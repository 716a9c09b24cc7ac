"""Answers to a file of questions: the one protocol of timed runs, untrained baselines and distillation.

Protocol. Questions in file order, in batches of `concurrency`; a batch is one call of the engine with a wall clock
around it. Prompts are built and answers decoded outside the clock, and two modes see the same token ids. `warmup`
requests come first and are not counted. Times of a request are the engine's own, from when it was scheduled, so
queueing is not in them. Steps are target passes that emitted tokens: one for the prompt, then one for every
verification; accepted tokens are counted before an answer is cut at its end or at `max_tokens`.

The engine, vLLM or our own, runs in a process of its own (`host`). What a timed run measures besides its answers is
in `measure`, which this module does not import: an edit there leaves distilled answers as they are.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from doubledraft import __version__, prompts, provenance
from doubledraft.inference import environment, resume
from doubledraft.inference.host import Host, Local
from doubledraft.inference.job import EncodedQuestion, Job, JobError
from doubledraft.inference.tokenizing import shared_beginning
from doubledraft.log import Progress
from doubledraft.models import chat_template
from doubledraft.models.folder import merged_from
from doubledraft.models.inspect import load_tokenizer
from doubledraft.records import Generation, Question, read_records, repeated, write_records
from doubledraft.summaries import json_file
from doubledraft.summaries.provenance import recorded
from doubledraft.summaries.run_file import RunFile, StepSeconds

UNMEASURED = {  # fields of the run file of anything but a timed run
    "kernel": None,
    "step_seconds": StepSeconds(),
    "bytes_per_pass": None,
    "read_bytes_per_second": None,
    "token_classes": None,
    "draft_vocabulary": None,
    "draft_dtype": None,
    "shared_prompt_tokens": None,
}


def run(job: Job) -> None:
    """Answer the questions by the job's engine in a process of its own, and write rows and run file.

    Raise JobError for a job that cannot be run, and RuntimeError where the engine fails.
    """
    with Host(job) as engine:
        answer(job, engine)


def answer(job: Job, engine: Host | Local) -> None:
    """Answer the questions by a running engine, as in `run`."""
    tokenizer = load_tokenizer(job.model)
    questions = encode_questions(job, tokenizer)
    rows = resume.resume(job.out, _work(job, questions)) if job.resume else []
    answered = {row.id for row in rows}
    remaining = [question for question in questions if question.id not in answered]
    for batch in _timed(job, engine, remaining, 1 + max((row.batch for row in rows), default=-1)):
        done = with_texts(batch, tokenizer)
        rows += done
        if job.resume:
            resume.append(job.out, done)
    write(job, engine, rows, UNMEASURED)


def write(job: Job, engine: Host | Local, rows: list[Generation], measured: Mapping[str, object]) -> None:
    """Write the rows, unless they are there already, and the run file; `measured` has its fields of UNMEASURED."""
    if not job.resume:
        write_records(job.out, rows)
    json_file.write(job.run_out, RunFile(**_description(job, engine, rows), **measured))


def with_texts(rows: Sequence[Generation], tokenizer) -> list[Generation]:
    """Return rows with the text of their token ids."""
    return [replace(row, text=tokenizer.decode(row.token_ids, skip_special_tokens=True)) for row in rows]


def encode_questions(job: Job, tokenizer) -> list[EncodedQuestion]:
    """Return the questions of a job, each as the token ids of its prompt.

    Raise JobError naming the question that leaves no room for its answer, or the model whose chat template has no
    switch for thinking where the job sets it.
    """
    prompt = prompts.load(job.prompt)
    switches = {} if job.thinking is None else {"enable_thinking": job.thinking}
    if switches and "enable_thinking" not in (tokenizer.chat_template or ""):
        raise JobError(
            f"config key untrained.thinking: the chat template of {job.model} has no switch for thinking: "
            "expected [null]"
        )
    room = job.max_model_len - job.max_tokens - job.longest_draft
    encoded = []
    for question in repeated(read_records(job.questions, Question)[: job.limit], job.samples):
        messages = prompts.messages(prompt, question.question, few_shot=job.few_shot)
        text = chat_template.render(tokenizer, messages, prompt=True, **switches)
        ids = tokenizer.encode(text, add_special_tokens=False)
        if len(ids) > room:
            raise JobError(
                f"{job.questions}: the prompt of question {question.id!r} has {len(ids)} tokens, but max_model_len "
                f"{job.max_model_len} leaves {room} beside max_tokens {job.max_tokens} and {job.longest_draft} drafted "
                "ones: raise max_model_len, lower max_tokens, or drop the question"
            )
        encoded.append(EncodedQuestion(question.id, ids, _seed(job.seed, question.id)))
    return encoded


def _seed(seed: int, id: str) -> int:
    """Return the seed of an answer's draws: the same whatever shares its batch, and another for each answer."""
    return int.from_bytes(hashlib.sha256(f"{seed} {id}".encode()).digest()[:4])


def _timed(job: Job, engine: Host | Local, questions: list[EncodedQuestion], first: int) -> Iterator[list[Generation]]:
    """Answer in batches, leaving text empty; `first` is the index of the first batch."""
    warm_up(job, engine, questions)
    progress, done = Progress("answering", len(questions), "questions"), 0
    for index, batch in enumerate(batches(questions, job.concurrency), start=first):
        rows = answer_batch(engine, batch, index)
        yield rows
        done += len(rows)
        progress.show(done)


def warm_up(job: Job, engine: Host | Local, questions: Sequence[EncodedQuestion]) -> None:
    """Do what needs no clock: read what all prompts begin with, and answer the first questions to touch memory."""
    engine.call("read_beginning", shared_beginning([question.token_ids for question in questions]))
    for batch in batches(questions[: job.warmup], job.concurrency):
        engine.call("answer", batch)


def answer_batch(engine: Host | Local, batch: Sequence[EncodedQuestion], index: int) -> list[Generation]:
    """Answer questions together and return their rows, timed, without text; `index` is that of the batch."""
    rows, seconds = engine.call("answer", batch)
    return [replace(row, batch=index, batch_seconds=seconds) for row in rows]


def batches(questions: Sequence[EncodedQuestion], size: int) -> list[Sequence[EncodedQuestion]]:
    """Return the questions in batches of `size`, the last one perhaps smaller."""
    return [questions[at : at + size] for at in range(0, len(questions), size)]


def _work(job: Job, encoded: list[EncodedQuestion]) -> str:
    """Return a hash of all that the answers depend on."""
    model = (path for path in sorted(Path(job.model).iterdir()) if path.name != "manifest.json")
    questions = [(question.id, question.token_ids) for question in encoded]
    return resume.key(
        model, [job.engine, _version(job), job.max_tokens, job.dtype, job.seed, job.temperature, questions]
    )


def _description(job: Job, engine: Host | Local, rows: list[Generation]) -> dict[str, object]:
    """Return the fields of the run file that are not measured after the answers."""
    seconds = {row.batch: row.batch_seconds for row in rows}
    return {
        "engine": job.engine,
        "version": _version(job),
        "mode": job.mode,
        "method": job.method,
        "draft_length": job.longest_draft or None,
        "adaptive": job.adaptive,
        "concurrency": job.concurrency,
        "dtype": job.dtype,
        "temperature": job.temperature,
        "samples": job.samples,
        "n": len(rows),
        "wall_seconds": sum(seconds.values()),
        "emitted_tokens": sum(len(row.token_ids) for row in rows),
        "peak_memory_gib": engine.peak_memory_gib,  # of the engine's process
        "job": vars(job),
        "draft_adapter": merged_from(job.draft) if job.draft else None,
        "environment": environment.engine_environment(job.kv_cache_gib),
        "provenance": recorded(),
    }


def _version(job: Job) -> str | None:
    return provenance.vllm_version() if job.engine == "vllm" else __version__
