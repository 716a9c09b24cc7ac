"""Advise whether a draft is worth serving beside a target, at which draft length, and up to which load.

The target answers some questions, both models read the answers, and steps are timed at several loads: a few minutes.
--out writes advice.json, advice.html, vLLM's speculative_config.json where drafting pays, and a config with which
`doubledraft benchmark` measures what was predicted.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import yaml

from doubledraft import pages
from doubledraft.cli import options as shared
from doubledraft.cli.text_table import columns
from doubledraft.engine.load import local_folder
from doubledraft.evaluation.load.advice import advise, unsteady
from doubledraft.files import whole_file, write_json
from doubledraft.inference.load_pair import load_pair, quiet_libraries
from doubledraft.log import progress_shown
from doubledraft.models.check_pair import check_tokens, vocabulary_sizes
from doubledraft.models.inspect import inspect, load_tokenizer, positions
from doubledraft.number_text import number_text, quantity_text
from doubledraft.questions.data_sets import names_of, read_data_set
from doubledraft.questions.wordproblems.generate import generate
from doubledraft.records import Question, write_records
from doubledraft.summaries import json_file
from doubledraft.summaries.advice import Advice

SHOWN = ("1", "2", "3", "4", "6", "8", "12", "16")  # draft lengths in the table
SEED = 17  # of the generated questions
HEADER = ("in flight", "best K", "speedup", "acceptance needed", "tokens/s alone", *(f"K = {key}" for key in SHOWN))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this subcommand."""
    for role in ("target", "draft"):
        help_text = f"{role} model: a folder, or a name on the Hugging Face hub"
        parser.add_argument(role, metavar=role.upper(), type=shared.not_empty, help=help_text)
    shared.add_data_set(parser, "; default: generated word problems")
    shared.add_num_samples(parser, 16)
    shared.add_prompt_file(parser)
    shared.add_max_tokens(parser, 128, shared.at_least_one)
    shared.add_int8(parser)
    shared.add_device(parser)
    parser.add_argument(
        "--price-per-hour", type=positive, metavar="USD", help="price of the machine: adds USD per million tokens"
    )
    parser.add_argument("--json", action="store_true", help="print the advice as JSON instead of text")
    parser.add_argument("--out", metavar="FOLDER", help="folder for the advice, its page and the two configs")


