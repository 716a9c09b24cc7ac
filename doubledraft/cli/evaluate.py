"""Measure accuracy and speed on a data set, plain and with a draft.

Every question is answered greedily in both ways, one after the other, and graded: strict and lenient accuracy with 95 %
intervals, speed, acceptance, and how often both ways emitted the same tokens. Rows need `question` or `prompt`, and
`answer` with the gold answer.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from doubledraft.cli.options import (
    add_draft_length,
    add_models,
    add_prompt_file,
    at_least_one,
    at_least_zero,
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
from doubledraft.questions.data_sets import read_questions
from doubledraft.summaries import json_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this subcommand."""
    add_models(parser)
    parser.add_argument("--data", required=True, metavar="FILE", help="JSON lines or parquet: GSM8K, or rows like its")
    parser.add_argument("--limit", type=at_least_one, help="the first questions only")
    add_prompt_file(parser)
    parser.add_argument("--max-tokens", type=at_least_one, default=256, help="cap on an answer; default: 256")
    add_draft_length(parser)
    parser.add_argument("--seed", type=at_least_zero, default=17, help="of the bootstrap intervals; default: 17")
    parser.add_argument("--out", metavar="FOLDER", help="where metrics.json, samples.csv and comparison.txt go")


def run(options: argparse.Namespace) -> None:
    """Print the comparison, and write it with metrics and samples into the folder, if one is named."""
    questions = read_questions(options.data, limit=options.limit, graded=True)
    if options.out:
        refuse_unwritable(options.out)
    pair = load(options)
    texts = [question.question for question in questions]
    prompts = pair.token_ids(texts, options.prompt_file, few_shot=options.few_shot)
    task = Task(
        Path(options.data).stem,
        questions,
        checked_prompts(pair.target, prompts, options.max_tokens),
        options.max_tokens,
        pair.stop_ids,
        pair.text,
    )
    drafts = not isinstance(pair.proposer, NoDraft)
    arm = Arm(SPECULATIVE, pair.proposer, by_setting(options.draft_length)) if drafts else None
    metrics, graded = evaluate(pair.target, arm, task, options.seed)
    if options.out:  # before standard output, which may be a closed pipe
        asked = {name: value for name, value in vars(options).items() if name != "run"}
        folder = Path(options.out)
        json_file.write(folder / "metrics.json", replace(metrics, options=asked))
        samples.write_samples(folder / "samples.csv", questions, graded)
        samples.write_page(folder / "comparison.txt", metrics, questions, graded)
    sys.stdout.write(samples.page(metrics, questions, graded))
