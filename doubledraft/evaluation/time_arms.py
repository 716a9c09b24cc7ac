"""The arms of a cell, timed in turns (`interleave`) by engines that live side by side (`inference.residency`).

Where the A/A control shows that the machine was not steady, the whole cell is timed again. The last attempt counts,
steady or not, and every attempt is kept. The decision depends on the baseline alone, never on the speedup.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count

from doubledraft.evaluation.interleave import (
    BASELINE,
    CONTROL,
    SPECULATIVE,
    blocks_of,
    control_ratio,
    is_steady,
    orders,
)
from doubledraft.inference import energy, generate
from doubledraft.inference.energy import EnergyMeter
from doubledraft.inference.job import EncodedQuestion, Job, without_draft
from doubledraft.inference.measure import measure
from doubledraft.inference.residency import Engines, open_engines
from doubledraft.log import Progress, log
from doubledraft.models.inspect import load_tokenizer
from doubledraft.records import Generation
from doubledraft.summaries import json_file
from doubledraft.summaries.provenance import recorded
from doubledraft.summaries.timing_file import Attempt, TimingFile, Turn

RESTART_BLOCKS = 4  # at most, where every turn reloads its engine: so many memory layouts are averaged over


def arms(job: Job, generations: Sequence[str], runs: Sequence[str]) -> dict[str, Job]:
    """Return the jobs of the target alone and, where there are two files of each kind, of the target with its draft."""
    jobs = {BASELINE: replace(without_draft(job), mode=BASELINE), SPECULATIVE: job}
    files = zip(jobs.items(), generations, runs, strict=False)
    return {mode: replace(arm_job, out=out, run_out=run_out) for (mode, arm_job), out, run_out in files}


def run(jobs: Mapping[str, Job], *, blocks: int, retimes: int, residency: str, out: str) -> None:
    """Answer the questions by every arm in turns; write rows and run file of each job, and the times of all turns.

    `jobs` are those of the arms BASELINE and, where drafting is timed too, SPECULATIVE, over the same questions. `out`
    is the TimingFile. Raise JobError for jobs that cannot be run, and RuntimeError where an engine fails.
    """
    tokenizer = load_tokenizer(jobs[BASELINE].model)
    questions = generate.encode_questions(max(jobs.values(), key=lambda job: job.longest_draft), tokenizer)
    with open_engines(jobs, residency, partial(generate.warm_up, questions=questions)) as engines:
        blocks = min(blocks, RESTART_BLOCKS) if engines.residency == "restart" else blocks
        meter = energy.open_meter()
        attempts, rows = time_in_turns(engines, questions, blocks=blocks, retimes=retimes, meter=meter)
        rows = {name: generate.with_texts(answers, tokenizer) for name, answers in rows.items()}
        for name, job in engines.jobs.items():
            engine = engines.turn(name)
            measured = measure(job, engine, questions, rows[name], rows[BASELINE] if name != BASELINE else None)
            generate.write(job, engine, *measured)
        json_file.write(
            out,
            TimingFile(
                residency=engines.residency,
                peak_memory_gib=engines.peak_memory_gib,
                attempts=attempts,
                provenance=recorded(),
                energy_source=meter.source,
                energy_reason=meter.reason,
            ),
        )


def time_in_turns(
    engines: Engines, questions: Sequence[EncodedQuestion], *, blocks: int, retimes: int, meter: EnergyMeter
) -> tuple[list[Attempt], dict[str, list[Generation]]]:
    """Return all attempts, and the rows of every job in the last one, without texts."""
    seed = engines.jobs[BASELINE].seed
    attempts = []
    for number in count():
        rows, attempt = _attempt(engines, questions, blocks, seed + number, meter)
        attempts.append(attempt)
        control = control_ratio(attempt, seed)
        if control is None or control.low is None or is_steady(control):
            return attempts, rows
        log.warning("not steady: baseline / baseline is %.3f, %.3f to %.3f", control.value, control.low, control.high)
        if number == retimes:
            return attempts, rows
        log.info("timing again, %d of %d times at most", number + 1, retimes)


def _attempt(
    engines: Engines, questions: Sequence[EncodedQuestion], blocks: int, seed: int, meter: EnergyMeter
) -> tuple[dict[str, list[Generation]], Attempt]:
    """Let every arm answer every block once; return the rows of every job, the control's left out, and the turns."""
    numbered = list(enumerate(generate.batches(questions, engines.jobs[BASELINE].concurrency)))
    parts = blocks_of(numbered, blocks)
    arms = [*engines.jobs, *([CONTROL] if SPECULATIVE in engines.jobs else [])]
    rows: dict[str, list[Generation]] = {arm: [] for arm in arms}
    turns = []
    progress = Progress("timing", len(parts), "blocks")
    for block, order in enumerate(orders(arms, len(parts), seed)):
        for arm in order:
            engine = engines.turn(BASELINE if arm == CONTROL else arm)
            before = meter.joules()
            batches = [generate.answer_batch(engine, batch, index) for index, batch in parts[block]]
            joules = None if before is None else meter.joules() - before
            rows[arm] += [row for batch in batches for row in batch]
            turns.append(_turn(block, arm, batches, joules))
        progress.show(block + 1, ", ".join(map(_pace, turns[-len(order) :])))
    rows.pop(CONTROL, None)
    return rows, Attempt(turns=turns)


def _turn(block: int, arm: str, batches: Sequence[Sequence[Generation]], joules: float | None) -> Turn:
    return Turn(
        block=block,
        arm=arm,
        seconds=[batch[0].batch_seconds for batch in batches],
        tokens=[sum(len(row.token_ids) for row in batch) for batch in batches],
        joules=joules,
    )


def _pace(turn: Turn) -> str:
    return f"{turn.arm} {sum(turn.seconds):.2f} s"
