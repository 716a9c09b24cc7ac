"""What a timed run measures besides its answers, in the same engine after the timed part.

The cost of a decoding step; where an answer differs from the baseline's, the gap of the target's two best tokens at the
first difference, which tells a tie of roundings from a bug; and the machine's read bandwidth, which no step can exceed.
"""

from collections.abc import Sequence
from dataclasses import replace

from doubledraft import machine
from doubledraft.inference import generate
from doubledraft.inference.bandwidth import bytes_per_pass, read_bandwidth
from doubledraft.inference.host import Host, Local
from doubledraft.inference.job import EncodedQuestion, Job
from doubledraft.inference.tokenizing import shared_beginning
from doubledraft.log import log
from doubledraft.records import Generation, first_mismatch
from doubledraft.summaries.run_file import PassBytes, StepSeconds, TokenCounts

CLOCKED_BATCHES = 3  # batches that are answered again with step times on


def measure(
    job: Job,
    engine: Host | Local,
    questions: Sequence[EncodedQuestion],
    rows: list[Generation],
    baseline: Sequence[Generation] | None = None,
) -> tuple[list[Generation], dict[str, object]]:
    """Return the rows, with the gaps where they first differ from the baseline's, and the costs in the run file."""
    beginning = shared_beginning([question.token_ids for question in questions])
    costs, _ = engine.call("step_seconds", generate.batches(questions, job.concurrency)[:CLOCKED_BATCHES])
    log.info("seconds per step: %s", ", ".join(f"{name} {value:.4f}" for name, value in costs.items() if value))
    if baseline and not job.temperature:  # sampled answers differ because they are drawn
        rows = _with_gaps(engine, questions, rows, baseline)
    draft_vocabulary, _ = engine.call("draft_vocabulary")
    draft_dtype, _ = engine.call("draft_dtype")
    classes, _ = engine.call("token_classes", rows)
    return rows, {
        "kernel": engine.call("kernel")[0],
        "step_seconds": StepSeconds(**costs),
        "bytes_per_pass": PassBytes(
            target=bytes_per_pass(job.model, job.dtype),
            draft=bytes_per_pass(job.draft, draft_dtype, draft_vocabulary) if job.draft else None,
        ),
        "read_bytes_per_second": read_bandwidth(machine.device()),
        "token_classes": classes and {name: TokenCounts(**count) for name, count in classes.items()},
        "draft_vocabulary": draft_vocabulary,
        "draft_dtype": draft_dtype,
        "shared_prompt_tokens": engine.call("read_beginning", beginning)[0],
    }


def _with_gaps(
    engine: Host | Local, questions: Sequence[EncodedQuestion], rows: list[Generation], baseline: Sequence[Generation]
) -> list[Generation]:
    """Set `top2_gap` of rows that differ from the baseline's: the gap of the two best tokens where they first do."""
    plain = {row.id: row.token_ids for row in baseline}
    positions = [first_mismatch(row.token_ids, plain[row.id]) for row in rows]
    prefixes = {
        row.id: question.token_ids + row.token_ids[:position]
        for question, row, position in zip(questions, rows, positions, strict=True)
        if position is not None
    }
    values, _ = engine.call("top2_gaps", list(prefixes.values()))
    gaps = dict(zip(prefixes, values, strict=True))
    log.info("%d of %d answers differ from the baseline's", len(gaps), len(rows))
    return [replace(row, top2_gap=gaps.get(row.id)) for row in rows]
