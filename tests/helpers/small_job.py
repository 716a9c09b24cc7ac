"""A job that any engine does in seconds: a few questions on a tiny model."""

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


def measured(job: Job, engine: Host | Local, baseline: list[Generation] | None = None) -> None:
    """Answer a job by a running engine and measure what it costs, as when arms are timed, but in one go."""
    generate.answer(job, engine)
    asked, rows = generate.ask(job, load_tokenizer(job.model)), read_records(job.out, Generation)
    generate.write(job, engine, *measure.measure(job, engine, asked, rows, baseline))
