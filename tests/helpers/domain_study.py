"""The smallest study of domains in which every rule of the routing has something real to do.

Prompts come from files and the generator: the tiny tokenizer has a token for nearly every character, so functions of
the standard library would not fit into the tiny model.
"""

import json
from pathlib import Path

import yaml

from tests.helpers import miniature

COUNTS = {"train": 8, "validation": 6, "test": 6}
THINGS = ("pears", "plums", "boats", "kites", "tents", "lamps", "shoes", "coins", "cards", "rings", "bells", "maps")
PLACES = ("in the old harbour", "behind a quiet farm", "near seven tall trees", "for my younger sister")


def build(folder: Path, **sections: dict) -> Path:
    """Write the miniature study with two domains and other sections into a folder; return the path of its config."""
    file = miniature.build(folder)
    rows = [{"prompt": f"Tell me all about {thing} {place}, please"} for thing in THINGS for place in PLACES]
    (folder / "chat.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    chat = {"source": "jsonl", "path": str(folder / "chat.jsonl"), "licence": "MIT", **COUNTS}
    config = yaml.safe_load(file.read_text())
    config["domains"] = {
        "sets": {"code": None, "chat": chat, "reasoning": COUNTS},
        "max_tokens": 12,
        "concurrency": 4,
        "turns": 2,
        "train": config["train"]["draft"] | {"learning_rate": 1e-2, "epochs": 3, "held_out": 2},
        "adapters": {"ranks": [4]},
    }
    file.write_text(yaml.safe_dump(config | sections))
    return file
