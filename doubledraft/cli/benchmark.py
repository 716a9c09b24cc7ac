"""Run speed experiments: drafts, draft lengths and routing against plain decoding, over data sets.

The config names a target, drafts, draft lengths and data sets; config/benchmark.yaml has all five experiments, and
benchmarks/default_study.yaml works on the outputs of the default study. Every arm (plain decoding, or one draft and
draft length) answers each question in turn, several times. Paths are relative to the working directory.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path

from doubledraft import provenance
from doubledraft.cli import options as shared
from doubledraft.cli import profile
from doubledraft.cli.text_table import columns
from doubledraft.engine.backend import Backend, Texts
from doubledraft.engine.decode import checked_prompts
from doubledraft.engine.proposers import NGram, Proposer
from doubledraft.evaluation import experiments, step_profile
from doubledraft.evaluation.arms import Arm, time_in_turns
from doubledraft.evaluation.decodings import of_timings, token_text
from doubledraft.evaluation.experiment_results import ArmResult, samples, summarize
from doubledraft.evaluation.interleave import BASELINE
from doubledraft.files import whole_file, write_json
from doubledraft.inference.load_pair import Pair, load_draft, load_pair
from doubledraft.number_text import number_text, quantity_text
from doubledraft.questions.data_sets import DataSet, JudgedBy, names_of, read_data_set
from doubledraft.records import write_records
from doubledraft.report import experiments_page, viewer
from doubledraft.routing.adaptive import AdaptiveRouter, Routed
from doubledraft.summaries.decoding_record import DecodingRecord
from doubledraft.summaries.table import write_csv

HEADER = (
    "arm",
    "tokens/s",
    "speedup",
    "of repeats",
    "tokens/step",
    "drafted/step",
    "accepted",
    "agreement",
    "identical",
    "s per answer",
    "quality",
)
NOTE = """In brackets: 95 % interval and n questions; for tokens/s, the smallest and largest repeat, beside the median.
speedup: wall time of the baseline / of the arm. of repeats: smallest and largest speedup of a repeat. accepted:
accepted / drafted tokens, counted up to the first rejection of a step; agreement: drafted tokens equal to the target's
choice, counted past that rejection too. identical: questions answered with the baseline's tokens. s per answer: the
median; higher percentiles are in results.json where there are enough questions for them. quality: right answers, or
pass@1.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this subcommand."""
    parser.add_argument("--config", required=True, metavar="YAML", help="target, drafts, draft lengths and data sets")
    parser.add_argument(
        "--experiments",
        type=lambda text: text.split(","),
        metavar="A,B",
        help=f"comma-separated, any of {', '.join(experiments.EXPERIMENTS)}; default: all that the config describes",
    )


def run(options: argparse.Namespace) -> None:
    """Print the table; write results, samples, table, charts and page into the config's folder, if it has one."""
    config = experiments.read_config(options.config)
    names = experiments.chosen(config, options.experiments)
    sets = {name: read_data_set(entry["file"], limit=entry["limit"]) for name, entry in config["data"].items()}
    pair = load_pair(config["target"], dtype=config["dtype"], device=config["device"])
    if config["out"]:
        shared.refuse_unwritable(config["out"], "config key out")
    prompts = {name: _prompts(pair, sets[name], entry) for name, entry in config["data"].items()}
    proposer = _proposers(config, pair)
    arms = experiments.arms(config, names, proposer)
    results, rows, decoded = _measure(config, pair, list(_distinct(arms).values()), sets, prompts)
    report = {
        "experiments": {name: [arm.name for arm in group] for name, group in arms.items()},
        "data": {name: [asdict(row) for row in per_arm] for name, per_arm in results.items()},
        "routed": _routed(proposer(experiments.ROUTING), prompts) if experiments.ROUTING in names else None,
        "judged": {name: data.judged for name, data in sets.items()},
        "profile": _profile(config, pair, arms, prompts),
        "config": config,
        "provenance": provenance.provenance(),
    }
    text = table(results, sets) + (f"\n{profile.table(report['profile'])}" if report["profile"] else "")
    if config["out"]:  # before standard output, which may be a closed pipe
        _write(Path(config["out"]), report, rows, text, decoded)
    sys.stdout.write(text)


def _prompts(pair: Pair, data: DataSet, entry: Mapping) -> list[list[int]]:
    texts = [question.question for question in data.questions]
    ids = pair.token_ids(texts, entry["prompt_file"], few_shot=entry["few_shot"])
    return checked_prompts(pair.target, ids, entry["max_tokens"], names_of(entry["file"], data.questions))


