"""The part of a config that a result depends on, as its provenance records it."""

import hashlib
from pathlib import Path

from doubledraft.traces.teacher import settings as teacher
from doubledraft.workflow.config import StudyError


def prompt_digests(config: dict, folder: str | Path) -> dict[str, str]:
    """Return the sha256 of every prompt file in use, by type or by `teacher.{role}`; paths are relative to `folder`.

    Raise StudyError for a file that cannot be read.
    """
    files = {name: (f"types.{name}.prompt", entry["prompt"]) for name, entry in config["types"].items()}
    for role in {role for type in config["types"] for role in teacher.roles(config, type)}:
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
    unused = {"report_to", "project", "entity"} | (set() if needs_draft(config) else {"draft"})
    settings |= {
        "type": types[type],
        "teacher": teacher.traced(teacher.used(config["teacher"]))
        | {f"{role}_sha256": prompts[f"teacher.{role}"] for role in teacher.roles(config, type)},
        "train": without(config["train"], *unused),
        "benchmark": without(benchmark, "other_drafts"),
    }
    if not needs_draft(config):
        return settings
    return settings | {"draft": source_chain(models, models["draft"]), "distill": config["distill"]}


def needs_draft(config: dict) -> bool:
    """Return whether a draft model is timed, and so distilled and trained."""
    return "speculative" in config["benchmark"]["arms"] and config["benchmark"]["method"] != "ngram"


def native_drafting(config: dict) -> dict:
    """Return what the native engine alone does with a draft model, as fields of `inference.job.Job`; else nothing."""
    benchmark = config["benchmark"]
    if benchmark["engine"] != "native" or not needs_draft(config):
        return {}
    return {key: benchmark[key] for key in ("draft_vocabulary", "int8_draft")}


def other_draft_settings(config: dict, type: str, scenario: str, name: str, prompts: dict[str, str]) -> dict:
    """Return what the metrics of a cell with a draft that others trained depend on, as `cell_settings` does."""
    entry, settings = config["benchmark"]["other_drafts"][name], cell_settings(config, type, scenario, prompts)
    return without(settings, "distill") | {
        "train": without(settings["train"], "draft"),
        "draft": source_chain(config["models"], entry["model"]),
        "benchmark": settings["benchmark"] | entry,
    }


def recipe(config: dict, name: str) -> dict:
    """Return a recipe of the section `drafts` in full: what it leaves out is as in train.draft, distill, benchmark."""
    entry, distill = config["drafts"]["recipes"][name], config["distill"]
    return {
        "train": config["train"]["draft"] | entry.get("train", {}),
        "distill": {"questions": distill["questions"], "keep": distill["keep"]} | entry.get("distill", {}),
        "draft_vocabulary": entry.get("draft_vocabulary", config["benchmark"]["draft_vocabulary"]),
    }


def trace_settings(config: dict, type: str, scenario: str, prompts: dict[str, str]) -> dict:
    """Return the part of `cell_settings` that traces and their audit depend on; the target's tokenizer counts."""
    settings = cell_settings(config, type, scenario, prompts)
    entry = {key: config["types"][type].get(key) for key in ("condense", "by")}
    return {key: settings[key] for key in ("study", "seed", "scenario", "target", "teacher")} | {"type": entry}


def routing_settings(config: dict) -> dict:
    """Return what drafts by domain, routers and their score depend on."""
    models = config["models"]
    return {
        "study": config["study"],
        "seed": config["seed"],
        "target": source_chain(models, models["target"]),
        "draft": source_chain(models, models["draft"]),
        "dtype": models["dtype"],
        "domains": without(config["domains"], "adapters"),
    }


def adapter_settings(config: dict) -> dict:
    """Return what adapters of the generic draft depend on, and how they are compared."""
    return routing_settings(config) | {"domains": without(config["domains"], "routers", "embedding")}


def without(section: dict, *keys: str) -> dict:
    """Return a part of a config without some of its keys."""
    return {key: value for key, value in section.items() if key not in keys}


def source_chain(models: dict, name: str) -> list[dict]:
    """Return the config entry of a model, then those of the models that it is pruned from, nearest first."""
    entry = models["sources"][name]
    return [{"model": name, **entry}] + (source_chain(models, entry["of"]) if entry["source"] == "prune" else [])
