"""A job that any engine does in seconds: a few questions on a tiny model."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from doubledraft.inference import generate, measure
from doubledraft.inference.host import Host, Local
from doubledraft.inference.job import Job
from doubledraft.models.inspect import load_tokenizer
from doubledraft.records import Generation, Question, read_records, write_records


def small_job(folder: Path, model: Path, name: str, *, questions: int = 6, **changes) -> Job:
    """Write questions q0, q1, ... and a prompt to a folder; return the job that answers them.

    It decodes plainly, in float32, so that other ways of decoding must agree with it to the token. `name` is the mode
    and the name of the output files; `changes` are other values of the job.
    """
    asked = [
        Question(
            id=f"q{number}",
            scenario="easy",
            split="test",
            question=f"How many pencils are {number} * 4 + 7 / 2?",
            answer="0",
            steps=[],
        )
        for number in range(questions)
    ]
    write_records(folder / "questions.jsonl", asked)
    (folder / "prompt.yaml").write_text("system: Solve the problem.\nshots: []\n")
    settings = dict(
        mode=name,
        model=str(model),
        questions=str(folder / "questions.jsonl"),
        prompt=str(folder / "prompt.yaml"),
        out=str(folder / f"{name}.jsonl"),
        run_out=str(folder / f"{name}_run.json"),
        max_tokens=40,
        max_model_len=256,
        concurrency=2,
        warmup=1,
        dtype="float32",
        seed=17,
        kv_cache_gib=1,
        gpu_memory_utilization=0.5,
        tensor_parallel=1,
        enforce_eager=True,
    )
    return Job(**settings | changes)


def measured(
    job: Job, engine: Host | Local, baseline_of: Callable[[list[Generation]], list[Generation]] = lambda rows: []
) -> None:
    """Answer a job by a running engine and measure what it costs, as when arms are timed, but in one go.

    `baseline_of` makes answers that stand for the baseline's from those of the job; none of them, nothing is compared.
    """
    generate.answer(job, engine)
    asked, rows = generate.encode_questions(job, load_tokenizer(job.model)), read_records(job.out, Generation)
    generate.write(job, engine, *measure.measure(job, engine, asked, rows, baseline_of(rows)))


def uses_no_core(engine: Host) -> bool:
    """Return whether an engine that nobody calls rests for half a second, which threads that still spin may put off."""
    return any(_cpu_seconds(engine, 0.5) <= 0.02 for _ in range(20))


def _cpu_seconds(engine: Host, seconds: float) -> float:
    """Return the time on cores that an engine's process takes meanwhile."""

    def taken() -> int:
        fields = Path(f"/proc/{engine.pid}/stat").read_text().rsplit(")")[1].split()
        return sum(map(int, fields[11:13]))  # user and system

    before = taken()
    time.sleep(seconds)
    return (taken() - before) / os.sysconf("SC_CLK_TCK")
