"""What the subcommands have in common: the target, who drafts for it, and how the next token is chosen."""

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from doubledraft import prompts, runtime
from doubledraft.backend import Backend, create_backend
from doubledraft.proposers import DraftModel, NGram, NoDraft, Proposer, check_vocabulary
from doubledraft.sampling import Sampling
from doubledraft.sub_vocabulary import learn_from_files
from doubledraft.tokenizing import load_tokenizer, prompt_ids, stop_ids

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

LONGEST_DRAFT = 16
TALKATIVE = ("torchao", "torch.utils._pytree")  # at import: of kernels for other machines, and of each other


class OptionError(ValueError):
    """An option that cannot be meant; the message says which."""


@dataclass(frozen=True, slots=True)
class Target:
    """A loaded target, and what its text is made of."""

    target: Backend
    tokenizer: "PreTrainedTokenizerBase"
    stop_ids: set[int]

    def ask(self, questions: Sequence[str], prompt_file: str | None, *, few_shot: bool) -> list[list[int]]:
        """Give the token ids of questions, by the chat template where the tokenizer has one."""
        if not all(question.strip() for question in questions):
            raise OptionError("the prompt is empty: expected a question")
        prompt = prompts.load(prompt_file) if prompt_file else None
        asked = [prompts.messages(prompt, question, few_shot=few_shot) for question in questions]
        return [prompt_ids(self.tokenizer, messages) for messages in asked]

    def text(self, token_ids: Sequence[int]) -> str:
        """Give the text of an answer."""
        return self.tokenizer.decode(token_ids, skip_special_tokens=True)


def add_models(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the models and where they run."""
    parser.add_argument("--model", required=True, metavar="FOLDER", help="the target: a folder, or a name on the hub")
    drafting = parser.add_mutually_exclusive_group()
    drafting.add_argument("--draft", metavar="FOLDER", help="the draft model: a folder, or a name on the hub")
    drafting.add_argument("--ngram", action="store_true", help="draft what followed the same words earlier in the text")
    parser.add_argument(
        "--says",
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


def generator(target: Backend, seed: int) -> "torch.Generator":
    """Give the source of random numbers, on the target's device."""
    import torch

    return torch.Generator(target.device).manual_seed(seed)


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
    return loaded, load_draft(options.draft, loaded.target, options.says) if options.draft else NoDraft()


def _refuse_ignored(options: argparse.Namespace) -> None:
    """Raise OptionError for an option that means nothing beside the others."""
    if options.ngram and options.draft_length == "adaptive":
        raise OptionError("--draft-length adaptive goes by the confidence of a draft model, and --ngram has none")
    if options.says and not options.draft:
        raise OptionError("--says is what a draft model proposes: name one with --draft")
    if options.few_shot and not options.prompt_file:
        raise OptionError("--few-shot shows the shots of a prompt file: name one with --prompt-file")


def load_target(model: str, dtype: str, device: str | None) -> Target:
    """Load the model that decides, on the GPU if there is one and no device is named."""
    import torch
    from transformers.utils import logging as transformers_logging

    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()
    runtime.use_own_cores()
    if device == "cuda" and not torch.cuda.is_available():
        raise OptionError("--device cuda: torch finds no GPU here; leave it out, or say cpu")
    device = device or runtime.device()
    backend, tokenizer = create_backend(model, dtype, device), load_tokenizer(model)
    return Target(backend, tokenizer, stop_ids(model, tokenizer))


def load_draft(model: str, target: Backend, says: Sequence[str] | None = None) -> DraftModel:
    """Load a draft model in the target's way; raises ModelError where its vocabulary is another.

    `says` are files of generations, whose tokens are the only ones that it will propose.
    """
    dtype = str(target.dtype).removeprefix("torch.")
    draft = create_backend(model, dtype, str(target.device), says=_learnt(says) if says else None)
    check_vocabulary(target, draft)
    return DraftModel(draft)


def _learnt(files: Sequence[str]) -> list[int]:
    try:
        return learn_from_files(files)
    except (OSError, ValueError) as error:
        raise OptionError(f"--says: {error}") from None
