"""A router of a study, over the hidden states of the tiny model."""

from pathlib import Path

import numpy as np

from doubledraft.routing.router import fit
from doubledraft.routing.train import ROUTERS
from doubledraft.summaries import json_file
from doubledraft.summaries.router_file import RouterFile, RoutersFile


def write_router(folder: Path, drafts: list[str]) -> Path:
    """Write a router over the tiny model's hidden states, as a study trains one."""
    draw = np.random.default_rng(3)
    facts = RouterFile(name="near", kind="centroid", features="hidden", drafts=drafts, seed=1, embedding=None)
    fit(facts, draw.normal(size=(9, 64)), draw.normal(size=(9, len(drafts)))).save(folder / "near")
    routers = RoutersFile(chosen="near", tokens_per_second={"near": 1.0}, best_single=drafts[0], target="none")
    json_file.write(folder / ROUTERS, routers)
    return folder
