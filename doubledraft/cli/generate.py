"""Answer one prompt, and show which tokens came from the draft.

The text streams: tokens accepted from the draft are coloured where standard output is a terminal and NO_COLOR is not
set. Characters that would move the cursor or hide text are escaped. The answer goes to standard output, one line of
metrics after it to standard error.
"""

import argparse
import os
import sys

from doubledraft.cli import options as shared
from doubledraft.engine.decoding_metrics import Metrics
from doubledraft.escaping import visible
from doubledraft.inference.tokenizing import Pieces

ACCEPTED, PLAIN = "\x1b[32m", "\x1b[0m"  # ANSI: green, and back to normal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this subcommand."""
    shared.add_models(parser)
    parser.add_argument(
        "--prompt", required=True, metavar="TEXT", help="the question; `-` reads it from standard input"
    )
    shared.add_prompt_file(parser)
    shared.add_max_tokens(parser, 256, shared.at_least_one)
    shared.add_draft_length(parser)
    shared.add_sampling(parser)


def run(options: argparse.Namespace) -> None:
    """Answer on standard output, with one line of metrics on standard error."""
    sampling = shared.as_sampling(options)
    question = shared.standard_input() if options.prompt == "-" else options.prompt
    pair = shared.load(options)
    [prompt] = pair.token_ids([question], options.prompt_file, few_shot=options.few_shot)
    settings = {"draft_length": options.draft_length, "sampling": sampling, "seed": options.seed}
    pieces, printed, coloured = Pieces(pair.tokenizer), 0, _has_colours()
    for metrics in pair.stream(prompt, options.max_tokens, **settings):
        [answer] = metrics.answers
        accepted = answer.steps[-1].accepted if answer.steps else 0
        for position, token in enumerate(answer.token_ids[printed:]):
            _show(pieces.add(token), coloured and position < accepted)
        printed = len(answer.token_ids)
    _show(pieces.rest(), False)
    _show("\n", False)
    legend = f"{ACCEPTED}accepted from the draft{PLAIN} · " if coloured and metrics.accepted else ""
    sys.stderr.write(f"{legend}{in_one_line(metrics)}\n")


def _show(text: str, coloured: bool) -> None:
    """Write text of a model; a character that takes several tokens has the colour of the last."""
    escaped = visible(text)
    sys.stdout.write(f"{ACCEPTED}{escaped}{PLAIN}" if coloured and escaped else escaped)
    sys.stdout.flush()


def _has_colours() -> bool:
    """Return whether standard output shows colours, and the user wants them: https://no-color.org."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def in_one_line(metrics: Metrics) -> str:
    """Return the metrics of a run in one line."""
    parts = [
        f"{metrics.emitted} tokens in {metrics.seconds:.2f} s",
        f"{metrics.tokens_per_second:.1f} tokens/s",
        f"{metrics.tokens_per_step:.2f} tokens per step",
    ]
    if metrics.drafted:
        share = f"{metrics.acceptance_rate:.0%}"
        parts.append(f"accepted {metrics.accepted} of {metrics.drafted} drafted tokens ({share})")
    return " · ".join(parts)
