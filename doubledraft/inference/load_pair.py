"""A target and its draft, loaded and checked, for whoever decodes outside a study: commands and Python."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from doubledraft import machine, prompts
from doubledraft.engine.backend import Backend
from doubledraft.engine.draft_vocabulary import learn_from_files
from doubledraft.engine.load import create_backend
from doubledraft.engine.proposers import DraftModel, check_vocabulary
from doubledraft.inference.tokenizing import load_tokenizer, prompt_ids, stop_ids

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

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


def generator(target: Backend, seed: int) -> "torch.Generator":
    """Give the source of random numbers, on the target's device."""
    import torch

    return torch.Generator(target.device).manual_seed(seed)


def load_target(model: str, dtype: str, device: str | None) -> Target:
    """Load the model that decides, on the GPU if there is one and no device is named."""
    import torch
    from transformers.utils import logging as transformers_logging

    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()
    machine.use_own_cores()
    if device == "cuda" and not torch.cuda.is_available():
        raise OptionError("--device cuda: torch finds no GPU here; leave it out, or say cpu")
    device = device or machine.device()
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
