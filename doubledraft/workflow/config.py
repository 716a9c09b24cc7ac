"""Checks of a config before any job runs: the schema restricts each key by itself, the checks here keys together.

Functions of the config alone. Every message names the key, the value found and what was expected.
"""

import copy
import importlib.util
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from doubledraft import config_schema
from doubledraft.traces.teacher import settings as teacher
from doubledraft.workflow import benchmark, domains, drafts, scenarios

_TARGETS = (  # the config keys of the names in a path that a user asks for; the first pattern that matches counts
    (re.compile(r"results/untrained_([^/]+)/"), ("scenarios",)),
    (re.compile(r"results/domains/(?!generic/)([^/]+)/"), ("domains.sets",)),
    (re.compile(r"data/domains/([^/]+)/"), ("domains.sets",)),
    (re.compile(r"results/(?:drafts/)?([^/_]+)_([^/]+)/"), ("types", "scenarios")),
    (re.compile(r"data/questions/([^/]+)/"), ("scenarios",)),
    (re.compile(r"data/models/([^/]+)"), ("models.sources",)),
    (re.compile(r"data/([^/]+)/([^/]+)/"), ("types", "scenarios")),
)


class StudyError(ValueError):
    """A config or a results folder that no job should start from."""


def check_config(config: dict, schema: str | Path, files: Iterable[str | Path] = ()) -> dict:
    """Return the config without what is set to null in scenarios and types; raise StudyError naming the keys at fault.

    `files` are the YAML files that the config was merged from; problems of a file come first in the message.
    """
    _refuse([problem for file in files for problem in config_schema.file_problems(file)])
    config = copy.deepcopy(config)
    _refuse(config_schema.problems(config, schema))
    for key in ("scenarios", "types"):
        config[key] = _without_nulls(config[key])
    config["domains"] |= {key: _without_nulls(config["domains"][key]) for key in ("sets", "routers")}
    for part, key in (("drafts", "recipes"), ("benchmark", "other_drafts")):  # nulls within an entry mean something
        config[part][key] = {name: entry for name, entry in config[part][key].items() if entry is not None}
    _refuse([problem for check in _CHECKS for problem in check(config)])
    config["teacher"] = teacher.used(config["teacher"])
    return config


def _refuse(problems: list[str]) -> None:
    if problems:
        raise StudyError("\n".join(problems))


def check_target(path: str, config: dict) -> None:
    """Raise StudyError for a requested path that this config cannot make, naming the key at fault."""
    if path.endswith("/served_load.json") and config["benchmark"]["draft_vocabulary"]:
        raise StudyError(
            f"{path}: vLLM would let the draft propose tokens that it did not learn to choose among: add --config "
            "benchmark='{engine: vllm, draft_vocabulary: null}', which trains a draft for all tokens"
        )
    if path.startswith("results/drafts/") and not config["drafts"]["recipes"]:
        raise StudyError(f"{path}: config key drafts.recipes is empty: add --configfile config/drafts.yaml")
    if path.startswith("results/routing/") and not config["domains"]["sets"]:
        raise StudyError(f"{path}: config key domains.sets is empty: expected a domain")
    known = {
        "types": list(config["types"]),
        "scenarios": list(config["scenarios"]),
        "models.sources": list(config["models"]["sources"]),
        "domains.sets": list(config["domains"]["sets"]),
    }
    for pattern, keys in _TARGETS:
        if match := pattern.match(path):
            for key, name in zip(keys, match.groups(), strict=True):
                if name not in known[key]:
                    raise StudyError(
                        f"{path}: config key {key} has no {name!r}: expected one of {', '.join(known[key])}"
                    )
            return


def _without_nulls(entries: dict) -> dict:
    return {name: _without_null(entry) for name, entry in entries.items() if entry is not None}


def _without_null(entry: dict) -> dict:
    return {key: value for key, value in entry.items() if value is not None}


def _leaves(value: object, path: tuple = ()) -> Iterator[tuple[tuple, object]]:
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(item, (*path, key))
    else:
        yield path, value


def _check_finite(config: dict) -> Iterator[str]:
    for path, value in _leaves(config):
        if isinstance(value, float) and not math.isfinite(value):
            yield f"config key {config_schema.key(path)} is {value}: expected a finite number"


def _check_report_to(config: dict) -> Iterator[str]:
    package = config["train"]["report_to"]
    if package == "none":
        return
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:  # no origin: a mere folder of that name, as runs leave behind
        yield (
            f"config key train.report_to is {package!r}, but that package is not installed: "
            f"`.venv/bin/python -m pip install {package}`, or set it to none"
        )


_CHECKS = (
    _check_finite,
    scenarios.problems,
    teacher.problems,
    domains.problems,
    drafts.problems,
    benchmark.problems,
    _check_report_to,
)
