"""Speed experiments of our engine, as a config file describes them: what is measured, over which data sets.

baseline            the target alone
generic_draft       each draft that is no domain's own, and n-grams where `ngram` is true
specialized_drafts  the draft of every domain, each on every data set
adaptive_routing    a router that chooses a draft for each prompt, its own time inside the clock
ablation_K          one draft at several draft lengths

An experiment is one arm or more. All arms of the chosen experiments answer the same questions in turn (`arms`), so each
is compared with a baseline that ran within the same seconds. `experiments.schema.yaml` has every key.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from doubledraft import config_schema, yaml_files
from doubledraft.engine.draft_length import by_setting
from doubledraft.engine.proposers import Proposer
from doubledraft.evaluation.arms import Arm, plain
from doubledraft.evaluation.interleave import BASELINE

SCHEMA = Path(__file__).with_name("experiments.schema.yaml")
NGRAM = "ngram"
GENERIC, SPECIALIZED, ROUTING, ABLATION = "generic_draft", "specialized_drafts", "adaptive_routing", "ablation_K"
EXPERIMENTS = (BASELINE, GENERIC, SPECIALIZED, ROUTING, ABLATION)
DEFAULTS = {
    "drafts": {},
    "draft_vocabulary": {},
    "ngram": False,
    "int8": False,
    "draft_length": 5,
    "experiments": None,
    SPECIALIZED: {},
    ROUTING: None,
    ABLATION: None,
    "profile": None,
    "repeats": 5,
    "warmup": 1,
    "dtype": "bfloat16",
    "device": None,
    "seed": 17,
    "out": None,
}
DATA_DEFAULTS = {"domain": None, "prompt_file": None, "few_shot": False, "limit": None, "max_tokens": 256}
NEEDS = {
    GENERIC: "drafts, with one that is no domain's own, or `ngram: true`",
    SPECIALIZED: SPECIALIZED,
    ROUTING: ROUTING,
    ABLATION: ABLATION,
}
PROFILE_DEFAULTS = {"questions": 1, "max_tokens": 64}


class ExperimentError(ValueError):
    """A config of experiments that cannot be run; the message names the key."""


def read_config(path: str | Path) -> dict:
    """Return a config of experiments with every default filled in; raise ExperimentError naming all keys at fault."""
    try:
        config = yaml_files.read(path)
    except OSError as error:
        raise ExperimentError(f"{path}: cannot be read: {error.strerror}") from None
    except yaml_files.YamlError as error:
        raise ExperimentError(str(error)) from None
    if not isinstance(config, dict):
        raise ExperimentError(f"{path}: expected keys and values, found {config!r:.60}")
    _refuse([f"{path}: {problem}" for problem in config_schema.problems(config, SCHEMA)])
    config = DEFAULTS | config
    config["data"] = {name: DATA_DEFAULTS | entry for name, entry in config["data"].items()}
    if config["profile"] is not None:
        config["profile"] = PROFILE_DEFAULTS | config["profile"]
    _refuse([f"{path}: {problem}" for problem in _contradictions(config)])
    chosen(config)
    return config


def _contradictions(config: Mapping) -> list[str]:
    drafts, faults = _drafts(config), []
    if NGRAM in config["drafts"]:
        faults.append(f"config key drafts.{NGRAM} is not allowed: that name is reserved for n-gram drafts")
    if not drafts:
        faults.append("config key drafts is missing: expected a draft to measure, or `ngram: true`")
    if config[ABLATION] and config[ABLATION]["draft"] not in drafts:
        named = config[ABLATION]["draft"]
        faults.append(f"config key ablation_K.draft is {named!r}: expected one of {', '.join(drafts)}")
    unsure = "it depends on the confidence of a draft model, and n-grams have none"
    if config["ngram"] and config["draft_length"] == "adaptive":
        faults.append(f"config key draft_length is 'adaptive' beside `ngram: true`: {unsure}")
    if config[ABLATION] and config[ABLATION]["draft"] == NGRAM and "adaptive" in config[ABLATION]["lengths"]:
        faults.append(f"config key ablation_K.lengths has 'adaptive' for {NGRAM}: {unsure}")
    for draft in config["draft_vocabulary"]:
        if draft not in config["drafts"]:
            faults.append(f"config key draft_vocabulary.{draft} names no draft: expected {', '.join(config['drafts'])}")
    for domain, draft in config[SPECIALIZED].items():
        if draft not in config["drafts"]:
            faults.append(
                f"config key {SPECIALIZED}.{domain} is {draft!r}: expected one of {', '.join(config['drafts'])}"
            )
    for name, entry in config["data"].items():
        domain, domains = entry["domain"], config[SPECIALIZED]
        if domain and domains and domain not in domains:
            faults.append(f"config key data.{name}.domain is {domain!r}: expected one of {', '.join(domains)}")
        if entry["few_shot"] and not entry["prompt_file"]:
            faults.append(f"config key data.{name}.few_shot is true: prompt_file, with the examples, is missing")
    return faults


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise ExperimentError("\n".join(problems))


def _drafts(config: Mapping) -> list[str]:
    return [*config["drafts"], *([NGRAM] if config["ngram"] else [])]


def draft_of(config: Mapping, data: str) -> str | None:
    """Return the draft of a data set: that of its domain, else the first one; None in a config without drafts."""
    specialized = config[SPECIALIZED].get(config["data"][data]["domain"])
    return specialized or next(iter(_generic(config)), None) or next(iter(_drafts(config)), None)


def _generic(config: Mapping) -> list[str]:
    return [draft for draft in _drafts(config) if draft not in config[SPECIALIZED].values()]


def described(config: Mapping) -> list[str]:
    """Return the experiments for which a config has all keys."""
    has = {BASELINE: True, GENERIC: _generic(config)}
    has |= {name: config[name] for name in (SPECIALIZED, ROUTING, ABLATION)}
    return [name for name in EXPERIMENTS if has[name]]


def chosen(config: Mapping, names: Sequence[str] | None = None) -> list[str]:
    """Return the experiments to run, the baseline first: those asked for, those of the config, or all it describes.

    Raise ExperimentError for one that is unknown, or that the config does not describe.
    """
    available = described(config)
    selected = names or config["experiments"] or available
    for name in selected:
        if name not in EXPERIMENTS:
            raise ExperimentError(f"experiment {name!r} is unknown: expected {', '.join(EXPERIMENTS)}")
        if name not in available:
            raise ExperimentError(f"experiment {name} needs config key {NEEDS[name]}, which is missing")
    return [name for name in EXPERIMENTS if name in selected or name == BASELINE]


def arms(config: Mapping, names: Sequence[str], proposer: Callable[[str], Proposer]) -> dict[str, list[Arm]]:
    """Return the arms of each of the experiments `names`; an arm of two of them is one object.

    `proposer` makes the proposer of a name in `drafts`, of NGRAM, or of ROUTING, which chooses among drafts. It is
    called once for each name.
    """
    by_name: dict[str, Arm] = {BASELINE: plain()}
    proposers: dict[str, Proposer] = {}
    by_experiment = {}
    for name in names:
        by_experiment[name] = [by_name[BASELINE]] if name == BASELINE else []
        for draft, length in _pairs(config, name):
            proposers[draft] = proposers.get(draft) or proposer(draft)
            arm = Arm(arm_name(draft, length), proposers[draft], by_setting(length))
            by_experiment[name].append(by_name.setdefault(arm.name, arm))
    return by_experiment


def arm_name(draft: str, length: int | str) -> str:
    """Return the name of an arm in the results."""
    return f"{draft}, adaptive" if length == "adaptive" else f"{draft}, K = {length}"


def _pairs(config: Mapping, experiment: str) -> list[tuple[str, int | str]]:
    """Return the drafts of an experiment, each with its draft length."""
    if experiment == GENERIC:
        return [(draft, config["draft_length"]) for draft in _generic(config)]
    if experiment == SPECIALIZED:
        return [(draft, config["draft_length"]) for draft in dict.fromkeys(config[SPECIALIZED].values())]
    if experiment == ROUTING:
        return [(ROUTING, config["draft_length"])]
    if experiment == ABLATION:
        return [(config[ABLATION]["draft"], length) for length in config[ABLATION]["lengths"]]
    return []
