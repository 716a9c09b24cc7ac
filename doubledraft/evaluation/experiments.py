"""Speed experiments of our engine, as a config file describes them: baseline, drafts, draft lengths, over data sets.

The baseline is plain decoding; an experiment is a draft at a draft length. Each draft is measured at `draft_length`,
and the draft of the `ablation` at the lengths listed there too. All answer the same questions in turn (`interleave`),
so an experiment is compared with a baseline that ran within the same seconds. `experiments.schema.yaml` has every key.

A speedup is a ratio of totals: wall time of the baseline / of the experiment, prefill included. Its interval resamples
questions; its spread is over the repeats, each against the baseline of the same repeat. Both should emit the same
tokens, and the share of questions where they do is reported.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
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
from doubledraft.stats import Interval, ratio_interval, wilson
from doubledraft.summaries.run_file import StepSeconds

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


@dataclass(frozen=True, slots=True)
class Spread:
    """How a ratio is spread over the repeats."""

    median: float
    min: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """What one way of answering was worth on one data set."""

    experiment: str  # name of the arm
    n: int  # questions
    repeats: int
    emitted: int  # tokens of all repeats
    seconds: float  # of all repeats
    tokens_per_second: Spread
    speedup: Interval | None
    speedup_of_repeats: Spread
    tokens_per_step: Interval | None
    mean_draft_length: float | None
    acceptance_rate: Interval | None  # accepted / drafted, counted up to the first rejection
    order_independent_agreement: Interval | None  # agreed / drafted, counted past the first rejection too
    per_token_acceptance: float | None  # alpha; None where steps drafted different numbers of tokens
    identical_rate: Interval | None
    step_seconds: StepSeconds


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
    """Return the baseline and every experiment; `proposer` makes the proposer of a name in `drafts`, or of NGRAM."""
    found = {BASELINE: plain()}
    for draft in _drafts(config):
        ablation = config["ablation"] or {}
        lengths = [config["draft_length"], *(ablation["lengths"] if ablation.get("draft") == draft else [])]
        proposing = proposer(draft)
        for length in lengths:
            name = f"{draft}, adaptive" if length == "adaptive" else f"{draft}, K = {length}"
            found.setdefault(name, Arm(name, proposing, by_setting(length)))
    return list(found.values())


def summarize(timings: Sequence[Timing], seed: int) -> list[Experiment]:
    """Return what every arm was worth on one data set, the baseline first."""
    by_arm: dict[str, list[Timing]] = {}
    for timing in timings:
        by_arm.setdefault(timing.arm, []).append(timing)
    return [_experiment(name, own, by_arm[BASELINE], seed) for name, own in by_arm.items()]


def _experiment(name: str, own: Sequence[Timing], baseline: Sequence[Timing], seed: int) -> Experiment:
    whole = summary(together([timing.metrics for timing in own]))

    def ratio(above: Count, below: Count) -> Interval | None:
        return ratio_interval(_totals(own, "question", above), _totals(own, "question", below), seed)

    seconds = _totals(own, "question", _seconds)
    return Experiment(
        experiment=name,
        n=len(seconds),
        repeats=len(_totals(own, "repeat", _seconds)),
        emitted=whole["emitted"],
        seconds=sum(seconds),
        tokens_per_second=_spread(_totals(own, "repeat", _emitted), _totals(own, "repeat", _seconds)),
        speedup=ratio_interval(_totals(baseline, "question", _seconds), seconds, seed),
        speedup_of_repeats=_spread(_totals(baseline, "repeat", _seconds), _totals(own, "repeat", _seconds)),
        tokens_per_step=ratio(_emitted, _steps),
        mean_draft_length=whole["mean_draft_length"],
        acceptance_rate=ratio(_accepted, _drafted),
        order_independent_agreement=ratio(_agreed, _drafted),
        per_token_acceptance=whole["per_token_acceptance"],
        identical_rate=_identical(own, baseline),
        step_seconds=StepSeconds(**whole["step_seconds"]),
    )


def _totals(timings: Sequence[Timing], unit: str, count: Count) -> list[float]:
    """Return the sums of a count by question or by repeat, in their order."""
    found: dict[int, float] = {}
    for timing in timings:
        key = getattr(timing, unit)
        found[key] = found.get(key, 0) + count(timing)
    return [found[key] for key in sorted(found)]


def _spread(above: Sequence[float], below: Sequence[float]) -> Spread:
    ratios = [one / other for one, other in zip(above, below, strict=True)]
    return Spread(median(ratios), min(ratios), max(ratios))


def _identical(own: Sequence[Timing], baseline: Sequence[Timing]) -> Interval | None:
    """Return the share of questions that were answered with the baseline's tokens in every repeat."""
    plain_ids = {(timing.question, timing.repeat): timing.answer.token_ids for timing in baseline}
    parted = {timing.question for timing in own if timing.answer.token_ids != plain_ids[timing.question, timing.repeat]}
    n = len({timing.question for timing in own})
    return wilson(n - len(parted), n)


def _seconds(timing: Timing) -> float:
    return timing.seconds


def _emitted(timing: Timing) -> int:
    return len(timing.answer.token_ids)


def _steps(timing: Timing) -> int:
    return 1 + len(timing.answer.steps)  # with the prompt's pass


def _drafted(timing: Timing) -> int:
    return sum(len(step.drafted) for step in timing.answer.steps)


def _accepted(timing: Timing) -> int:
    return sum(step.accepted for step in timing.answer.steps)


def _agreed(timing: Timing) -> int:
    return sum(sum(step.agreed) for step in timing.answer.steps)


def samples(name: str, questions: Sequence[Question], timings: Iterable[Timing]) -> list[dict[str, object]]:
    """Return the rows of samples.csv of one data set: every answer that was timed."""
    return [
        {
            "data": name,
            "experiment": timing.arm,
            "repeat": timing.repeat,
            "question": questions[timing.question].id,
            "seconds": timing.seconds,
            "prompt_tokens": timing.answer.prompt_tokens,
            "emitted": _emitted(timing),
            "steps": _steps(timing),
            "drafted": _drafted(timing),
            "accepted": _accepted(timing),
        }
        for timing in timings
    ]
