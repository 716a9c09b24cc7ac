"""Draft lengths at several loads, timed in turns as the arms of a cell are, beside what the cost model predicts.

Every way of drafting is an arm with an engine of its own. In each block every arm answers its turn at all loads, before
any arm goes on to the next block; the order of the arms is drawn anew for each pair of blocks and mirrored in the
second (`interleave.orders`). A load is a number of requests that are started together and answered as one batch.

The prediction takes the tokens per step of the point itself, and step times of plain decoding and two draft lengths.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import mean, median

from doubledraft.evaluation.interleave import orders
from doubledraft.evaluation.load.costs import off_from, speculative_config, speedup
from doubledraft.inference import generate
from doubledraft.inference.host import Host
from doubledraft.inference.job import EncodedQuestion, Job, JobError, without_draft
from doubledraft.inference.residency import Engines, open_engines
from doubledraft.log import log
from doubledraft.models.inspect import load_tokenizer
from doubledraft.plotting import COLOURS, INK, canvas, note
from doubledraft.records import Generation
from doubledraft.stats import block_ratio_interval
from doubledraft.summaries import json_file
from doubledraft.summaries.advice import GridPoint, LoadCosts, LoadGrid
from doubledraft.summaries.provenance import recorded

PLAIN, ADAPTIVE = "0", "adaptive"
FEWEST_ANSWERS = 4  # of a turn at one load: so many batches of fewer requests


@dataclass(frozen=True, slots=True)
class Answered:
    """The answers of an arm at one load in one block."""

    arm: str
    load: int
    block: int
    seconds: float
    rows: list[Generation]


def run(
    job: Job,
    *,
    lengths: Sequence[int | str],
    loads: Sequence[int],
    blocks: int,
    residency: str,
    out: str,
    figure: str,
) -> None:
    """Time every draft length at every load, and write the grid and its figure.

    `job` is that of any draft length. Plain decoding is always timed; "adaptive" among `lengths` is timed where the
    engine is the native one. Raise JobError for jobs that cannot be run.
    """
    jobs = arms(job, lengths, max(loads))
    inputs = generate.encode_questions(max(jobs.values(), key=lambda arm: arm.longest_draft), load_tokenizer(job.model))
    with open_engines(jobs, residency, partial(generate.warm_up, questions=inputs)) as engines:
        answered = time_in_turns(engines, inputs, loads, blocks, job.seed)
        costs = [measure_costs(engines, inputs, answered, load) for load in loads]
    points = [_point(answered, at_load, arm, job.seed) for at_load in costs for arm in jobs]
    best = {load: _best(points, load) for load in loads}
    grid = LoadGrid(
        engine=job.engine,
        residency=engines.residency,
        blocks=blocks,
        points=points,
        costs=costs,
        best={str(load): length for load, length in best.items()},
        off_from=off_from(best),
        speculative_config=speculative_config(job.draft, best),
        provenance=recorded(),
    )
    json_file.write(out, grid)
    draw(grid, figure)
    log.info("best K by requests in flight: %s; off from %s", best, grid.off_from)


def arms(job: Job, lengths: Sequence[int | str], most: int) -> dict[str, Job]:
    """Return the jobs of plain decoding and of every draft length, by name, for up to `most` requests in flight."""
    job = replace(job, concurrency=most, warmup=1)
    drafting = [length for length in lengths if length and (length != ADAPTIVE or job.engine == "native")]
    return {PLAIN: replace(without_draft(job), mode="baseline")} | {
        str(length): replace(job, draft_length=length) for length in drafting
    }


def time_in_turns(
    engines: Engines, questions: Sequence[EncodedQuestion], loads: Sequence[int], blocks: int, seed: int
) -> list[Answered]:
    """Let every arm answer every block at every load."""
    answers = []
    for block, order in enumerate(orders(list(engines.jobs), blocks, seed)):
        for arm in order:
            engine = engines.turn(arm)
            answers += [_answer(engine, arm, load, block, _batches(questions, load, block)) for load in loads]
        log.info("block %d of %d timed", block + 1, blocks)
    return answers


def _batches(questions: Sequence[EncodedQuestion], load: int, block: int) -> list[list[EncodedQuestion]]:
    """Return the batches of a block at a load: other questions in each block, from the first again after the last."""
    count = max(1, FEWEST_ANSWERS // load)
    first = block * count * load
    return [[questions[(first + at * load + place) % len(questions)] for place in range(load)] for at in range(count)]


def _answer(engine: Host, arm: str, load: int, block: int, batches: Sequence[Sequence[EncodedQuestion]]) -> Answered:
    rows, seconds = [], 0.0
    for batch in batches:
        answers, batch_seconds = engine.call("answer", batch)
        rows, seconds = rows + answers, seconds + batch_seconds
    return Answered(arm, load, block, seconds, rows)


def measure_costs(
    engines: Engines, questions: Sequence[EncodedQuestion], answered: Sequence[Answered], load: int
) -> LoadCosts:
    """Return what a step costs at a load, plain and with the shortest and the longest draft of fixed length."""
    fixed = sorted(int(arm) for arm in engines.jobs if arm not in (PLAIN, ADAPTIVE))
    timed = {arm: engines.turn(arm).call("step_seconds", _batches(questions, load, 0))[0] for arm in _ends(fixed)}
    parts = [timed[PLAIN]["target"], *(timed[arm][part] for arm in _ends(fixed)[1:] for part in ("draft", "verify"))]
    if None in parts:
        raise JobError(
            f"with {load} requests in flight no step could be timed: the answers are too short; lower "
            "load_grid.lengths, or raise max_tokens of the type"
        )
    turns = [turn for turn in answered if turn.load == load]
    ends = [str(length) for length in (fixed[0], fixed[-1])]
    return LoadCosts(
        load=load,
        answer_tokens=mean(len(row.token_ids) for turn in turns if turn.arm == PLAIN for row in turn.rows),
        prefill=_prefill(turns, [PLAIN]),
        draft_prefill=_prefill(turns, ends),
        target=timed[PLAIN]["target"],
        draft=mean(timed[arm]["draft"] for arm in ends),
        verify={arm: timed[arm]["verify"] for arm in ends},
    )


def _ends(fixed: Sequence[int]) -> list[str]:
    return [PLAIN, str(fixed[0]), str(fixed[-1])]


def _prefill(answered: Sequence[Answered], arms: Sequence[str]) -> float:
    return median(row.time_to_first_token for turn in answered if turn.arm in arms for row in turn.rows)


def _point(answered: Sequence[Answered], costs: LoadCosts, arm: str, seed: int) -> GridPoint:
    turns, plain = (
        sorted((turn for turn in answered if turn.load == costs.load and turn.arm == name), key=lambda turn: turn.block)
        for name in (arm, PLAIN)
    )
    rows = [row for turn in turns for row in turn.rows]
    emitted = sum(len(row.token_ids) for row in rows)
    rate = emitted / sum(turn.seconds for turn in turns)
    if arm == PLAIN:
        return GridPoint(load=costs.load, drafting=arm, tokens_per_second=rate)
    tokens = emitted / sum(row.steps for row in rows)
    return GridPoint(
        load=costs.load,
        drafting=arm,
        tokens_per_second=rate,
        tokens_per_step=tokens,
        speedup=block_ratio_interval([turn.seconds for turn in plain], [turn.seconds for turn in turns], seed),
        predicted=None if arm == ADAPTIVE else speedup(costs, int(arm), tokens),
    )


def _best(points: Sequence[GridPoint], load: int) -> int:
    """Return the fixed draft length that was fastest at a load, 0 where none was faster than plain decoding."""
    fixed = [point for point in points if point.load == load and point.speedup and point.drafting != ADAPTIVE]
    fastest = max(fixed, key=lambda point: point.speedup.value)
    return int(fastest.drafting) if fastest.speedup.value > 1 else 0


def draw(grid: LoadGrid, path: str) -> None:
    """Draw the speedup by load, a line for each way of drafting, with the predictions as hollow marks."""
    names = list(dict.fromkeys(point.drafting for point in grid.points if point.speedup))
    with canvas(path, 3.6) as (figure, axes):
        for name, colour in zip(names, (*COLOURS, INK, "#888888"), strict=False):
            curve = [point for point in grid.points if point.drafting == name]
            loads = [point.load for point in curve]
            label = name if name == ADAPTIVE else f"K = {name}"
            axes.plot(loads, [point.speedup.value for point in curve], "o-", color=colour, markersize=4, label=label)
            if name != ADAPTIVE:
                axes.plot(
                    loads, [point.predicted for point in curve], "d", color=colour, markersize=6, markerfacecolor="none"
                )
        axes.axhline(1, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        axes.set_xscale("log", base=2)
        axes.set_xticks(loads, list(map(str, loads)))
        axes.minorticks_off()
        axes.set(xlabel="requests in flight", ylabel="speedup over plain decoding")
        figure.legend(loc="outside right upper")
        note(figure, f"Below the dashed line drafting costs time. Hollow: predicted. n = {grid.blocks} blocks a point")
