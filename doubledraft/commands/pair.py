"""What the subcommands have in common: the target, who drafts for it, and how the next token is chosen."""

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from doubledraft.backend import Backend, create_backend
from doubledraft.draft_length import AdaptiveLength, DraftLength, FixedLength
from doubledraft.proposers import DraftModel, NGram, NoDraft, Proposer, check_vocabulary
from doubledraft.sampling import Sampling
from doubledraft.tokenizing import load_tokenizer, stop_ids

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

LONGEST_DRAFT = 16


class OptionError(ValueError):
    """An option that cannot be meant; the message says which."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A loaded target, who drafts for it, and what its text is made of."""

    target: Backend
    proposer: Proposer
    tokenizer: "PreTrainedTokenizerBase"
    stop_ids: set[int]


def add_models(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the models and where they run."""
    parser.add_argument("--model", required=True, metavar="FOLDER", help="the target: a folder, or a name on the hub")
    drafting = parser.add_mutually_exclusive_group()
    drafting.add_argument("--draft", metavar="FOLDER", help="the draft model: a folder, or a name on the hub")
    drafting.add_argument("--ngram", action="store_true", help="draft what followed the same words earlier in the text")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"), help="of weights and caches")
    parser.add_argument("--device", help="cpu or cuda; default: cuda where there is one")


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


def as_length(value: int | str) -> DraftLength:
    """Give the rule that `draft_length` named; an adaptive one learns from all calls that it is handed to."""
    return AdaptiveLength(LONGEST_DRAFT) if value == "adaptive" else FixedLength(value)


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


def generator(target: Backend, seed: int) -> "torch.Generator":
    """Give the source of random numbers, on the target's device."""
    import torch

    return torch.Generator(target.device).manual_seed(seed)


def at_least_one(text: str) -> int:
    """Read a number of 1 or more."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, found {text!r}")
    return int(text)


def load(options: argparse.Namespace) -> Pair:
    """Load the models that the options name; raises ModelError where they cannot be used together."""
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    target = create_backend(options.model, options.dtype, device)
    proposer: Proposer = NGram() if options.ngram else NoDraft()
    if options.draft:
        draft = create_backend(options.draft, options.dtype, device)
        check_vocabulary(target, draft)
        proposer = DraftModel(draft)
    tokenizer = load_tokenizer(options.model)
    return Pair(target, proposer, tokenizer, stop_ids(options.model, tokenizer))
