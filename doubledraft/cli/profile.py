"""Show where the time of a step goes, plain and with a draft.

One prompt is answered some times in turn. Of every step: the passes of the models and their heads, and what the engine
does beside them, each with its share of the step, and with its share of the bandwidth at which this machine reads
memory where it has weights to read. `--trace` writes single kernels too, for chrome://tracing or ui.perfetto.dev.
"""

import argparse
import sys
from collections.abc import Mapping

from doubledraft import provenance
from doubledraft.cli import options as pair
from doubledraft.cli.text_table import MISSING, columns, number
from doubledraft.engine.decode import checked_prompts
from doubledraft.engine.draft_length import by_setting
from doubledraft.engine.proposers import NoDraft
from doubledraft.evaluation.arms import Arm, plain
from doubledraft.evaluation.interleave import BASELINE, SPECULATIVE
from doubledraft.evaluation.step_profile import profile, trace
from doubledraft.files import write_json
from doubledraft.inference import load_pair

PROMPT = (
    "A baker makes 4 trays of 6 rolls each. Then 5 rolls are sold and 3 more are baked. How many rolls are there now?"
)
HEADER = ("part", "calls/step", "ms/step", "share", "MB/call", "of bandwidth")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this subcommand."""
    pair.add_models(parser)
    parser.add_argument("--prompt", default=PROMPT, help="the question; default: a word problem")
    pair.add_prompt_file(parser)
    parser.add_argument("--max-tokens", type=pair.at_least_two, default=64, help="tokens of each answer; default: 64")
    pair.add_draft_length(parser)
    parser.add_argument(
        "--repeats", type=pair.at_least_one, default=3, help="times that the prompt is answered; default: 3"
    )
    parser.add_argument("--trace", metavar="FILE", help="write a trace of a few steps in Chrome's format")
    parser.add_argument("--out", metavar="FILE", help="write the figures as JSON")


def run(options: argparse.Namespace) -> None:
    """Show the tables, and write the trace and the figures where asked."""
    if options.trace and options.trace.endswith(".gz"):
        raise load_pair.OptionError(f"--trace {options.trace}: traces are not compressed, so leave .gz out")
    loaded, proposer = pair.load(options)
    asked = loaded.ask([options.prompt], options.prompt_file, few_shot=options.few_shot)
    [prompt] = checked_prompts(loaded.target, asked, options.max_tokens)
    drafts = [] if isinstance(proposer, NoDraft) else [Arm(SPECULATIVE, proposer, by_setting(options.draft_length))]
    arms = [plain(), *drafts]
    found = profile(loaded.target, arms, prompt, options.max_tokens, options.repeats)
    if options.out:  # before a trace, which may fail, and standard output, which may be a pipe that nobody reads
        asked_for = {name: value for name, value in vars(options).items() if name != "run"}
        write_json(options.out, found | {"options": asked_for, "provenance": provenance.provenance()})
    if options.trace:
        trace(loaded.target, arms[-1], prompt, options.trace)
    sys.stdout.write(table(found))


def table(found: Mapping) -> str:
    """Give a profile as text."""
    parts = [f"memory is read at {found['read_bytes_per_second'] / 1e9:.1f} GB/s\n"]
    for name, arm in found["arms"].items():
        parts.append(
            f"{name}: {arm['steps']} steps of {1000 * arm['step_seconds']:.2f} ms, "
            f"{arm['tokens_per_step']:.2f} tokens per step, {arm['tokens_per_second']:.1f} tokens/s; "
            f"reading the weights alone would take {1000 * arm['bound_seconds']:.2f} ms ({arm['share_of_bound']:.0%})\n"
            + columns(HEADER, map(_line, arm["parts"]))
        )
    if SPECULATIVE in found["arms"]:
        plain_arm, drafted = found["arms"][BASELINE], found["arms"][SPECULATIVE]
        bound = drafted["tokens_per_step"] * plain_arm["bound_seconds"] / drafted["bound_seconds"]
        gain = drafted["tokens_per_second"] / plain_arm["tokens_per_second"]
        parts.append(f"speedup {gain:.2f}; at these tokens per step, reading weights alone would give {bound:.2f}\n")
    return "\n".join(parts)


def _line(row: Mapping) -> list[str]:
    size, share = row["bytes_per_call"], row["share_of_bandwidth"]
    return [
        row["part"],
        number(row["calls_per_step"]),
        f"{1000 * row['seconds_per_step']:.2f}",
        f"{row['share']:.0%}",
        MISSING if size is None else number(size / 1e6),
        MISSING if share is None else f"{share:.0%}",
    ]
