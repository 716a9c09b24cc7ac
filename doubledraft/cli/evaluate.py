"""Measure quality and speed on a data set, plain and with a draft.

Every question is answered greedily in both ways, one after the other. How answers are judged depends on the fields of
the data set: HumanEval and files in its format by running the tests of each program in a sandbox (pass@1); GSM8K, MATH
and rows with an `answer` by the final answer, strict and lenient; other rows, such as chats, are not judged, and only
speed is measured. Shares have 95 % intervals.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from doubledraft.cli import options as shared
from doubledraft.engine.decode import checked_prompts
from doubledraft.evaluation import samples
from doubledraft.evaluation.evaluate import Task, evaluate
from doubledraft.files import whole_file
from doubledraft.inference.load_pair import OptionError
from doubledraft.questions.data_sets import names_of, read_data_set
from doubledraft.summaries import json_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this subcommand."""
    shared.add_models(parser)
    shared.add_data_set(parser, "; needed without --config")
    help_text = "the first N questions of the data set; default: all"
    parser.add_argument("--limit", "--num-samples", type=shared.at_least_one, metavar="N", help=help_text)
    shared.add_prompt_file(parser)
    shared.add_max_tokens(parser, 256, shared.at_least_one)
    shared.add_draft_length(parser)
    parser.add_argument(
        "--seed", type=shared.at_least_zero, default=17, metavar="N", help="seed of bootstrap intervals; default: 17"
    )
    parser.add_argument("--out", metavar="FOLDER", help="write metrics.json, samples.csv and comparison.txt there")
    shared.add_config(parser)


def run(options: argparse.Namespace) -> None:
    """Print the comparison, and write it with metrics and samples into the folder, if one is named."""
    options = shared.filled(options)
    if not options.dataset:
        raise OptionError("--dataset is missing: name a data set or a file, or a --config that has one")
    data = read_data_set(options.dataset, limit=options.limit)
    if options.out:
        shared.refuse_unwritable(options.out)
    pair = shared.load(options)
    texts = [question.question for question in data.questions]
    prompts = pair.token_ids(texts, options.prompt_file, few_shot=options.few_shot)
    prompts = checked_prompts(pair.target, prompts, options.max_tokens, names_of(options.dataset, data.questions))
    task = Task(data, prompts, options.max_tokens, pair.stop_ids, pair.text)
    metrics, graded = evaluate(pair.target, shared.speculative_arm(pair, options), task, options.seed)
    page = f"{samples.page(metrics, data.questions, graded)}\nJudged here: {data.judged}.\n"
    if options.out:  # before standard output, which may be a closed pipe
        folder = Path(options.out)
        recorded = shared.as_json(options) | {"judged": data.judged}
        json_file.write(folder / "metrics.json", replace(metrics, options=recorded))
        samples.write_samples(folder / "samples.csv", data.questions, graded)
        with whole_file(folder / "comparison.txt") as file:
            file.write(page)
    sys.stdout.write(page)
