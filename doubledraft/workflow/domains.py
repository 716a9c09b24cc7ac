"""Checks of the section `domains` of a config: which keys of it go together."""

from collections.abc import Iterator

COMMON_KEYS = {"source", "train", "validation", "test"}
SOURCE_KEYS = {  # keys of a domain by source: needed, allowed
    "stdlib": (set(), set()),
    "self_prompted": (set(), set()),
    "generated": (set(), set()),
    "jsonl": ({"path"}, {"licence"}),
    "hub": ({"name"}, {"revision"}),
}
RESERVED = ("generic", "none")  # the draft of all domains, and the target without a draft
WAYS = ("random", "hedge", "oracle")  # to choose a draft, which the page has beside the routers


def problems(config: dict) -> Iterator[str]:
    """Yield what is wrong with the section's keys together."""
    section, same = config["domains"], {}
    for name, entry in section["sets"].items():
        key, source = f"config key domains.sets.{name}", entry["source"]
        needed, allowed = SOURCE_KEYS[source]
        if name in RESERVED:
            yield f"{key}: the name {name!r} has another meaning on the page: choose another name"
        for missing in sorted(needed - entry.keys()):
            yield f"{key}.{missing} is missing: source {source} needs it"
        for surplus in sorted(entry.keys() - needed - allowed - COMMON_KEYS):
            yield f"{key}.{surplus} is not used by source {source}: remove it; if inherited, set it to null"
        if entry["train"] < (fewest := 2 * section["train"]["held_out"]):
            yield f"{key}.train is {entry['train']}: expected at least twice domains.train.held_out, {fewest}"
        if (first := same.setdefault((source, entry.get("path"), entry.get("name")), name)) != name:
            yield f"{key}: same source as {first}, so prompts could be trained on there and tested here: use another"
    if section["train"]["start"] != "base":
        yield "config key domains.train.start is 'merged', but the target of domains is not trained: expected base"
    if not section["routers"]:
        yield "config key domains.routers is empty: expected a router"
    for name, entry in section["routers"].items():
        if name in WAYS:
            yield f"config key domains.routers.{name}: the page uses {name!r} for another way to choose: rename it"
        if entry["features"] == "embedding" and not section["embedding"]:
            yield (
                f"config key domains.routers.{name}.features is 'embedding', but domains.embedding is null: "
                "expected the name of a sentence encoder on the hub, or its folder"
            )