def _proposers(config: Mapping, pair: Pair) -> Callable[[str], Proposer]:
    """Return what makes the proposer of a name, each once: a router chooses among the models that other arms use."""

    @cache
    def make(name: str) -> Proposer:
        if name == experiments.NGRAM:
            return NGram()
        if name != experiments.ROUTING:
            vocabulary = config["draft_vocabulary"].get(name, ())
            return load_draft(config["drafts"][name], pair.target, vocabulary, int8=config["int8"])
        router = AdaptiveRouter.from_config(config[name])
        if missing := [draft for draft in router.drafts if draft not in config["drafts"]]:
            raise experiments.ExperimentError(
                f"config key drafts.{missing[0]} is missing: the router of {config[name]} chooses among "
                f"{', '.join(router.drafts)}"
            )
        return _Remembering(router, {draft: make(draft) for draft in router.drafts})

    return make


class _Remembering(Routed):
    """A routed proposer that keeps which draft it chose for each prompt."""

    def __init__(self, *settings) -> None:
        super().__init__(*settings)
        self.chosen: dict[tuple[int, ...], str] = {}

    def start(self, target: Backend, prompts: Texts, *state: object) -> None:
        super().start(target, prompts, *state)
        self.chosen[tuple(prompts[0])] = self.name


def _routed(proposer: _Remembering, prompts: Mapping[str, list]) -> dict[str, dict[str, int]]:
    """Return how many prompts of each data set went to each draft."""
    return {name: dict(Counter(proposer.chosen[tuple(prompt)] for prompt in texts)) for name, texts in prompts.items()}


def _distinct(arms: Mapping[str, Sequence[Arm]]) -> dict[str, Arm]:
    return {arm.name: arm for group in arms.values() for arm in group}


def _measure(
    config: Mapping, pair: Pair, arms: Sequence[Arm], sets: Mapping[str, DataSet], prompts: Mapping[str, list]
) -> tuple[dict[str, list[ArmResult]], list[dict], dict[str, list[DecodingRecord]]]:
    """Time and grade the arms on every data set.

    Return what each was worth, the rows of samples.csv, and the first repeat token by token.
    """
    results, rows, decoded = {}, [], {}
    for name, data in sets.items():
        timings = time_in_turns(
            pair.target,
            arms,
            prompts[name],
            config["data"][name]["max_tokens"],
            stop_ids=pair.stop_ids,
            repeats=config["repeats"],
            warmup=config["warmup"],
        )
        results[name] = summarize(timings, data, pair.text, config["seed"])
        rows += samples(name, data.questions, timings)
        decoded[name] = of_timings(data.questions, timings, token_text(pair.tokenizer), config["dtype"])
    return results, rows, decoded


def _profile(
    config: Mapping, pair: Pair, arms: Mapping[str, Sequence[Arm]], prompts: Mapping[str, list]
) -> dict | None:
    """Return where the time of a step goes, plain and with the first arm that drafts; None where none is asked for."""
    if config["profile"] is None:
        return None
    drafting = [arm for name, group in arms.items() if name != BASELINE for arm in group][:1]
    [first, *_] = prompts.values()
    return step_profile.profile(
        pair.target,
        [*arms[BASELINE], *drafting],
        first[: config["profile"]["questions"]],
        config["profile"]["max_tokens"],
        config["repeats"],
    )


def _write(
    folder: Path, report: dict, samples: list[dict], text: str, decoded: Mapping[str, list[DecodingRecord]]
) -> None:
    write_json(folder / "results.json", report)
    write_csv(folder / "samples.csv", samples)
    with whole_file(folder / "table.txt") as file:
        file.write(text)
    experiments_page.write(folder, report)
    for name, records in decoded.items():
        write_records(folder / "decodings" / f"{name}.jsonl", records)
        viewer.write(records, name, ["native engine", report["config"]["dtype"]], folder / f"decodings/{name}.html")


def table(results: Mapping[str, Sequence[ArmResult]], sets: Mapping[str, DataSet]) -> str:
    """Return the results of every data set as text."""
    parts = []
    for name, rows in results.items():
        parts.append(
            f"{name}: {rows[0].n} questions x {rows[0].repeats}, one request at a time\n"
            f"judged: {sets[name].judged}\n" + columns(HEADER, [_line(row, sets[name].judged) for row in rows])
        )
    return "\n".join([*parts, NOTE])


def _line(row: ArmResult, judged: JudgedBy) -> list[str]:
    speed, ratio = row.tokens_per_second, row.speedup_of_repeats
    return [
        row.arm,
        f"{number_text(speed.median)} ({number_text(speed.min)}–{number_text(speed.max)})",
        quantity_text(row.speedup),
        f"{number_text(ratio.min)}–{number_text(ratio.max)}",
        quantity_text(row.tokens_per_step),
        number_text(row.mean_draft_length),
        quantity_text(row.acceptance_rate, True),
        quantity_text(row.order_independent_agreement, True),
        quantity_text(row.identical_rate, True),
        number_text(row.latency.p50),
        "not judged" if judged is JudgedBy.nothing else quantity_text(row.quality.lenient, True),
    ]
