"""Measure the speedup of drafts over plain decoding, on data sets.

The config names a target, drafts, draft lengths and data sets; benchmarks/default_study.yaml works on the outputs of
the default study. Every question is answered by all experiments in turn, several times. Paths are relative to the
working directory.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from doubledraft import provenance
from doubledraft.cli.text_table import columns, number, quantity, share
from doubledraft.engine.decode import checked_prompts
from doubledraft.engine.proposers import NGram, Proposer
from doubledraft.evaluation import experiments
from doubledraft.evaluation.arms import measure
from doubledraft.files import whole_file, write_json
from doubledraft.inference.load_pair import Pair, load_draft, load_pair
from doubledraft.questions.data_sets import read_questions
from doubledraft.records import Question
from doubledraft.summaries.table import write_csv

HEADER = (
    "experiment",
    "tokens/s",
    "speedup",
    "of repeats",
    "tokens/step",
    "drafted/step",
    "accepted",
    "agreement",
    "identical",
)
NOTE = """tokens/s: median of the repeats (min-max). speedup: wall time of the baseline / of the experiment, [95 %].
of repeats: smallest and largest speedup of a repeat. accepted: accepted / drafted, a prefix count. agreement: drafted
tokens equal to the target's choice, also past the first rejection. identical: questions with the baseline's tokens.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this subcommand."""
    parser.add_argument("--config", required=True, metavar="YAML", help="target, drafts, draft lengths and data sets")


def run(options: argparse.Namespace) -> None:
    """Print the table; write results.json, samples.csv and table.txt into the config's folder, if it has one."""
    config = experiments.read_config(options.config)
    questions = {name: read_questions(entry["file"], limit=entry["limit"]) for name, entry in config["data"].items()}
    pair = load_pair(config["target"], dtype=config["dtype"], device=config["device"])
    prompts = {name: _prompts(pair, questions[name], entry) for name, entry in config["data"].items()}

    def proposer(name: str) -> Proposer:
        if name == experiments.NGRAM:
            return NGram()
        return load_draft(config["drafts"][name], pair.target, int8=config["int8"])

    arms = experiments.arms(config, proposer)
    results, samples = {}, []
    for name, entry in config["data"].items():
        timings = measure(
            pair.target,
            arms,
            prompts[name],
            entry["max_tokens"],
            stop_ids=pair.stop_ids,
            repeats=config["repeats"],
            warmup=config["warmup"],
        )
        results[name] = experiments.figures(timings, config["seed"])
        samples += experiments.samples(name, questions[name], timings)
    shown = table(results)
    if config["out"]:  # before standard output, which may be a closed pipe
        report = {"data": results, "config": config, "provenance": provenance.provenance()}
        _write(Path(config["out"]), report, samples, shown)
    sys.stdout.write(shown)


def _prompts(pair: Pair, questions: Sequence[Question], entry: Mapping) -> list[list[int]]:
    texts = [question.question for question in questions]
    asked = pair.token_ids(texts, entry["prompt_file"], few_shot=entry["few_shot"])
    return checked_prompts(pair.target, asked, entry["max_tokens"])


def _write(folder: Path, report: dict, samples: list[dict], shown: str) -> None:
    write_json(folder / "results.json", report)
    write_csv(folder / "samples.csv", samples)
    with whole_file(folder / "table.txt") as file:
        file.write(shown)


def table(results: Mapping[str, Sequence[Mapping]]) -> str:
    """Return the results of every data set as text."""
    parts = []
    for name, rows in results.items():
        first = rows[0]
        parts.append(f"{name}: {first['n']} questions x {first['repeats']}, one request at a time\n")
        parts.append(columns(HEADER, map(_line, rows)))
    return "\n".join([*parts, NOTE])


def _line(row: Mapping) -> list[str]:
    speed, ratio = row["tokens_per_second"], row["speedup_of_repeats"]
    return [
        row["experiment"],
        f"{speed['median']:.1f} ({speed['min']:.1f}-{speed['max']:.1f})",
        quantity(row["speedup"]),
        f"{ratio['min']:.2f}-{ratio['max']:.2f}",
        quantity(row["tokens_per_step"]),
        number(row["mean_draft_length"]),
        share(row["acceptance_rate"]),
        share(row["order_independent_agreement"]),
        share(row["identical_rate"]),
    ]
