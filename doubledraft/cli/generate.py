"""Answer one prompt, and show which tokens the draft proposed.

The text appears step by step: what the target took over from the draft stands apart from the target's own tokens, by
colour where standard output is a terminal and NO_COLOR is not set. Characters that would move the cursor or hide text
are written as escapes. The answer goes to standard output, one line of figures after it to standard error.
"""

import argparse
import os
import sys

from doubledraft.cli import options as pair
from doubledraft.engine.decode import stream
from doubledraft.engine.decoding_metrics import Metrics
from doubledraft.engine.draft_length import by_setting
from doubledraft.escaping import visible
from doubledraft.evaluation.acceptance import summary
from doubledraft.inference import load_pair
from doubledraft.inference.tokenizing import Pieces

ACCEPTED, PLAIN = "\x1b[32m", "\x1b[0m"  # ANSI: green, and back to normal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this subcommand."""
    pair.add_models(parser)
    parser.add_argument("--prompt", required=True, help="the question; `-` reads it from standard input")
    pair.add_prompt_file(parser)
    parser.add_argument("--max-tokens", type=pair.at_least_one, default=256, help="tokens to answer in; default: 256")
    pair.add_draft_length(parser)
    pair.add_sampling(parser)


def run(options: argparse.Namespace) -> None:
    """Answer on standard output, with one line of figures on standard error."""
    sampling = pair.as_sampling(options)
    loaded, proposer = pair.load(options)
    question = sys.stdin.read() if options.prompt == "-" else options.prompt
    asked = loaded.ask([question], options.prompt_file, few_shot=options.few_shot)
    pieces, shown, coloured = Pieces(loaded.tokenizer), 0, _has_colours()
    for metrics in stream(
        loaded.target,
        proposer,
        asked,
        options.max_tokens,
        draft_length=by_setting(options.draft_length),
        stop_ids=loaded.stop_ids,
        sampling=sampling,
        generator=load_pair.generator(loaded.target, options.seed),
    ):
        [answer] = metrics.answers
        accepted = answer.steps[-1].accepted if answer.steps else 0
        for position, token in enumerate(answer.token_ids[shown:]):
            _show(pieces.add(token), coloured and position < accepted)
        shown = len(answer.token_ids)
    _show(pieces.rest(), False)
    _show("\n", False)
    legend = f"{ACCEPTED}accepted from the draft{PLAIN} · " if coloured and summary(metrics)["accepted"] else ""
    sys.stderr.write(f"{legend}{in_one_line(metrics)}\n")


def _show(text: str, coloured: bool) -> None:
    """Write what a model said; a character that takes several tokens has the colour of the last."""
    shown = visible(text)
    sys.stdout.write(f"{ACCEPTED}{shown}{PLAIN}" if coloured and shown else shown)
    sys.stdout.flush()


def _has_colours() -> bool:
    """Whether standard output shows colours, and nobody asked for none: https://no-color.org."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def in_one_line(metrics: Metrics) -> str:
    """Return a run in one line."""
    numbers = summary(metrics)
    parts = [
        f"{numbers['emitted']} tokens in {numbers['seconds']:.2f} s",
        f"{numbers['tokens_per_second']:.1f} tokens/s",
        f"{numbers['tokens_per_step']:.2f} tokens per step",
    ]
    if numbers["drafted"]:
        share = numbers["acceptance_rate"]
        parts.append(f"accepted {numbers['accepted']} of {numbers['drafted']} drafted tokens ({share:.0%})")
    return " · ".join(parts)
