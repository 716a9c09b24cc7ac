"""Whether three engines agree on one pair and its questions: ours, vLLM, and Hugging Face's assisted generation.

All decode greedily with the same K, one request at a time, in float32, where rounding is too small to hide a fault.
Their answers are compared with those of the target alone, by Hugging Face's `generate`: every answer that differs is
named with the position and with the gap of the target's two best tokens there. Nearly equal tokens may change places (a
tie); anything else is a bug.

Tokens per step are emitted tokens / target passes, the prompt's pass included, and must agree within TOLERANCE. Ours
and vLLM read the prompt in a pass that drafts nothing and emits one token. Hugging Face drafts before the target has
read the prompt, so its drafts would begin one token earlier and it would need one pass fewer. It is therefore given the
prompt with the answer's first token, and one pass is added for it: then all engines draft at the same positions.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from doubledraft import machine
from doubledraft.inference import generate
from doubledraft.inference.hugging_face import HuggingFacePair
from doubledraft.inference.job import EncodedQuestion, Job
from doubledraft.inference.tokenizing import stop_ids
from doubledraft.log import Progress, log
from doubledraft.models.inspect import load_tokenizer
from doubledraft.records import Generation, first_difference, read_records
from doubledraft.stats import wilson
from doubledraft.summaries import json_file
from doubledraft.summaries.cross_check import (
    AnswerDifference,
    CheckedEngine,
    CrossCheck,
    EngineAgreement,
    EngineComparison,
)
from doubledraft.summaries.provenance import recorded
from doubledraft.summaries.run_file import RunFile

TOLERANCE = 0.02  # relative, between the engines with the most and the fewest tokens per step
TIE = 1e-3  # log-probability; passes that differ only in the order of float32 sums are much closer
DEFINITION = (
    "emitted tokens / target passes, the prompt's pass included; Hugging Face is given the answer's first token, "
    "counted as one pass, since it would draft before the target has read the prompt"
)


class DisagreementError(ValueError):
    """Engines that do not agree; the message says in what, and names the file with the details."""


def run(job: Job, settings: Mapping[str, object], out: str) -> None:
    """Let three engines answer the questions of a job, whatever its own engine and outputs, and write the comparison.

    `settings` is the part of the config that the cell depends on, for the provenance. Where an answer is a bug, or the
    engines' tokens per step are further apart than TOLERANCE, the comparison is written to a file of its own beside
    `out`, which Snakemake does not delete with the output of a failed job, and DisagreementError is raised.
    """
    tokenizer = load_tokenizer(job.model)
    questions = generate.encode_questions(job, tokenizer)
    with TemporaryDirectory() as folder:
        engines = dict(_answered(replace(job, engine=name), folder) for name in ("native", "vllm"))
    stops = stop_ids(job.model, tokenizer)
    machine.use_own_cores()
    peer = HuggingFacePair(job.model, job.draft, dtype=job.dtype, device=machine.device(), stop_ids=stops)
    alone, engines[peer.name] = [], []
    progress = Progress("answering with Hugging Face, without and with drafts", len(questions), "questions")
    for done, question in enumerate(questions, start=1):
        alone.append(peer.generate(question.token_ids, job.max_tokens))
        engines[peer.name].append(_assisted(peer, job, question, alone[-1][0], stops))
        progress.show(done)
    compared = compare(questions, alone, engines, peer.best_two)
    comparison = CrossCheck(
        **{field.name: getattr(compared, field.name) for field in fields(compared)},
        n=len(questions),
        settings={key: getattr(job, key) for key in ("dtype", "draft_length", "max_tokens", "model", "draft")},
        provenance=recorded(settings),
    )
    write(comparison, Path(out))


def write(comparison: CrossCheck, out: Path) -> None:
    """Write a comparison, to `out` where the engines agree; else to failed_path(out), and raise DisagreementError."""
    spread = f"{100 * comparison.tokens_per_step.spread:.2f} %"
    log.info(
        "%d questions: %d ties, %d bugs, tokens per step %s apart",
        comparison.n,
        comparison.ties,
        comparison.bugs,
        spread,
    )
    if comparison.tokens_per_step.agree and not comparison.bugs:
        json_file.write(out, comparison)
        failed_path(out).unlink(missing_ok=True)
        return
    json_file.write(failed_path(out), comparison)
    raise DisagreementError(
        f"{failed_path(out)}: {comparison.bugs} answers differ from those of the target alone in more than a tie, and "
        f"tokens per step are {spread} apart, where {100 * TOLERANCE:g} % is allowed; the file names questions and "
        "positions"
    )


def failed_path(out: Path) -> Path:
    """Return the path of a comparison whose job failed because engines disagree."""
    return out.with_name(f"{out.stem}_failed.json")


def _answered(job: Job, folder: str) -> tuple[str, list[Generation]]:
    """Return name and answers of the job's engine, which runs in a process of its own."""
    job = replace(job, out=f"{folder}/{job.engine}.jsonl", run_out=f"{folder}/{job.engine}.json")
    generate.run(job)
    version = json_file.read(job.run_out, RunFile).version
    return f"{job.engine} {version}", read_records(job.out, Generation)


