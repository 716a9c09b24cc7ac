"""Checks of a study before any job runs: that its config makes sense, and that its folder belongs to it.

Functions of the config alone, but for the folder. The schema restricts each key by itself; the checks here are about
keys together. Every message names the key, the value found and what was expected.
"""

import copy
import hashlib
import importlib.util
import json
import math
import os
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from doubledraft import config_schema
from doubledraft.questions.sources import GSM8K_ROWS
from doubledraft.questions.wordproblems import generate
from doubledraft.traces.teacher import settings as section

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
    "path": {"path"},
    "prune": {"of", "layers"},
}
MATH_ROWS = {  # rows with exactly these subjects and levels, counted in the released files
    (("algebra",), (1, 2)): {"train": 518, "test": 336},
    (("intermediate_algebra",), (3, 4)): {"train": 641, "test": 443},
}
CLOCK_SECONDS = 5.0  # by which the clocks of two machines may differ
RECORDS = ("results/study.json", "data/study.json")  # each names the study that the files beside it belong to
MADE = (  # patterns of what any study makes
    "results/*/*.json*",
    "results/*_*/*_adapter",
    "data/ledger/*.jsonl",
    "data/questions/*/*.jsonl",
    "data/models/*/manifest.json",
    "data/*/*/traces.jsonl",
)
_TARGETS = (  # the config keys of the names in a path that a user asks for; the first pattern that matches counts
    (re.compile(r"results/untrained_([^/]+)/"), ("scenarios",)),
    (re.compile(r"results/([^/_]+)_([^/]+)/"), ("types", "scenarios")),
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
        config[key] = {name: _without_null(entry) for name, entry in config[key].items() if entry is not None}
    _refuse([problem for check in _CHECKS for problem in check(config)])
    config["teacher"] = section.used(config["teacher"])
    return config


def _refuse(problems: list[str]) -> None:
    if problems:
        raise StudyError("\n".join(problems))


def check_folder(name: str, folder: str | Path = ".") -> None:
    """Raise StudyError for a folder whose results or data belong to another study, or to an unknown one."""
    folder = Path(folder)
    owners = {record: _owner(folder / record) for record in RECORDS if (folder / record).exists()}
    made = next((path for pattern in MADE for path in sorted(folder.glob(pattern))), None)
    if made and not owners:
        raise StudyError(
            f"{made} is there, but nothing says which study made it ({' and '.join(RECORDS)} are missing): give this "
            f"study a folder of its own with `--directory PATH`, or, if {name!r} made it, say so: "
            f"""echo '{{"study": "{name}"}}' > {folder / RECORDS[0]}"""
        )
    for record, owner in owners.items():
        if owner != name:
            raise StudyError(
                f"{folder / record} says that study {owner!r} made what is here, and the config is of study {name!r}: "
                f"run it in a folder of its own with `--directory PATH`, or set the key `study` to {owner!r} to go on "
                "here"
            )


def check_dates(files: Iterable[str | Path], now: float) -> None:
    """Refuse inputs dated after `now` (seconds since 1970), as a wrong clock or an archive leaves them.

    Snakemake would take what a job makes of them for older than they are, and remove it when the job is done.
    """
    for file in sorted(str(file) for file in files):
        if os.path.exists(file) and (ahead := os.path.getmtime(file) - now) > CLOCK_SECONDS:
            raise StudyError(
                f"{file} is dated {ahead / 3600:.1f} h in the future, so that Snakemake would remove what is made of "
                f"it: `touch {shlex.quote(file)}`, after a look at the clock of this machine"
            )


def _owner(record: Path) -> str:
    try:
        return json.loads(record.read_text(encoding="utf-8"))["study"]
    except (ValueError, KeyError, TypeError):
        raise StudyError(
            f"""{record} should say which study this folder belongs to, as {{"study": "NAME"}}, and cannot be read: """
            "write it anew, or run in another folder with `--directory PATH`"
        ) from None


def check_target(path: str, config: dict) -> None:
    """Raise StudyError for a requested path whose type, scenario or model is not in the config."""
    known = {
        "types": list(config["types"]),
        "scenarios": list(config["scenarios"]),
        "models.sources": list(config["models"]["sources"]),
    }
    for pattern, keys in _TARGETS:
        if match := pattern.match(path):
            for key, name in zip(keys, match.groups(), strict=True):
                if name not in known[key]:
                    raise StudyError(
                        f"{path}: config key {key} has no {name!r}: expected one of {', '.join(known[key])}"
                    )
            return


def prompt_digests(config: dict, folder: str | Path) -> dict[str, str]:
    """Return the sha256 of every prompt file in use, by type or by `teacher.{role}`; paths are relative to `folder`.

    Raise StudyError for a file that cannot be read.
    """
    files = {name: (f"types.{name}.prompt", entry["prompt"]) for name, entry in config["types"].items()}
    for role in {role for type in config["types"] for role in section.roles(config, type)}:
        files[f"teacher.{role}"] = (f"teacher.prompts.{role}", config["teacher"]["prompts"][role])
    digests = {}
    for name, (key, path) in files.items():
        try:
            digests[name] = hashlib.sha256(Path(folder, path).read_bytes()).hexdigest()
        except OSError as error:
            raise StudyError(
                f"config key {key} is {path!r}: expected a file, relative to the Snakefile, that can be read: "
                f"{error.strerror}"
            ) from None
    return digests


def cell_settings(config: dict, type: str, scenario: str, prompts: dict[str, str]) -> dict:
    """Return what a cell's metrics depend on: its part of the config and the digests of its prompts (`prompt_digests`).

    The type `untrained` stands for the base model, which answers the prompts of all types.
    """
    models, benchmark = config["models"], config["benchmark"]
    types = {name: entry | {"prompt_sha256": prompts[name]} for name, entry in config["types"].items()}
    settings = {
        "study": config["study"],
        "seed": config["seed"],
        "scenario": config["scenarios"][scenario],
        "target": source_chain(models, models["target"]),
        "dtype": models["dtype"],
        "engine": config["engine"],
    }
    if type == "untrained":
        shared = {key: benchmark[key] for key in ("limit", "max_model_len")}
        return settings | {"types": types, "untrained": config["untrained"], "benchmark": shared}
    unused = {"report_to"} | (set() if needs_draft(config) else {"draft"})
    settings |= {
        "type": types[type],
        "teacher": section.traced(section.used(config["teacher"]))
        | {f"{role}_sha256": prompts[f"teacher.{role}"] for role in section.roles(config, type)},
        "train": {key: value for key, value in config["train"].items() if key not in unused},
        "benchmark": benchmark,
    }
    if not needs_draft(config):
        return settings
    return settings | {"draft": source_chain(models, models["draft"]), "distill": config["distill"]}


def needs_draft(config: dict) -> bool:
    """Return whether a draft model is timed, and so distilled and trained."""
    return "speculative" in config["benchmark"]["arms"] and config["benchmark"]["method"] != "ngram"


def trace_settings(config: dict, type: str, scenario: str, prompts: dict[str, str]) -> dict:
    """Return the part of `cell_settings` that traces and their audit depend on; the target's tokenizer counts."""
    settings = cell_settings(config, type, scenario, prompts)
    made = {key: config["types"][type].get(key) for key in ("condense", "by")}
    return {key: settings[key] for key in ("study", "seed", "scenario", "target", "teacher")} | {"type": made}


def source_chain(models: dict, name: str) -> list[dict]:
    """Return the config entry of a model, then those of the models that it is pruned from, nearest first."""
    entry = models["sources"][name]
    return [{"model": name, **entry}] + (source_chain(models, entry["of"]) if entry["source"] == "prune" else [])


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
        allowed = set() if entry["source"] == "prune" else {"pad_vocabulary_to"}
        for surplus in sorted(entry.keys() - needed - allowed - {"source"}):
            yield f"{key}.{surplus} is not used by source {entry['source']}: remove it"
        if "of" in entry and entry["of"] not in models["sources"]:
            yield f"{key}.of is {entry['of']!r}: expected a key of models.sources: {names}"
        if "of" in entry and _in_a_circle(models["sources"], name):
            yield f"{key}.of is {entry['of']!r}: the model would be cut from itself"


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
    _check_models,
    _check_lengths,
    _check_engine,
    _check_report_to,
)
