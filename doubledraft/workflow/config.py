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
from doubledraft.engine.sampling import COLDEST
from doubledraft.inference.job import NATIVE_ONLY
from doubledraft.questions.sources import GSM8K_ROWS
from doubledraft.questions.wordproblems import generate
from doubledraft.traces.teacher import settings as section
from doubledraft.workflow import domains

COMMON_KEYS = {"source", "train", "test", "allow_fewer"}  # of a scenario, whatever its source
SCENARIO_KEYS = {  # keys of a scenario by source: needed, allowed
    "generated": ({"difficulty"}, set()),
    "gsm8k": (set(), {"revision", "path"}),
    "math": ({"subjects", "levels"}, {"revision", "path"}),
    "jsonl": ({"path"}, set()),
}
MODEL_KEYS = {  # keys of a model by source
    "wheel": {"name", "version", "sha256"},
    "hub": {"repo", "revision"},
    "head": {"repo", "revision"},
    "path": {"path"},
    "prune": {"of", "layers"},
}
MATH_ROWS = {  # rows with exactly these subjects and levels, counted in the released files
    (("algebra",), (1, 2)): {"train": 518, "test": 336},
    (("intermediate_algebra",), (3, 4)): {"train": 641, "test": 443},
}
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
    config["teacher"] = section.used(config["teacher"])
    return config


def _refuse(problems: list[str]) -> None:
    if problems:
        raise StudyError("\n".join(problems))


def check_target(path: str, config: dict) -> None:
    """Raise StudyError for a requested path whose type, scenario or model is not in the config."""
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


def _check_scenarios(config: dict) -> Iterator[str]:
    if not config["scenarios"]:
        yield "config key scenarios is empty: expected at least one scenario that is not null"
    for name, entry in config["scenarios"].items():
        key, source = f"config key scenarios.{name}", entry["source"]
        needed, allowed = SCENARIO_KEYS[source]
        for missing in sorted(needed - entry.keys()):
            yield f"{key}.{missing} is missing: source {source} needs it"
        for surplus in sorted(entry.keys() - needed - allowed - COMMON_KEYS):
            yield f"{key}.{surplus} is not used by source {source}: remove it; if inherited, set it to null"
        for split, rows in _known_rows(entry).items():
            if entry[split] > rows and not entry.get("allow_fewer"):
                yield (
                    f"{key}.{split} is {entry[split]}: {source} has only {rows} such questions; "
                    "`allow_fewer: true` takes what there is"
                )


def _known_rows(entry: dict) -> dict[str, int]:
    if "path" in entry:  # a local copy may hold any part
        return {}
    if entry["source"] == "gsm8k":
        return GSM8K_ROWS
    if entry["source"] == "generated" and "difficulty" in entry:
        return {split: generate.capacity(entry["difficulty"], split) for split in ("train", "test")}
    return MATH_ROWS.get((tuple(sorted(entry.get("subjects", ()))), tuple(sorted(entry.get("levels", ())))), {})


def _check_types(config: dict) -> Iterator[str]:
    for name, entry in config["types"].items():
        rule = entry.get("condense")
        if name == "cot" and rule:
            yield "config key types.cot.condense cannot be: cot is the teacher's trace, which other types condense"
        if name != "cot" and not rule:
            yield f"config key types.{name}.condense is missing: every type but cot condenses cot's traces"
        if rule and rule["min_steps"] > rule["max_steps"]:
            yield (
                f"config key types.{name}.condense.min_steps is {rule['min_steps']}: "
                f"expected at most max_steps, {rule['max_steps']}"
            )
    if "cot" not in config["types"]:
        yield "config key types.cot is null: every other type condenses it"


def _check_models(config: dict) -> Iterator[str]:
    models = config["models"]
    names = ", ".join(models["sources"])
    for role in ("target", "draft"):
        if models[role] not in models["sources"]:
            yield f"config key models.{role} is {models[role]!r}: expected a key of models.sources: {names}"
    for name, entry in models["sources"].items():
        key, needed = f"config key models.sources.{name}", MODEL_KEYS[entry["source"]]
        for missing in sorted(needed - entry.keys()):
            yield f"{key}.{missing} is missing: source {entry['source']} needs it"
        allowed = set() if entry["source"] in ("prune", "head") else {"pad_vocabulary_to"}
        for surplus in sorted(entry.keys() - needed - allowed - {"source"}):
            yield f"{key}.{surplus} is not used by source {entry['source']}: remove it"
        if "of" in entry and entry["of"] not in models["sources"]:
            yield f"{key}.of is {entry['of']!r}: expected a key of models.sources: {names}"
        if len({type(layer) for layer in entry.get("layers", ())}) > 1:
            yield f"{key}.layers is {entry['layers']}: expected the layers, or several lists of layers to choose from"
        if "of" in entry and _in_a_circle(models["sources"], name):
            yield f"{key}.of is {entry['of']!r}: the model would be cut from itself"


def _check_start(config: dict) -> Iterator[str]:
    models, recipes = config["models"], config["drafts"]["recipes"]
    trainings = {"train.draft": config["train"]["draft"]}
    trainings |= {f"drafts.recipes.{name}.train": recipe.get("train", {}) for name, recipe in recipes.items()}
    parent = models["sources"].get(models["draft"], {}).get("of")
    for key, training in trainings.items():
        if training.get("start") == "merged" and parent != models["target"]:
            yield (
                f"config key {key}.start is 'merged': expected a draft that is pruned from the target, but "
                f"{models['draft']} is not: set it to base"
            )


