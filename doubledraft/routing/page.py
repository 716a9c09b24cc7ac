"""The page on routing: the conclusion, drafts by domain, every way to choose among them, and the controls."""

from pathlib import Path

from doubledraft import number_text, pages
from doubledraft.files import whole_file
from doubledraft.routing.score import signed
from doubledraft.stats import Interval
from doubledraft.summaries import json_file
from doubledraft.summaries.routing_score import RoutingScore

REFERENCE = {  # of arms that are no router of the config: what each does
    "random": "each draft equally often",
    "best single": "one draft for all, chosen on validation prompts",
    "domain label": "knows each prompt's domain, and takes that domain's draft",
    "hedge": "learns from every answer, and pays for reading it with each draft",
    "oracle": "the fastest draft of each prompt, chosen by other turns than those that time it",
}


def write(score: str | Path, out: str | Path) -> None:
    """Write the page from score.json: one file that loads nothing."""
    facts = json_file.read(score, RoutingScore)
    values = {
        "score": facts,
        "domains": list(dict.fromkeys(cell.domain for cell in facts.drafts)),
        "names": list(dict.fromkeys(cell.draft for cell in facts.drafts)),
        "cells": {(cell.draft, cell.domain): cell for cell in facts.drafts},
        "reference": REFERENCE,
        "steady": facts.steadiness.low is not None and facts.steadiness.low <= 1 <= facts.steadiness.high,
    }
    filters = {"number": number_text.number_text, "range": number_text.range_text, "percent": percent, "ends": ends}
    with whole_file(out) as file:
        file.write(pages.render("routing.html.j2", values, **filters))


def percent(value: float) -> str:
    """Return a relative difference as text: 0.021 is "+2.1 %"."""
    return f"{signed(value)}\N{NO-BREAK SPACE}%"


def ends(interval: Interval) -> str:
    """Return the interval of a relative difference as text."""
    if interval.low is None:
        return "no interval"
    return f"{percent(interval.low)} to {percent(interval.high)}"
