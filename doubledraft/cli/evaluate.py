"""Measure quality and speed on a data set, plain and with a draft.

Every question is answered greedily in both ways, one after the other. What the data set's rows hold decides how answers
are judged: HumanEval and files of its format by running the tests of each program in a sandbox (pass@1); GSM8K, MATH
and rows with an `answer` by the final answer, strict and lenient; other rows, such as chats, not at all, so that speed
is all that is measured. Shares have 95 % intervals.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from doubledraft.cli.options import (
    add_config,
    add_draft_length,
    add_models,
    add_prompt_file,
    at_least_one,
    at_least_zero,
    filled,
    load,
    refuse_unwritable,
)
from doubledraft.engine.decode import checked_prompts
from doubledraft.engine.draft_length import by_setting
from doubledraft.engine.proposers import NoDraft
from doubledraft.evaluation import samples
from doubledraft.evaluation.arms import Arm
from doubledraft.evaluation.evaluate import Task, evaluate
from doubledraft.evaluation.interleave import SPECULATIVE
from doubledraft.files import whole_file
from doubledraft.inference.load_pair import OptionError
from doubledraft.questions.data_sets import read_data_set
from doubledraft.summaries import json_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this subcommand."""
    add_models(parser)
    parser.add_argument(
        "--dataset",
        "--data",
        metavar="NAME",
        help="humaneval, gsm8k or math, from the hub; or a file of JSON lines or parquet; with --config, a name there",
    )
    parser.add_argument("--limit", type=at_least_one, help="the first questions only")
    add_prompt_file(parser)
    parser.add_argument("--max-tokens", type=at_least_one, default=256, help="cap on an answer; default: 256")
    add_draft_length(parser)
    parser.add_argument("--seed", type=at_least_zero, default=17, help="of the bootstrap intervals; default: 17")
    parser.add_argument("--out", metavar="FOLDER", help="where metrics.json, samples.csv and comparison.txt go")
    add_config(parser)


def run(options: argparse.Namespace) -> None:
    """Print the comparison, and write it with metrics and samples into the folder, if one is named."""
    options = filled(options)
    if not options.dataset:
        raise OptionError("--dataset is missing: name a data set or a file, or a --config that has one")
    data = read_data_set(options.dataset, limit=options.limit)
    if options.out:
        refuse_unwritable(options.out)
    pair = load(options)
    texts = [question.question for question in data.questions]
    prompts = pair.token_ids(texts, options.prompt_file, few_shot=options.few_shot)
    prompts = checked_prompts(pair.target, prompts, options.max_tokens)
    task = Task(data, prompts, options.max_tokens, pair.stop_ids, pair.text)
    drafts = not isinstance(pair.proposer, NoDraft)
    arm = Arm(SPECULATIVE, pair.proposer, by_setting(options.draft_length)) if drafts else None
    metrics, graded = evaluate(pair.target, arm, task, options.seed)
    page = f"{samples.page(metrics, data.questions, graded)}\nJudged here: {data.judged}.\n"
    if options.out:  # before standard output, which may be a closed pipe
        asked = {name: value for name, value in vars(options).items() if name != "run"} | {"judged": data.judged}
        folder = Path(options.out)
        json_file.write(folder / "metrics.json", replace(metrics, options=asked))
        samples.write_samples(folder / "samples.csv", data.questions, graded)
        with whole_file(folder / "comparison.txt") as file:
            file.write(page)
    sys.stdout.write(page)