def _check_recipes(config: dict) -> Iterator[str]:
    distill, recipes = config["distill"], config["drafts"]["recipes"]
    if recipes and distill["keep"] != "finished":
        yield "config key distill.keep is 'right', but drafts.recipes choose among all answers: expected finished"
    for name, recipe in recipes.items():
        asked = recipe.get("distill", {}).get("questions", 0)
        if asked > (distill["questions"] or 0):
            yield (
                f"config key drafts.recipes.{name}.distill.questions is {asked}: expected at most distill.questions, "
                f"{distill['questions']}"
            )


def _check_other_drafts(config: dict) -> Iterator[str]:
    sources = config["models"]["sources"]
    for name, draft in config["benchmark"]["other_drafts"].items():
        key = f"config key benchmark.other_drafts.{name}"
        if config["benchmark"]["engine"] != "vllm":
            yield f"{key}: vLLM alone drafts in this way, but benchmark.engine is {config['benchmark']['engine']!r}"
        if draft["model"] not in sources:
            yield f"{key}.model is {draft['model']!r}: expected a key of models.sources: {', '.join(sources)}"
        elif (sources[draft["model"]]["source"] == "head") == (draft["method"] == "draft_model"):
            yield (
                f"{key}.method is {draft['method']!r}, but the source of {draft['model']} is "
                f"{sources[draft['model']]['source']!r}: draft_model takes a whole model, every other method a head"
            )
        if draft.get("parallel") and draft["method"] not in ("draft_model", "eagle3"):
            yield f"{key}.parallel: method {draft['method']} always drafts in parallel: remove it"


def _in_a_circle(sources: dict, name: str) -> bool:
    parent = sources[name].get("of")
    for _ in sources:
        if parent == name:
            return True
        parent = sources.get(parent, {}).get("of")
    return False


def _check_lengths(config: dict) -> Iterator[str]:
    room = config["benchmark"]["max_model_len"]
    for name, entry in config["types"].items():
        if entry["max_tokens"] >= room:
            yield (
                f"config key types.{name}.max_tokens is {entry['max_tokens']}: "
                f"expected less than benchmark.max_model_len, {room}, which holds the prompt too"
            )
    if config["untrained"]["max_tokens"] >= room:
        yield (
            f"config key untrained.max_tokens is {config['untrained']['max_tokens']}: "
            f"expected less than benchmark.max_model_len, {room}, which holds the few-shot prompt too"
        )


def _check_engine(config: dict) -> Iterator[str]:
    if config["benchmark"]["residency"] == "sleep" and config["benchmark"]["engine"] != "vllm":
        yield (
            "config key benchmark.residency is 'sleep', which is vLLM's, but benchmark.engine is "
            f"{config['benchmark']['engine']!r}: expected both, restart or auto, or benchmark.engine vllm"
        )
    spread = config["engine"]["tensor_parallel"]
    if config["benchmark"]["engine"] == "native" and spread > 1:
        yield (
            f"config key benchmark.engine is 'native', which runs on one GPU, but engine.tensor_parallel is {spread}: "
            "expected 1, or benchmark.engine vllm"
        )


def _check_drafting(config: dict) -> Iterator[str]:
    benchmark = config["benchmark"]
    used = {
        "draft_vocabulary": benchmark["draft_vocabulary"] is not None,
        "draft_length": benchmark["draft_length"] == "adaptive",
    }
    for name, (reason, instead) in NATIVE_ONLY.items():
        key = f"config key benchmark.{name} is {benchmark[name]!r}"
        if used[name] and benchmark["engine"] == "vllm":
            yield f"{key}, but benchmark.engine is 'vllm', and {reason}: expected {instead}, or benchmark.engine native"
        if used[name] and benchmark["method"] == "ngram":
            yield f"{key}, but benchmark.method is 'ngram', which copies from the text: expected {instead}"


def _check_sampling(config: dict) -> Iterator[str]:
    temperature, samples = config["benchmark"]["temperature"], config["benchmark"]["samples"]
    if 0 != temperature < COLDEST:
        yield f"config key benchmark.temperature is {temperature}: expected 0, or at least {COLDEST}"
    if samples > 1 and not temperature:
        yield (
            f"config key benchmark.samples is {samples}, but benchmark.temperature is 0, at which all answers to a "
            "question are the same: expected 1, or a temperature above 0"
        )


def _check_draft_training(config: dict) -> Iterator[str]:
    draft = config["train"]["draft"]
    unused = {"loss": "ce", "weights": "none", "lmbda": 0}  # what method sft does
    for key, value in unused.items() if draft["method"] == "sft" else ():
        if draft[key] != value:
            yield (
                f"config key train.draft.{key} is {draft[key]!r}, but train.draft.method is 'sft', which learns from "
                f"text alone: expected {value!r}, or method distill"
            )


def _check_report_to(config: dict) -> Iterator[str]:
    package = config["train"]["report_to"]
    if package == "none":
        return
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:  # no origin: a mere folder of that name, as runs leave behind
        yield (
            f"config key train.report_to is {package!r}, but that package is not installed: "
            f"`.venv/bin/python -m pip install {package}`, or set it to none"
        )


_CHECKS = (
    _check_finite,
    _check_scenarios,
    _check_types,
    section.problems,
    domains.problems,
    _check_models,
    _check_start,
    _check_recipes,
    _check_other_drafts,
    _check_lengths,
    _check_engine,
    _check_drafting,
    _check_sampling,
    _check_draft_training,
    _check_report_to,
)
