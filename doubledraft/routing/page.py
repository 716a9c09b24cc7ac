"""The page on routing: the conclusion, drafts by domain, every way to choose among them, and the controls."""

from pathlib import Path

from doubledraft import number_text, pages
from doubledraft.files import whole_file
from doubledraft.routing.score import signed
from doubledraft.stats import Interval, side
from doubledraft.summaries import json_file
from doubledraft.summaries.routing_score import RoutingScore

REFERENCE = {  # of arms that are no router of the config: what each does
    "random": "each draft equally often",
    "best single": "one draft for all, chosen on validation prompts",
    "domain label": "knows each prompt's domain, and takes that domain's draft",
    "hedge": "learns from every answer, and pays for reading it with each draft",
    "oracle": "foresees how many passes each draft takes for each prompt: what no router can know",
}


def write(path: str | Path, out: str | Path) -> None:
    """Write the page from score.json: one file that loads nothing."""
    score = json_file.read(path, RoutingScore)
    values = {
        "score": score,
        "answers": [score.conclusion, *answers(score)],
        "domains": list(dict.fromkeys(cell.domain for cell in score.drafts)),
        "names": list(dict.fromkeys(cell.draft for cell in score.drafts)),
        "cells": {(cell.draft, cell.domain): cell for cell in score.drafts},
        "own": {row.domain: row for row in score.own},
        "reference": REFERENCE,
        "unsteady": score.steadiness and side(score.steadiness, 1) != 0,
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


def answers(score: RoutingScore) -> list[str]:
    """Return in a sentence each whether drafting pays at all, and whether own drafts beat the generic one."""
    speedups = {arm.name: arm.speedup for arm in score.arms}
    return [
        f"With the draft that {score.router} chooses, answers {_against_plain(speedups[score.router])}.",
        f"With the draft {score.best_single} alone, they {_against_plain(speedups['best single'])}.",
        f"Tokens per step of a domain's own draft over those of the generic one: {_against_generic(score)}.",
    ]


def _against_plain(speedup: Interval) -> str:
    text = f"are {number_text.quantity_text(speedup)} times as fast as the target's alone"
    return text + {1: "", 0: ": it may gain or lose", -1: ": drafting does not pay here"}[side(speedup, 1)]


def _against_generic(score: RoutingScore) -> str:
    """Return the ratio of every domain, with a note where its interval holds 1 or has no ends."""
    parts = []
    for row in score.own:
        ratio = row.tokens_per_step
        parts.append(
            f"{row.domain} {number_text.quantity_text(ratio)}{'' if side(ratio, 1) else ', no difference shown'}"
        )
    return "; ".join(parts)


def percent(value: float) -> str:
    """Return a relative difference as text: 0.021 is "+2.1 %"."""
    return f"{signed(value)}\N{NO-BREAK SPACE}%"


def ends(interval: Interval) -> str:
    """Return the interval of a relative difference as text."""
    if interval.low is None:
        return "no interval"
    return f"{percent(interval.low)} to {percent(interval.high)}"
