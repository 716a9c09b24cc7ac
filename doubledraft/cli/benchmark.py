"""Measure what drafts gain over plain decoding, over data sets, as a file says.

The file names a target, drafts, draft lengths and data sets; benchmarks/default_study.yaml is one that works on the
outputs of the default study. Every question is answered in all ways in turn, several times. Paths are relative to the
folder that the command runs in.
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
from doubledraft.inference import load_pair
from doubledraft.questions.data_sets import read_questions
from doubledraft.records import Question
from doubledraft.report.tables import write_table

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
NOTE = """tokens/s: median of the repeats (least-most). speedup: wall time of the baseline / of the experiment, [95 %].
of repeats: the least and the most speedup of one repeat. accepted: prefix count; agreement: past the first rejection
too. identical: questions answered by the baseline's tokens.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this subcommand."""
    parser.add_argument("--config", required=True, metavar="YAML", help="what to measure")


def run(options: argparse.Namespace) -> None:
    """Show the table, and write results.json, samples.csv and table.txt into the folder that the file names, if any."""
    config = experiments.read_config(options.config)
    questions = {name: read_questions(entry["file"], limit=entry["limit"]) for name, entry in config["data"].items()}
    loaded = load_pair.load_target(config["target"], config["dtype"], config["device"])
    prompts = {name: _prompts(loaded, questions[name], entry) for name, entry in config["data"].items()}

    def proposer(name: str) -> Proposer:
        return NGram() if name == experiments.NGRAM else load_pair.load_draft(config["drafts"][name], loaded.target)

    arms = experiments.arms(config, proposer)
    results, samples = {}, []
    for name, entry in config["data"].items():
        timings = measure(
            loaded.target,
            arms,
            prompts[name],
            entry["max_tokens"],
            stop_ids=loaded.stop_ids,
            repeats=config["repeats"],
            warmup=config["warmup"],
        )
        results[name] = experiments.figures(timings, config["seed"])
        samples += experiments.samples(name, questions[name], timings)
    shown = table(results)
    if config["out"]:  # before standard output, which may be a pipe that nobody reads any more
        report = {"data": results, "config": config, "provenance": provenance.provenance()}
        _write(Path(config["out"]), report, samples, shown)
    sys.stdout.write(shown)


def _prompts(loaded: load_pair.Target, questions: Sequence[Question], entry: Mapping) -> list[list[int]]:
    asked = loaded.ask([question.question for question in questions], entry["prompt_file"], few_shot=entry["few_shot"])
    return checked_prompts(loaded.target, asked, entry["max_tokens"])


def _write(folder: Path, report: dict, samples: list[dict], shown: str) -> None:
    write_json(folder / "results.json", report)
    write_table(folder / "samples.csv", samples)
    with whole_file(folder / "table.txt") as file:
        file.write(shown)


def table(results: Mapping[str, Sequence[Mapping]]) -> str:
    """Give the figures of every data set as text."""
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
