"""Show where the time of a decoding step goes, plain and with a draft.

A prompt, or some questions of a data set, are answered several times, plain and drafted in turn. The table splits a
step into the models' passes, their output heads and the engine's own work, each with its share of the step's time and,
where it reads weights, of the memory's read bandwidth. `--trace` also records kernels, for chrome://tracing or
ui.perfetto.dev.
"""

import argparse
import sys
from collections.abc import Mapping

from doubledraft import provenance
from doubledraft.cli import options as shared
from doubledraft.cli.text_table import columns
from doubledraft.engine.decode import checked_prompts
from doubledraft.evaluation.arms import plain
from doubledraft.evaluation.interleave import BASELINE, SPECULATIVE
from doubledraft.evaluation.step_profile import profile, trace
from doubledraft.files import write_json
from doubledraft.inference.load_pair import OptionError
from doubledraft.number_text import number_text, share_text
from doubledraft.questions.data_sets import names_of, read_data_set

PROMPT = (
    "A baker makes 4 trays of 6 rolls each. Then 5 rolls are sold and 3 more are baked. How many rolls are there now?"
)
HEADER = ("part", "calls/step", "ms/step", "share", "MB/call", "of bandwidth")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this subcommand."""
    shared.add_models(parser)
    parser.add_argument("--prompt", metavar="TEXT", help="one question, in place of --dataset; default: a word problem")
    shared.add_data_set(parser, "; default: that of --config, or none")
    shared.add_num_samples(parser, 1)
    shared.add_prompt_file(parser)
    shared.add_max_tokens(parser, 64, shared.at_least_two)
    shared.add_draft_length(parser)
    parser.add_argument(
        "--repeats", type=shared.at_least_one, default=3, metavar="N", help="answers to each question; default: 3"
    )
    parser.add_argument("--trace", metavar="FILE", help="write the kernels of a few steps in Chrome's trace format")
    parser.add_argument("--out", metavar="FILE", help="write the measurements as JSON")
    shared.add_config(parser)


def run(options: argparse.Namespace) -> None:
    """Print the tables, and write trace and measurements where asked."""
    options = shared.filled(options)
    if options.trace and options.trace.endswith(".gz"):
        raise OptionError(f"--trace {options.trace}: traces are not compressed, so leave .gz out")
    for option in ("out", "trace"):
        if file := getattr(options, option):
            shared.refuse_unwritable_file(file, f"--{option}")
    questions = _questions(options)
    pair = shared.load(options)
    ids = pair.token_ids(list(questions.values()), options.prompt_file, few_shot=options.few_shot)
    prompts = checked_prompts(pair.target, ids, options.max_tokens, list(questions))
    drafted = shared.speculative_arm(pair, options)
    arms = [plain(), drafted] if drafted else [plain()]
    timings = profile(pair.target, arms, prompts, options.max_tokens, options.repeats)
    if options.out:  # before a trace, which may fail, and standard output, which may be a closed pipe
        write_json(options.out, timings | {"options": shared.as_json(options), "provenance": provenance.provenance()})
    if options.trace:
        trace(pair.target, arms[-1], prompts[0], options.trace)
    sys.stdout.write(table(timings))


def _questions(options: argparse.Namespace) -> dict[str, str]:
    """Return the texts of the questions by what messages call them."""
    if options.prompt is not None or not options.dataset:
        return {"--prompt": PROMPT if options.prompt is None else options.prompt}
    questions = read_data_set(options.dataset, limit=options.num_samples).questions
    return dict(zip(names_of(options.dataset, questions), [record.question for record in questions], strict=True))


def table(measured: Mapping) -> str:
    """Return a profile as text."""
    parts = [f"read bandwidth {measured['read_bytes_per_second'] / 1e9:.1f} GB/s\n"]
    for name, arm in measured["arms"].items():
        parts.append(
            f"{name}: {arm['steps']} steps of {1000 * arm['step_seconds']:.2f} ms, "
            f"{arm['tokens_per_step']:.2f} tokens per step, {arm['tokens_per_second']:.1f} tokens/s; "
            f"reading the weights alone would take {1000 * arm['bound_seconds']:.2f} ms ({arm['share_of_bound']:.0%})\n"
            + columns(HEADER, map(_line, arm["parts"]))
        )
    if SPECULATIVE in measured["arms"]:
        plain_arm, drafted = measured["arms"][BASELINE], measured["arms"][SPECULATIVE]
        bound = drafted["tokens_per_step"] * plain_arm["bound_seconds"] / drafted["bound_seconds"]
        gain = drafted["tokens_per_second"] / plain_arm["tokens_per_second"]
        parts.append(f"speedup {gain:.2f}; at these tokens per step, reading weights alone would give {bound:.2f}\n")
    return "\n".join(parts)


def _line(row: Mapping) -> list[str]:
    size, reached = row["bytes_per_call"], row["share_of_bandwidth"]
    return [
        row["part"],
        number_text(row["calls_per_step"]),
        f"{1000 * row['seconds_per_step']:.2f}",
        share_text(row["share"]),
        "" if size is None else number_text(size / 1e6),
        "" if reached is None else share_text(reached),
    ]
