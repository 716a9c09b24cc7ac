"""Speed experiments of the engine, as a file describes them: baseline, drafts, draft lengths, over data sets.

The baseline is plain decoding; an experiment is a draft at a draft length. Each draft is measured at `draft_length`,
and the draft of the `ablation` at the lengths listed there too. All answer the same questions in turn (`arms`), so an
experiment stands beside a baseline that ran within the same seconds. `experiments.schema.yaml` has every key.

A speedup is a ratio of totals: wall time of the baseline / of the experiment, the prompt's pass in both. Its interval
resamples questions, its spread is that of the repeats, each against the baseline of the same repeat. Both should give
the same tokens; the share of questions where they do stands beside it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

from doubledraft import config_schema, yaml_files
from doubledraft.engine.decoding_metrics import together
from doubledraft.engine.draft_length import by_setting
from doubledraft.engine.proposers import Proposer
from doubledraft.evaluation.acceptance import summary
from doubledraft.evaluation.arms import Arm, Timing, plain
from doubledraft.evaluation.interleave import BASELINE
from doubledraft.records import Question
from doubledraft.stats import Interval, as_json, ratio_interval, wilson

SCHEMA = Path(__file__).with_name("experiments.schema.yaml")
NGRAM = "ngram"
DEFAULTS = {
    "drafts": {},
    "ngram": False,
    "int8": False,
    "draft_length": 5,
    "ablation": None,
    "repeats": 5,
    "warmup": 1,
    "dtype": "bfloat16",
    "device": None,
    "seed": 17,
    "out": None,
}
Count = Callable[[Timing], float]
DATA_DEFAULTS = {"prompt_file": None, "few_shot": False, "limit": None, "max_tokens": 256}


class ExperimentError(ValueError):
    """A file of experiments that cannot be meant; the message names the key."""


def read_config(path: str | Path) -> dict:
    """Read a file of experiments with every default filled in; raises ExperimentError naming all keys at fault."""
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
    _refuse([f"{path}: {problem}" for problem in _contradictions(config)])
    return config


def _contradictions(config: Mapping) -> list[str]:
    known, found = _drafts(config), []
    if NGRAM in config["drafts"]:
        found.append(f"config key drafts.{NGRAM} cannot be: that name stands for drafts from the text itself")
    if not known:
        found.append("config key drafts is missing: expected a draft to measure, or `ngram: true`")
    if config["ablation"] and config["ablation"]["draft"] not in known:
        named = config["ablation"]["draft"]
        found.append(f"config key ablation.draft is {named!r}: expected one of {', '.join(known)}")
    unsure = "it goes by the confidence of a draft model, and n-grams have none"
    if config["ngram"] and config["draft_length"] == "adaptive":
        found.append(f"config key draft_length is 'adaptive' beside `ngram: true`: {unsure}")
    if config["ablation"] and config["ablation"]["draft"] == NGRAM and "adaptive" in config["ablation"]["lengths"]:
        found.append(f"config key ablation.lengths has 'adaptive' for {NGRAM}: {unsure}")
    for name, entry in config["data"].items():
        if entry["few_shot"] and not entry["prompt_file"]:
            found.append(f"config key data.{name}.few_shot is true without prompt_file, which would have the shots")
    return found


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise ExperimentError("\n".join(problems))


def _drafts(config: Mapping) -> list[str]:
    return [*config["drafts"], *([NGRAM] if config["ngram"] else [])]


def arms(config: Mapping, proposer: Callable[[str], Proposer]) -> list[Arm]:
    """Give the baseline and every experiment; `proposer` gives that of a name in `drafts`, or of `ngram`."""
    found = {BASELINE: plain()}
    for draft in _drafts(config):
        ablation = config["ablation"] or {}
        lengths = [config["draft_length"], *(ablation["lengths"] if ablation.get("draft") == draft else [])]
        proposing = proposer(draft)
        for length in lengths:
            name = f"{draft}, adaptive" if length == "adaptive" else f"{draft}, K = {length}"
            found.setdefault(name, Arm(name, proposing, by_setting(length)))
    return list(found.values())


def figures(timings: Sequence[Timing], seed: int) -> list[dict]:
    """Give the figures of every arm, the baseline first, from the timings of one data set."""
    by_arm: dict[str, list[Timing]] = {}
    for timing in timings:
        by_arm.setdefault(timing.arm, []).append(timing)
    return [_figures(name, own, by_arm[BASELINE], seed) for name, own in by_arm.items()]


def _figures(name: str, own: Sequence[Timing], baseline: Sequence[Timing], seed: int) -> dict:
    whole = summary(together([timing.metrics for timing in own]))

    def share(above: Count, below: Count) -> dict | None:
        return as_json(ratio_interval(_totals(own, "question", above), _totals(own, "question", below), seed))

    seconds = _totals(own, "question", _seconds)
    return {
        "experiment": name,
        "n": len(seconds),
        "repeats": len(_totals(own, "repeat", _seconds)),
        "emitted": whole["emitted"],
        "seconds": sum(seconds),
        "tokens_per_second": _spread(_totals(own, "repeat", _emitted), _totals(own, "repeat", _seconds)),
        "speedup": as_json(ratio_interval(_totals(baseline, "question", _seconds), seconds, seed)),
        "speedup_of_repeats": _spread(_totals(baseline, "repeat", _seconds), _totals(own, "repeat", _seconds)),
        "tokens_per_step": share(_emitted, lambda timing: 1 + len(timing.answer.steps)),
        "mean_draft_length": whole["mean_draft_length"],
        "acceptance_rate": share(lambda timing: sum(step.accepted for step in timing.answer.steps), _drafted),
        "order_independent_agreement": share(
            lambda timing: sum(sum(step.agreed) for step in timing.answer.steps), _drafted
        ),
        "per_token_acceptance": whole["per_token_acceptance"],
        "identical_rate": as_json(_identical(own, baseline)),
        "step_seconds": whole["step_seconds"],
    }


def _totals(timings: Sequence[Timing], unit: str, count: Count) -> list[float]:
    """Add up by question or by repeat, in their order."""
    found: dict[int, float] = {}
    for timing in timings:
        key = getattr(timing, unit)
        found[key] = found.get(key, 0) + count(timing)
    return [found[key] for key in sorted(found)]


def _spread(above: Sequence[float], below: Sequence[float]) -> dict[str, float]:
    ratios = [one / other for one, other in zip(above, below, strict=True)]
    return {"median": median(ratios), "min": min(ratios), "max": max(ratios)}


def _identical(own: Sequence[Timing], baseline: Sequence[Timing]) -> Interval | None:
    """Share of questions that were answered by the same tokens as the baseline's, in every repeat."""
    plain_ids = {(timing.question, timing.repeat): timing.answer.token_ids for timing in baseline}
    parted = {timing.question for timing in own if timing.answer.token_ids != plain_ids[timing.question, timing.repeat]}
    n = len({timing.question for timing in own})
    return wilson(n - len(parted), n)


def _seconds(timing: Timing) -> float:
    return timing.seconds


def _emitted(timing: Timing) -> int:
    return len(timing.answer.token_ids)


def _drafted(timing: Timing) -> int:
    return sum(len(step.drafted) for step in timing.answer.steps)


def samples(name: str, questions: Sequence[Question], timings: Iterable[Timing]) -> list[dict[str, object]]:
    """Give the rows of samples.csv of one data set: every answer that was timed."""
    return [
        {
            "data": name,
            "experiment": timing.arm,
            "repeat": timing.repeat,
            "question": questions[timing.question].id,
            "seconds": timing.seconds,
            "prompt_tokens": timing.answer.prompt_tokens,
            "emitted": _emitted(timing),
            "steps": 1 + len(timing.answer.steps),
            "drafted": _drafted(timing),
            "accepted": sum(step.accepted for step in timing.answer.steps),
        }
        for timing in timings
    ]
