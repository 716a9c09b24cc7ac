"""A matrix of drafts by prompts with known speeds, as `collect` writes it."""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from doubledraft.records import Question, write_records
from doubledraft.routing.collect import HIDDEN
from doubledraft.routing.matrix import PLAIN, MatrixRow
from doubledraft.summaries.table import write_csv

DOMAINS = ("code", "chat", "reasoning")
DRAFTS = (*DOMAINS, "generic")
TOKENS = 40


def build(
    folder: Path, *, own: float, prompts: int = 20, turns: int = 2, noise: float = 0.02, seed: int = 0
) -> dict[str, object]:
    """Write matrix, hidden states and prompts; return them by the names of `train` and `score`.

    A domain's draft is `own` times as fast on its domain as other drafts; hidden states show the domain, with noise.
    """
    from safetensors.numpy import save_file

    draw, rows, states, files = np.random.default_rng(seed), [], [], []
    for split in ("validation", "test"):
        for domain in DOMAINS:
            asked = [_question(domain, split, number) for number in range(prompts)]
            files.append(folder / f"{domain}_{split}.jsonl")
            write_records(files[-1], asked)
            for question in asked:
                rows += _rows(question, own, turns, noise, draw)
                states.append(3 * np.eye(12)[DOMAINS.index(domain)] + draw.normal(size=12))
    write_csv(folder / "matrix.csv", [asdict(row) for row in rows])
    save_file({HIDDEN: np.array(states, dtype=np.float32)}, folder / "hidden.safetensors")
    return {"matrix": folder / "matrix.csv", "hidden": folder / "hidden.safetensors", "prompts": files}


def _question(domain: str, split: str, number: int) -> Question:
    text = {"code": "def f{}(x): return x", "chat": "Tell me about {} cats", "reasoning": "What is {} + 5?"}[domain]
    name = f"{domain}-{split}-{number:04d}"
    fields = {
        "scenario": domain,
        "split": split,
        "answer": "",
        "steps": [],
        "subject": f"{domain}-{split}-{number // 2}",
    }
    return Question(id=name, question=text.format(number), **fields)


def _rows(question: Question, own: float, turns: int, noise: float, draw: np.random.Generator) -> list[MatrixRow]:
    found = []
    for draft in (PLAIN, *DRAFTS):
        speed = 50 if draft == PLAIN else 100 * (own if draft == question.scenario else 1)
        for turn in range(turns):
            found.append(
                MatrixRow(
                    prompt=question.id,
                    domain=question.scenario,
                    split=question.split,
                    group=question.subject,
                    draft=draft,
                    turn=turn,
                    tokens=TOKENS,
                    steps=TOKENS if draft == PLAIN else round(TOKENS / (speed / 60)),
                    drafted=0,
                    accepted=0,
                    seconds=float(TOKENS / speed * np.exp(noise * draw.normal())),
                    score_seconds=None if draft == PLAIN or turn or question.split != "test" else 0.001,
                )
            )
    return found
