"""The default config, and the same with a change."""

import copy
from pathlib import Path

import yaml

from doubledraft.workflow import config as study

CONFIG = Path(__file__).parents[2] / "config"
SCHEMA = CONFIG / "schema.yaml"
DEFAULT = yaml.safe_load((CONFIG / "config.yaml").read_text())
PAID = DEFAULT["teacher"] | {"name": "openai", "model": "tiny", "price": {"input": 1, "output": 2}, "budget": 3}


def changed(path: str, value: object) -> dict:
    """Return the default config with one key set."""
    config = copy.deepcopy(DEFAULT)
    *parents, last = path.split("/")
    place = config
    for key in parents:
        place = place[key]
    place[last] = value
    return config


def paid(**changes: object) -> dict:
    """Return the default config with a paid teacher that condenses."""
    config = changed("teacher", PAID | changes)
    config["types"]["cod"]["by"] = "teacher"
    return study.check_config(config, SCHEMA)
