"""Measure the speedup of drafts over plain decoding, on data sets.

The config names a target, drafts, draft lengths and data sets; benchmarks/default_study.yaml works on the outputs of
the default study. Every question is answered by all experiments in turn, several times. Paths are relative to the
working directory.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from doubledraft import provenance
from doubledraft.cli.text_table import columns
from doubledraft.engine.decode import checked_prompts
from doubledraft.engine.proposers import NGram, Proposer
from doubledraft.evaluation import experiments
from doubledraft.evaluation.arms import measure
from doubledraft.evaluation.experiments import Experiment
from doubledraft.files import whole_file, write_json
from doubledraft.inference.load_pair import Pair, load_draft, load_pair
from doubledraft.number_text import number_text, quantity_text
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
NOTE = """In brackets: 95 % interval and n questions; of tokens/s, the smallest and largest repeat beside their median.
speedup: wall time of the baseline / of the experiment. of repeats: smallest and largest speedup of a repeat. accepted:
accepted / drafted tokens, counted up to the first rejection of a step; agreement: drafted tokens equal to the target's
choice, counted past it too. identical: questions answered with the baseline's tokens.
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
        results[name] = experiments.summarize(timings, config["seed"])
        samples += experiments.samples(name, questions[name], timings)
    shown = table(results)
    if config["out"]:  # before standard output, which may be a closed pipe
        data = {name: [asdict(row) for row in rows] for name, rows in results.items()}
        report = {"data": data, "config": config, "provenance": provenance.provenance()}
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


def table(results: Mapping[str, Sequence[Experiment]]) -> str:
    """Return the results of every data set as text."""
    parts = []
    for name, rows in results.items():
        parts.append(f"{name}: {rows[0].n} questions x {rows[0].repeats}, one request at a time\n")
        parts.append(columns(HEADER, map(_line, rows)))
    return "\n".join([*parts, NOTE])


def _line(row: Experiment) -> list[str]:
    speed, ratio = row.tokens_per_second, row.speedup_of_repeats
    return [
        row.experiment,
        f"{number_text(speed.median)} ({number_text(speed.min)}–{number_text(speed.max)})",
        quantity_text(row.speedup),
        f"{number_text(ratio.min)}–{number_text(ratio.max)}",
        quantity_text(row.tokens_per_step),
        number_text(row.mean_draft_length),
        quantity_text(row.acceptance_rate, True),
        quantity_text(row.order_independent_agreement, True),
        quantity_text(row.identical_rate, True),
    ]
