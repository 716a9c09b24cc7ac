"""Latency under an open load: vLLM's server with and without the draft, at stated request rates.

Requests come at Poisson times whether or not earlier ones have been answered, so queueing counts, as it does for users.
At each rate both servers get the same prompts at the same times, one after the other; which is first alternates.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from doubledraft import machine
from doubledraft.inference import generate
from doubledraft.inference.job import Job, without_draft
from doubledraft.inference.served_engine import Server
from doubledraft.log import log
from doubledraft.models.inspect import load_tokenizer
from doubledraft.plotting import COLOURS, canvas, note
from doubledraft.stats import FEWEST
from doubledraft.summaries import json_file
from doubledraft.summaries.advice import ServedLoad, ServedPoint
from doubledraft.summaries.provenance import recorded

ALONE, DRAFTED = "alone", "with the draft"
MILLI = 1e-3


def run(job: Job, *, rates: Sequence[float], out: str, figure: str) -> None:
    """Serve a pair with and without its draft at every rate; write what was measured, and a figure.

    `job` drafts with a model; `rates` are requests per second. Raise JobError for prompts that do not fit, RuntimeError
    where vLLM fails.
    """
    tokenizer = load_tokenizer(job.model)
    prompts = [tokenizer.decode(question.token_ids) for question in generate.encode_questions(job, tokenizer)]
    if machine.device() != "cpu":
        job = replace(job, gpu_memory_utilization=job.gpu_memory_utilization / 2)  # both servers are there at once
    with ExitStack() as servers:
        arms = {name: servers.enter_context(Server(arm)) for name, arm in ((ALONE, without_draft(job)), (DRAFTED, job))}
        points = []
        for number, rate in enumerate(rates):
            for name in list(arms)[:: -1 if number % 2 else 1]:
                points.append(_point(name, rate, arms[name].bench(prompts, rate)))
                log.info("%s", points[-1])
    points.sort(key=lambda point: (point.rate, point.arm))
    served = ServedLoad(draft_length=job.draft_length, points=points, provenance=recorded())
    json_file.write(out, served)
    draw(served, figure)


def _point(arm: str, rate: float, measured: dict[str, object]) -> ServedPoint:
    n = measured["completed"]
    if not n:
        raise RuntimeError(f"{arm}, {rate} requests per second: no request was answered; the log above says why")
    tail = n >= FEWEST[90]
    return ServedPoint(
        arm=arm,
        rate=rate,
        n=n,
        failed=measured["failed"],
        requests_per_second=measured["request_throughput"],
        tokens_per_second=measured["output_throughput"],
        time_to_first_token=measured["median_ttft_ms"] * MILLI,
        time_to_first_token_p90=measured["p90_ttft_ms"] * MILLI if tail else None,
        between_tokens=measured["median_tpot_ms"] * MILLI,
        between_tokens_p90=measured["p90_tpot_ms"] * MILLI if tail else None,
        latency=measured["median_e2el_ms"] * MILLI,
        acceptance_rate=_share(measured.get("spec_decode_acceptance_rate")),
    )


def _share(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


def draw(served: ServedLoad, path: str) -> None:
    """Draw median time to first token and between tokens by request rate, with and without the draft."""
    quantities = {"time_to_first_token": "to first token, ms", "between_tokens": "between tokens, ms"}
    with canvas(path, 4.2, nrows=2, sharex=True) as (figure, panels):
        for axes, (name, label) in zip(panels, quantities.items(), strict=True):
            for arm, colour in zip((ALONE, DRAFTED), COLOURS, strict=False):
                points = [point for point in served.points if point.arm == arm]
                values = [1000 * getattr(point, name) for point in points]
                axes.plot([point.rate for point in points], values, "o-", color=colour, label=arm)
            axes.set(ylabel=label)
            axes.set_ylim(bottom=0)
        panels[-1].set(xlabel="requests per second")
        panels[0].legend()
        note(figure, f"Medians, queueing included; n = {min(point.n for point in served.points)} requests a point")