def positive(text: str) -> float:
    """Parse a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, found {text!r}")
    return value


def run(options: argparse.Namespace) -> None:
    """Print the advice, and write its files where asked."""
    shared.refuse_few_shot_alone(options)
    if options.out:
        shared.refuse_unwritable(options.out)
    quiet_libraries()
    folders = [local_folder(name) for name in (options.target, options.draft)]
    for folder in folders:
        inspect(folder)
    check_tokens(*folders)
    questions = _questions(options)
    how = {"dtype": options.dtype, "device": options.device, "int8_draft": options.draft_int8}
    pair = load_pair(options.target, options.draft, **how)
    prompts = pair.token_ids([record.question for record in questions], options.prompt_file, few_shot=options.few_shot)
    with progress_shown():
        advice = advise(
            pair,
            options.draft,
            prompts,
            max_tokens=options.max_tokens,
            names=names_of(options.dataset or "word problems", questions),
            notes=_notes(*folders),
            price_per_hour=options.price_per_hour,
        )
    if options.out:
        write(advice, questions, options, Path(options.out))
    sys.stdout.write(json.dumps(asdict(advice), indent=2) + "\n" if options.json else text(advice))


def _questions(options: argparse.Namespace) -> list[Question]:
    if options.dataset:
        return read_data_set(options.dataset, limit=options.num_samples).questions
    return generate("hard", "test", options.num_samples, SEED, "advice")


def _notes(target: Path, draft: Path) -> list[str]:
    """Return what makes a pair that can run less good than it could be."""
    notes, sizes = [], vocabulary_sizes(target, draft)
    if sizes[0] != sizes[1]:
        notes.append(f"The models have {sizes[0]} and {sizes[1]} rows for the same tokens, and vLLM serves only pairs "
                     "of equal size: set `pad_vocabulary_to` in the config of a study.")  # fmt: skip
    reach = [positions(folder) for folder in (target, draft)]
    if None not in reach and reach[1] < reach[0]:
        notes.append(f"The draft has {reach[1]} positions and the target {reach[0]}: the advice does not hold for "
                     "longer texts.")  # fmt: skip
    templates = [load_tokenizer(folder).chat_template for folder in (target, draft)]
    if templates[0] is None:
        notes.append(
            "The target has no chat template, so questions are put to it as plain text: this may be a base model."
        )
    elif templates[0] != templates[1]:
        notes.append("The draft's chat template differs from the target's, which engines use for both: the draft "
                     "may have been trained on prompts in another format.")  # fmt: skip
    return notes


def text(advice: Advice) -> str:
    """Return the advice for a terminal."""
    rows = [
        [
            str(load.costs.load),
            str(load.best_draft_length),
            f"{load.best_speedup:.2f}",
            "none pays" if load.acceptance_needed is None else f"{load.acceptance_needed:.2f}",
            number_text(load.tokens_per_second),
            *(f"{load.speedups[key]:.2f}" for key in SHOWN),
        ]
        for load in advice.loads
    ]
    audit = advice.acceptance
    facts = [
        f"acceptance per token {advice.per_token_acceptance:.2f}; agreement {quantity_text(audit.agreement)}; "
        f"1 - TV {audit.overlap.value:.2f}",
        *advice.notes,
        f"{advice.seconds:.0f} s",
    ]
    return f"{advice.verdict}\n\n{columns(HEADER, rows)}\n" + "\n".join([*facts, *_prices(advice)]) + "\n"


def _prices(advice: Advice) -> list[str]:
    return [
        f"{load.costs.load} in flight: {load.usd_per_million_tokens:.2f} USD per million tokens alone, "
        f"{load.usd_per_million_tokens_drafted:.2f} at the best K"
        for load in advice.loads
        if load.usd_per_million_tokens is not None
    ]


def write(advice: Advice, questions: Sequence[Question], options: argparse.Namespace, folder: Path) -> None:
    """Write advice.json, advice.html, the questions, and what serves and measures the pair."""
    json_file.write(folder / "advice.json", advice)
    with whole_file(folder / "advice.html") as page:
        page.write(_page(advice))
    if advice.speculative_config:
        write_json(folder / "speculative_config.json", advice.speculative_config)
    else:
        (folder / "speculative_config.json").unlink(missing_ok=True)  # that of an earlier advice
    write_records(folder / "questions.jsonl", questions)
    with whole_file(folder / "benchmark.yaml") as file:
        file.write(
            f"# What the advice predicted, measured:  doubledraft benchmark --config {folder / 'benchmark.yaml'}\n"
        )
        yaml.safe_dump(_benchmark(advice, options, folder), file, sort_keys=False)


def _page(advice: Advice) -> str:
    config = advice.speculative_config and json.dumps(advice.speculative_config)
    warnings = unsteady([load.costs for load in advice.loads])
    values = {"advice": advice, "warnings": warnings, "shown": SHOWN, "config": config}
    return pages.render(
        "advice.html.j2", values, quantity=quantity_text, number=number_text, two=lambda value: f"{value:.2f}"
    )


def _benchmark(advice: Advice, options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Return the config of `doubledraft benchmark` that measures the pair at the best K and around it."""
    best = advice.loads[0].best_draft_length or 2
    data = {"file": str(folder / "questions.jsonl"), "max_tokens": options.max_tokens}
    if options.prompt_file:
        data |= {"prompt_file": options.prompt_file, "few_shot": options.few_shot}
    return {
        "target": advice.target,
        "drafts": {"draft": advice.draft},
        "draft_length": best,
        "ablation_K": {"draft": "draft", "lengths": sorted({1, 2, 4, 8, best})},
        "data": {"advice": data},
        "repeats": 3,
        "dtype": advice.dtype,
        "int8": options.draft_int8,
        "out": str(folder / "benchmark"),
    }
