"""What the subcommands have in common: the target, who drafts for it, and how the next token is chosen."""

import argparse
from typing import TYPE_CHECKING

from doubledraft.engine.draft_length import LONGEST_DRAFT
from doubledraft.engine.proposers import NGram, NoDraft, Proposer
from doubledraft.engine.sampling import Sampling
from doubledraft.inference.load_pair import OptionError, Target, load_draft, load_target

if TYPE_CHECKING:
    pass


def add_models(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the models and where they run."""
    parser.add_argument("--model", required=True, metavar="FOLDER", help="the target: a folder, or a name on the hub")
    drafting = parser.add_mutually_exclusive_group()
    drafting.add_argument("--draft", metavar="FOLDER", help="the draft model: a folder, or a name on the hub")
    drafting.add_argument("--ngram", action="store_true", help="draft what followed the same words earlier in the text")
    parser.add_argument(
        "--draft-vocabulary",
        nargs="+",
        metavar="FILE",
        help="generations (`distilled.jsonl`): the draft proposes only tokens of theirs; faster, and the same answer",
    )
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"), help="of weights and caches")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda where there is one")


def add_prompt_file(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what comes before a question."""
    parser.add_argument("--prompt-file", metavar="YAML", help="system text and shots, as in config/prompts/cot.yaml")
    parser.add_argument("--few-shot", action="store_true", help="show the shots of the prompt file too")


def add_draft_length(parser: argparse.ArgumentParser) -> None:
    """Add the option that says how many tokens are drafted a step."""
    parser.add_argument(
        "--draft-length",
        type=draft_length,
        default=5,
        metavar="K",
        help=f"tokens drafted a step, 1 to {LONGEST_DRAFT}, or `adaptive`; default: 5",
    )


def draft_length(text: str) -> int | str:
    """Read K or `adaptive`."""
    if text == "adaptive":
        return text
    if not text.isdecimal() or not 1 <= int(text) <= LONGEST_DRAFT:
        raise argparse.ArgumentTypeError(f"expected 1 to {LONGEST_DRAFT}, or adaptive; found {text!r}")
    return int(text)


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how the next token is chosen."""
    parser.add_argument("--temperature", type=float, default=0.0, help="0 takes the best token (default)")
    parser.add_argument("--top-p", type=float, default=1.0, help="draw from the fewest tokens with this probability")
    parser.add_argument("--top-k", type=int, help="draw from the k best tokens")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")


def as_sampling(options: argparse.Namespace) -> Sampling:
    """Give how the next token is chosen; raises OptionError where the options contradict."""
    try:
        return Sampling(options.temperature, options.top_k, options.top_p)
    except ValueError as error:
        raise OptionError(str(error)) from None


def at_least_zero(text: str) -> int:
    """Read a number of 0 or more."""
    return _at_least(0, text)


def at_least_one(text: str) -> int:
    """Read a number of 1 or more."""
    return _at_least(1, text)


def at_least_two(text: str) -> int:
    """Read a number of 2 or more."""
    return _at_least(2, text)


def _at_least(least: int, text: str) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"expected {least} or more, found {text!r}")
    return int(text)


def load(options: argparse.Namespace) -> tuple[Target, Proposer]:
    """Load the models that the options name; raises ModelError where they cannot be used together.

    Before that it raises OptionError for options that would be ignored.
    """
    _refuse_ignored(options)
    loaded = load_target(options.model, options.dtype, options.device)
    if options.ngram:
        return loaded, NGram()
    return loaded, load_draft(options.draft, loaded.target, options.allowed_tokens) if options.draft else NoDraft()


def _refuse_ignored(options: argparse.Namespace) -> None:
    """Raise OptionError for an option that means nothing beside the others."""
    if options.ngram and options.draft_length == "adaptive":
        raise OptionError("--draft-length adaptive goes by the confidence of a draft model, and --ngram has none")
    if options.allowed_tokens and not options.draft:
        raise OptionError("--says is what a draft model proposes: name one with --draft")
    if options.few_shot and not options.prompt_file:
        raise OptionError("--few-shot shows the shots of a prompt file: name one with --prompt-file")