def _assisted(
    peer: HuggingFacePair, job: Job, question: EncodedQuestion, first: int, stop_ids: Collection[int]
) -> Generation:
    """Return Hugging Face's answer with drafts, which continues the answer's first token."""
    passes, ids = _Passes(), [first]
    if job.max_tokens > 1 and first not in stop_ids:
        prompt = [*question.token_ids, first]
        ids += peer.generate(prompt, job.max_tokens - 1, job.draft_length, streamer=passes)
    return Generation(
        id=question.id,
        prompt_tokens=len(question.token_ids),
        token_ids=ids,
        text="",
        finish_reason="stop" if ids[-1] in stop_ids else "length",
        batch=0,
        batch_seconds=0.0,
        steps=1 + passes.count,
    )


class _Passes:
    """A streamer of `generate`: called once with the prompt, then once per pass of the target."""

    def __init__(self) -> None:
        self.count = -1

    def put(self, tokens) -> None:
        """Count a pass."""
        self.count += 1

    def end(self) -> None:
        """Do nothing: the answer is complete."""


def compare(
    questions: Sequence[EncodedQuestion],
    alone: Sequence[list[int]],
    engines: Mapping[str, Sequence[Generation]],
    best_two: Callable[[Sequence[int]], list[tuple[int, float]]],
) -> EngineComparison:
    """Compare every engine's answers with those of the target alone, and the engines' tokens per step.

    `best_two` returns the target's two best next tokens after some token ids, each with its log-probability up to one
    constant.
    """
    by_engine = {name: _compared(questions, alone, rows, best_two) for name, rows in engines.items()}
    rates = [engine.tokens_per_step for engine in by_engine.values()]
    spread = max(rates) / min(rates) - 1
    verdicts = [difference.verdict for engine in by_engine.values() for difference in engine.differences]
    return EngineComparison(
        identical=not verdicts,
        ties=verdicts.count("tie"),
        bugs=verdicts.count("bug"),
        tokens_per_step=EngineAgreement(
            definition=DEFINITION, spread=spread, tolerance=TOLERANCE, agree=spread <= TOLERANCE
        ),
        engines=by_engine,
    )


def _compared(questions, alone, rows: Sequence[Generation], best_two) -> CheckedEngine:
    differences = []
    for question, expected, row in zip(questions, alone, rows, strict=True):
        position = first_difference(expected, row.token_ids)
        if position is not None:
            differences.append(_difference(question, expected, row.token_ids, position, best_two))
    emitted, steps = sum(len(row.token_ids) for row in rows), sum(row.steps for row in rows)
    return CheckedEngine(
        emitted=emitted,
        steps=steps,
        tokens_per_step=emitted / steps,
        identical_rate=wilson(len(rows) - len(differences), len(rows)),
        differences=differences,
    )


def _difference(
    question: EncodedQuestion, expected: list[int], found: list[int], position: int, best_two
) -> AnswerDifference:
    one, other = (ids[position] if position < len(ids) else None for ids in (expected, found))
    gap, verdict = None, "bug"
    if None not in (one, other):
        (best, first), (second, last) = best_two([*question.token_ids, *expected[:position]])
        gap = first - last
        verdict = "tie" if {best, second} == {one, other} and gap <= TIE else "bug"
    return AnswerDifference(id=question.id, position=position, expected=one, found=other, top2_gap=gap, verdict=verdict)
