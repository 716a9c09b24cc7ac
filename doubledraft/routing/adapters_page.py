"""The page on adapters in the place of drafts by domain: acceptance and speed by domain, size, memory and switching."""

from pathlib import Path

from doubledraft import number_text, pages
from doubledraft.files import whole_file
from doubledraft.routing.compare_adapters import OWN
from doubledraft.stats import side
from doubledraft.summaries import json_file
from doubledraft.summaries.adapter_score import AdapterScore


def write(path: str | Path, out: str | Path) -> None:
    """Write the page from adapters.json: one file that loads nothing."""
    score = json_file.read(path, AdapterScore)
    values = {
        "score": score,
        "domains": list(dict.fromkeys(row.domain for row in score.domains)),
        "cells": {(row.draft, row.domain): row for row in score.domains},
        "own": OWN,
        "conclusion": conclusion(score),
    }
    filters = {"number": number_text.number_text, "range": number_text.range_text, "megabytes": megabytes}
    with whole_file(out) as file:
        file.write(pages.render("adapters.html.j2", values, **filters))


def conclusion(score: AdapterScore) -> str:
    """Return in a sentence what the largest adapter keeps of the own drafts' tokens per step, and what it saves."""
    draft, largest = (next(size for size in score.sizes if size.draft == name) for name in (OWN, score.sizes[-1].draft))
    rows = [row for row in score.domains if row.draft == largest.draft]
    sides = {row.domain: side(row.against_own, 1) for row in rows}
    ratios = ", ".join(f"{row.domain} {number_text.quantity_text(row.against_own)}" for row in rows)
    text = (
        f"Tokens per step with an {largest.draft}, over those of the domain's own draft: {ratios}. Its file is "
        f"{draft.file_bytes / largest.file_bytes:.0f} times smaller, and all drafts together hold "
        f"{megabytes(largest.memory_bytes)} in place of {megabytes(draft.memory_bytes)}."
    )
    for verdict, sign in {"loses": -1, "gains": 1}.items():
        if domains := [domain for domain, its_side in sides.items() if its_side == sign]:
            text += f" It {verdict} tokens per step for {' and '.join(domains)}."
    if not any(sides.values()):
        text += " No interval excludes that both emit the same."
    return text


def megabytes(count: int) -> str:
    """Return bytes as text: 27,000,000 is "27.0 MB"."""
    return f"{count / 1e6:.1f}\N{NO-BREAK SPACE}MB"
