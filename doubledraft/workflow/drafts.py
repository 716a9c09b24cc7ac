"""Checks of what a config says of models: their sources, how a draft is made of them, and drafts of others."""

from collections.abc import Iterator

MODEL_KEYS = {  # keys of a model by source
    "wheel": {"name", "version", "sha256"},
    "hub": {"repo", "revision"},
    "head": {"repo", "revision"},
    "path": {"path"},
    "prune": {"of", "layers"},
}


def problems(config: dict) -> Iterator[str]:
    """Yield what is wrong with the models, the draft's training, recipes and other drafts."""
    yield from _of_models(config)
    yield from _of_starts(config)
    yield from _of_training(config)
    yield from _of_recipes(config)
    yield from _of_other_drafts(config)


def _of_models(config: dict) -> Iterator[str]:
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
            yield f"{key}.layers is {entry['layers']}: expected a list of layers, or several such lists"
        if "of" in entry and _in_a_circle(models["sources"], name):
            yield f"{key}.of is {entry['of']!r}: the model would be cut from itself"


def _in_a_circle(sources: dict, name: str) -> bool:
    parent = sources[name].get("of")
    for _ in sources:
        if parent == name:
            return True
        parent = sources.get(parent, {}).get("of")
    return False


def _of_other_drafts(config: dict) -> Iterator[str]:
    sources = config["models"]["sources"]
    for name, draft in config["benchmark"]["other_drafts"].items():
        key = f"config key benchmark.other_drafts.{name}"
        if config["benchmark"]["engine"] != "vllm":
            yield f"{key}: expected benchmark.engine vllm, found {config['benchmark']['engine']!r}, which cannot run it"
        if draft["model"] not in sources:
            yield f"{key}.model is {draft['model']!r}: expected a key of models.sources: {', '.join(sources)}"
        elif (sources[draft["model"]]["source"] == "head") == (draft["method"] == "draft_model"):
            yield (
                f"{key}.method is {draft['method']!r}, but the source of {draft['model']} is "
                f"{sources[draft['model']]['source']!r}: draft_model needs a full model, every other method a head"
            )
        if draft.get("parallel") and draft["method"] not in ("draft_model", "eagle3"):
            yield f"{key}.parallel: method {draft['method']} always drafts in parallel: remove it"


def _of_starts(config: dict) -> Iterator[str]:
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


def _of_recipes(config: dict) -> Iterator[str]:
    distill, recipes = config["distill"], config["drafts"]["recipes"]
    if recipes and distill["keep"] != "finished":
        yield "config key distill.keep is 'right', but drafts.recipes choose among all answers: expected finished"
    for name, recipe in recipes.items():
        questions = recipe.get("distill", {}).get("questions", 0)
        if questions > (distill["questions"] or 0):
            yield (
                f"config key drafts.recipes.{name}.distill.questions is {questions}: expected at most "
                f"distill.questions, {distill['questions']}"
            )


def _of_training(config: dict) -> Iterator[str]:
    draft = config["train"]["draft"]
    unused = {"loss": "ce", "weights": "none", "lmbda": 0}  # what method sft does
    for key, value in unused.items() if draft["method"] == "sft" else ():
        if draft[key] != value:
            yield (
                f"config key train.draft.{key} is {draft[key]!r}, but train.draft.method is 'sft', which learns from "
                f"text alone: expected {value!r}, or method distill"
            )
