"""The smallest study of domains in which every rule of the routing has something real to do."""

import json
from pathlib import Path

import yaml

from tests.helpers import miniature

COUNTS = {"train": 8, "validation": 6, "test": 6}
THINGS = ("pears", "plums", "boats", "kites", "tents", "lamps", "shoes", "coins", "cards", "rings", "bells", "maps")
PLACES = ("in the old harbour", "behind a quiet farm", "near seven tall trees", "for my younger sister")


def build(folder: Path) -> Path:
    """Write the miniature study with three domains into a folder; return the path of its config."""
    file = miniature.build(folder)
    rows = [{"prompt": f"Tell me all about {thing} {place}, please"} for thing in THINGS for place in PLACES]
    (folder / "chat.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = yaml.safe_load(file.read_text())
    config["domains"] = {
        "sets": {
            "code": COUNTS,
            "chat": {"source": "jsonl", "path": str(folder / "chat.jsonl"), "licence": "MIT", **COUNTS},
            "reasoning": COUNTS,
        },
        "max_tokens": 12,
        "concurrency": 4,
        "train": config["train"]["draft"] | {"max_length": 512, "held_out": 2},
    }
    file.write_text(yaml.safe_dump(config))
    return file
