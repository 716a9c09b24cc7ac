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
    "oracle": "foresees how many passes each draft takes for each prompt: what no router can know",
}


def write(score: str | Path, out: str | Path) -> None:
    """Write the page from score.json: one file that loads nothing."""
    facts = json_file.read(score, RoutingScore)
    values = {
        "score": facts,
        "answers": [facts.conclusion, *answers(facts)],
        "domains": list(dict.fromkeys(cell.domain for cell in facts.drafts)),
        "names": list(dict.fromkeys(cell.draft for cell in facts.drafts)),
        "cells": {(cell.draft, cell.domain): cell for cell in facts.drafts},
        "own": {row.domain: row for row in facts.own},
        "reference": REFERENCE,
        "unsteady": unsteady(facts.steadiness),
    }
    filters = {
        "number": number_text.number_text,
        "range": number_text.range_text,
        "share": number_text.share_text,
        "percent": percent,
        "ends": ends,
    }
    with whole_file(out) as file:
        file.write(pages.render("routing.html.j2", values, **filters))


def unsteady(turns: Interval | None) -> bool:
    """Return whether the first turn certainly took another time than the last one."""
    return bool(turns and turns.low is not None and not turns.low <= 1 <= turns.high)


def answers(facts: RoutingScore) -> list[str]:
    """Return in a sentence each whether drafting pays at all, and whether own drafts beat the generic one."""
    single = next(arm for arm in facts.arms if arm.name == "best single")
    return [
        f"With the draft {facts.best_single} alone, answers {_against_plain(single.speedup)}.",
        f"Tokens per step of a domain's own draft over those of the generic one: {_against_generic(facts)}.",
    ]


def _against_plain(speedup: Interval) -> str:
    said = f"are {number_text.quantity_text(speedup)} times as fast as the target's alone"
    if speedup.low is None:
        return said
    return said + ("" if speedup.low > 1 else ": drafting does not pay here" if speedup.high < 1 else ", gain or loss")


def _against_generic(facts: RoutingScore) -> str:
    """Return the ratio of every domain, with a note where it is nothing certain."""
    found = []
    for row in facts.own:
        ratio = row.tokens_per_step
        certain = ratio.low is not None and not ratio.low <= 1 <= ratio.high
        found.append(f"{row.domain} {number_text.quantity_text(ratio)}{'' if certain else ', nothing certain'}")
    return "; ".join(found)


def percent(value: float) -> str:
    """Return a relative difference as text: 0.021 is "+2.1 %"."""
    return f"{signed(value)}\N{NO-BREAK SPACE}%"


def ends(interval: Interval) -> str:
    """Return the interval of a relative difference as text."""
    if interval.low is None:
        return "no interval"
    return f"{percent(interval.low)} to {percent(interval.high)}"
