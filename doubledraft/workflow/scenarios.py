"""Checks of the sections `scenarios` and `types` of a config: keys that go together, and how many rows there are."""

from collections.abc import Iterator
from functools import cache

from doubledraft.questions.sources import GSM8K_ROWS
from doubledraft.questions.wordproblems import generate

COMMON_KEYS = {"source", "train", "test", "allow_fewer"}  # of a scenario, whatever its source
SCENARIO_KEYS = {  # keys of a scenario by source: needed, allowed
    "generated": ({"difficulty"}, set()),
    "gsm8k": (set(), {"revision", "path"}),
    "math": ({"subjects", "levels"}, {"revision", "path"}),
    "jsonl": ({"path"}, set()),
}
MATH_ROWS = {  # rows with exactly these subjects and levels, counted in the released files
    (("algebra",), (1, 2)): {"train": 518, "test": 336},
    (("intermediate_algebra",), (3, 4)): {"train": 641, "test": 443},
}

_capacity = cache(generate.capacity)  # hashes thousands of tuples, and a process checks a config several times


def problems(config: dict) -> Iterator[str]:
    """Yield what is wrong with the sections' keys together."""
    yield from _of_scenarios(config)
    yield from _of_types(config)


def _of_scenarios(config: dict) -> Iterator[str]:
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
        return {split: _capacity(entry["difficulty"], split) for split in ("train", "test")}
    return MATH_ROWS.get((tuple(sorted(entry.get("subjects", ()))), tuple(sorted(entry.get("levels", ())))), {})


def _of_types(config: dict) -> Iterator[str]:
    for name, entry in config["types"].items():
        rule = entry.get("condense")
        if name == "cot" and rule:
            yield "config key types.cot.condense is not allowed: cot is the teacher's trace, which other types condense"
        if name != "cot" and not rule:
            yield f"config key types.{name}.condense is missing: every type but cot condenses cot's traces"
        if rule and rule["min_steps"] > rule["max_steps"]:
            yield (
                f"config key types.{name}.condense.min_steps is {rule['min_steps']}: "
                f"expected at most max_steps, {rule['max_steps']}"
            )
    if "cot" not in config["types"]:
        yield "config key types.cot is null, but every other type condenses its traces: remove the null"
