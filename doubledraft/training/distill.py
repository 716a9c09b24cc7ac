"""The distilled set: the trained target's own answers to questions, from which its draft learns.

Answers are appended to a progress file as they come, so a rerun continues where the last one stopped. When all are
there, some are dropped and counted by reason. A draft has to propose what the target generates, right or wrong, so
every answer that finishes is worth learning from; `keep: right` takes those alone that are also right.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from doubledraft.grading import grader
from doubledraft.inference import generate, resume
from doubledraft.inference.job import Job
from doubledraft.log import log
from doubledraft.records import Generation, Question, read_records, write_records
from doubledraft.summaries import json_file
from doubledraft.summaries.run_file import RunFile
from doubledraft.training.computing_dtype import CHOICE, choose


class DistillError(ValueError):
    """A distilled set that is too small to learn from; the message names the counts and what to change."""


def run(
    job: Job, distilled: str | Path, run_out: str | Path, *, keep: str, min_yield: float, computing_dtype: str
) -> None:
    """Run `job`, whose outputs are the progress files; write the rows that are kept, and the run file with counts.

    `keep` is "finished" or "right". Answers are computed in `computing_dtype`, of which "auto" takes the faster one of
    bfloat16 and float32: without AVX-512, 64 answers took vLLM 150 s in bfloat16 and 57 s in float32. Raise
    DistillError where no answer or less than the share `min_yield` is kept.
    """
    job = replace(job, dtype=choose(job.model, computing_dtype, job.dtype, Path(job.out).parent).computed_in)
    generate.run(job)
    rows = read_records(job.out, Generation)
    reasons = why_dropped(rows, read_records(job.questions, Question), keep)
    kept = [row for row, reason in zip(rows, reasons, strict=True) if reason is None]
    dropped = Counter(filter(None, reasons))
    log.info("kept %d of %d answers; dropped: %s", len(kept), len(rows), dict(dropped) or "none")
    if not kept or len(kept) < min_yield * len(rows):
        raise DistillError(
            f"{job.out}: {len(kept)} of {len(rows)} answers are {_WANTED[keep]}, less than distill.min_yield "
            f"{min_yield:g}; dropped: {dict(dropped)}. Raise max_tokens of the type where answers are cut, train the "
            "target longer, or lower distill.min_yield"
        )
    run_file = json_file.read(job.run_out, RunFile)
    write_records(distilled, kept)
    json_file.write(run_out, replace(run_file, keep=keep, kept=len(kept), dropped=dict(dropped)))
    resume.remove(job.out)
    Path(job.run_out).unlink()
    Path(job.out).with_name(CHOICE).unlink(missing_ok=True)


_WANTED = {"finished": "finished", "right": "finished and right"}
_WRONG = {"equal": None, "different": "wrong answer", "undecided": "undecided answer"}  # by the grader's verdict


def why_dropped(rows: Sequence[Generation], questions: Sequence[Question], keep: str) -> list[str | None]:
    """Return for each row why it is not kept, None where it is; "right" grades the answers, "finished" does not."""
    reasons = ["truncated" if row.finish_reason == "length" else None for row in rows]
    if keep == "finished":
        return reasons
    scores = grader.score(rows, {question.id: question.answer for question in questions})
    return [
        reason or ("no answer" if score.strict is None else _WRONG[score.strict_verdict])
        for reason, score in zip(reasons, scores, strict=True)
    ]
