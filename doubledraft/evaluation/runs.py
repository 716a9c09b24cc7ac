"""What an engine run left behind, and which runs may be scored and compared.

A run is a file of generations and a run file with how they were made. Only like is compared with like: the same
questions in the same order, one model and prompt, one engine with the same settings and environment, one machine.
Anything else is an error that names the file and the first difference.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from doubledraft.records import Generation, Question, RecordError, Score, asked_id, read_records
from doubledraft.summaries import json_file
from doubledraft.summaries.cell_metrics import RunMetrics
from doubledraft.summaries.run_file import EngineRun, RunFile

SAME_IN_BOTH = ("engine", "version", "kernel", "dtype", "concurrency", "n")  # unlike runs have no speedup
SAME_IN_JOB = (
    "model",
    "prompt",
    "few_shot",
    "max_tokens",
    "max_model_len",
    "enforce_eager",
    "tensor_parallel",
    "warmup",
    "seed",
    "temperature",
    "samples",
)


class ComparisonError(ValueError):
    """Runs that may not be scored or compared; the message names the file and the first difference."""


@dataclass(frozen=True)
class Run:
    """The answers of one engine run to a list of questions, and how they were made."""

    path: str  # of the generations
    rows: list[Generation]  # in the order of the questions
    info: EngineRun  # of a study: its run file

    @property
    def engine(self) -> str:
        """Name and version of the engine."""
        return f"{self.info.engine} {self.info.version}"

    @property
    def units(self) -> list[str]:
        """The question that each row answers: answers to one question are no independent units."""
        return [asked_id(row.id, self.info.samples) for row in self.rows]

    @property
    def batches(self) -> list[float]:
        """Wall seconds of each batch, in order."""
        return batch_seconds(self.rows)


@dataclass(frozen=True)
class Graded:
    """A run with the grades of its answers and its metrics."""

    run: Run
    scores: list[Score]
    metrics: RunMetrics


def batch_seconds(rows: Sequence[Generation]) -> list[float]:
    """Return the wall seconds of each batch, in order: every row of a batch repeats its time, and it counts once."""
    return list({row.batch: row.batch_seconds for row in rows}.values())


def load(path: str, run_path: str, asked: Sequence[Question], questions: str) -> Run:
    """Return a run; raise ComparisonError unless it answers exactly the asked questions, in their order."""
    rows = read_records(path, Generation)
    _check_ids(path, [row.id for row in rows], questions, [question.id for question in asked])
    _check_batches(path, rows)
    info = _run_file(run_path)
    if info.n != len(rows):
        raise ComparisonError(f"{run_path}: n is {info.n}, but {path} has {len(rows)} rows; run the engine again")
    if _is_synthetic(info.job):
        raise ComparisonError(f"{run_path}: synthetic acceptance is made up, not measured; use the standard rejection")
    return Run(path, rows, info)


def _run_file(path: str) -> RunFile:
    try:
        info = json_file.read(path, RunFile)
    except RecordError as error:
        raise ComparisonError(f"{error}; run the engine again") from None
    if missing := [key for key in SAME_IN_JOB if key not in info.job]:
        raise ComparisonError(f"{path}: key 'job.{missing[0]}' is missing; run the engine again")
    return info


def check_comparable(baseline: Run, speculative: Run) -> None:
    """Raise ComparisonError where two runs differ in anything but the draft."""

    def check(what: str, first: object, second: object) -> None:
        if first != second:
            raise ComparisonError(
                f"{baseline.path} and {speculative.path} differ in {what}: {first!r:.200} and {second!r:.200}; "
                "make both again, in the same way on the same machine"
            )

    for key in SAME_IN_BOTH:
        check(key, getattr(baseline.info, key), getattr(speculative.info, key))
    for key in SAME_IN_JOB:
        check(key, baseline.info.job[key], speculative.info.job[key])
    check("environment", baseline.info.environment, speculative.info.environment)
    check("hardware", *(run.info.provenance.hardware for run in (baseline, speculative)))
    check("the batches in flight", *([row.batch for row in run.rows] for run in (baseline, speculative)))
    for run, drafts in ((baseline, False), (speculative, True)):
        if (run.info.method != "none") != drafts:
            raise ComparisonError(
                f"{run.path}: expected a run {'with' if drafts else 'without'} a draft, "
                f"found method {run.info.method!r}"
            )


def _check_ids(path: str, found: list[str], questions: str, expected: list[str]) -> None:
    if not expected:
        raise ComparisonError(f"{questions}: no question to score")
    answered, asked = set(found), set(expected)
    if missing := [id for id in expected if id not in answered]:
        raise ComparisonError(
            f"{path}: question {missing[0]!r} of {questions} has no answer ({len(missing)} missing); run the engine "
            "again"
        )
    if extra := [id for id in found if id not in asked]:
        raise ComparisonError(
            f"{path}: {extra[0]!r} is not among the asked questions of {questions} ({len(extra)} such); run the engine "
            "again"
        )
    for line, (here, there) in enumerate(zip(found, expected, strict=True), start=1):
        if here != there:
            raise ComparisonError(
                f"{path}:{line}: found {here!r} where {questions} has {there!r}: another order; run the engine again"
            )


def _check_batches(path: str, rows: list[Generation]) -> None:
    first: dict[int, Generation] = {}
    for row in rows:
        batch = first.setdefault(row.batch, row)
        if row.batch_seconds <= 0 or row.batch_seconds != batch.batch_seconds:
            raise ComparisonError(
                f"{path}: batch {row.batch} took {row.batch_seconds} s by {row.id!r}, "
                f"{batch.batch_seconds} s by {batch.id!r}; expected one positive time; run the engine again"
            )


def _is_synthetic(value: object) -> bool:
    """Return whether one of vLLM's switches of made-up acceptance is set anywhere in a job."""
    if isinstance(value, dict):
        named = any(str(key).startswith("synthetic_acceptance") and item is not None for key, item in value.items())
        return named or value.get("rejection_sample_method") == "synthetic" or any(map(_is_synthetic, value.values()))
    return isinstance(value, list) and any(map(_is_synthetic, value))
