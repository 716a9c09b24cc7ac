"""The distilled set: the trained target's own answers to the training questions, those that are finished and right.

Answers are appended to a progress file as they come, so a rerun continues where the last one stopped. When all are
there they are graded; wrong and unfinished ones are dropped and counted, so that the draft learns the target's correct
answers.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from doubledraft.grading import grader
from doubledraft.inference import generate, resume
from doubledraft.inference.job import Job
from doubledraft.log import log
from doubledraft.records import Generation, Question, Score, read_records, write_records
from doubledraft.summaries import json_file
from doubledraft.summaries.run_file import RunFile


def run(job: Job, distilled: str | Path, run_out: str | Path) -> None:
    """Run `job`, whose outputs are the progress files; write the rows that are kept, and the run file with counts."""
    generate.run(job)
    rows = read_records(job.out, Generation)
    gold = {question.id: question.answer for question in read_records(job.questions, Question)}
    kept, dropped = keep(rows, grader.score(rows, gold))
    log.info("kept %d of %d answers; dropped: %s", len(kept), len(rows), dict(dropped) or "none")
    if not kept:
        raise ValueError(f"{job.out}: none of {len(rows)} answers is right and finished: train the target better first")
    answered = json_file.read(job.run_out, RunFile)
    write_records(distilled, kept)
    json_file.write(run_out, replace(answered, kept=len(kept), dropped=dict(dropped)))
    resume.remove(job.out)
    Path(job.run_out).unlink()


def keep(rows: list[Generation], scores: list[Score]) -> tuple[list[Generation], Counter[str]]:
    """Return the rows that finished with the right answer in the asked-for format, and count the others by reason."""
    kept, dropped = [], Counter()
    for row, score in zip(rows, scores, strict=True):
        if reason := _reason(row, score):
            dropped[reason] += 1
        else:
            kept.append(row)
    return kept, dropped


def _reason(row: Generation, score: Score) -> str | None:
    """Return why a row is not kept, None where it is."""
    if row.finish_reason == "length":
        return "truncated"
    if score.strict is None:
        return "no answer"
    return {"equal": None, "different": "wrong answer", "undecided": "undecided answer"}[score.strict_verdict]
