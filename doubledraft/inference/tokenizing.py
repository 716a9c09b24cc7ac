"""Text to token ids and back: prompts, end tokens, and text that streams token by token."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from doubledraft.models import chat_template
from doubledraft.models.inspect import end_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

INCOMPLETE = "\ufffd"  # decoded from bytes that are no whole character


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[dict[str, str]]) -> list[int]:
    """Return the ids of chat messages, by the tokenizer's chat template, or joined by blank lines without one."""
    if tokenizer.chat_template is None:
        return tokenizer.encode("\n\n".join(message["content"] for message in messages))
    text = chat_template.render(tokenizer, messages, prompt=True)
    return tokenizer.encode(text, add_special_tokens=False)  # the template has written the special tokens


def stop_ids(folder: str | Path, tokenizer: "PreTrainedTokenizerBase") -> set[int]:
    """Return the tokens that end an answer, as in vLLM: the tokenizer's own and those that the model's config names."""
    tokenizer_ids = set() if tokenizer.eos_token_id is None else {tokenizer.eos_token_id}
    return end_ids(folder) | tokenizer_ids


def shared_beginning(prompts: Sequence[Sequence[int]]) -> list[int]:
    """Return the token ids that all prompts begin with, such as an instruction; none where there is only one prompt.

    They are fewer than any prompt has: a model has to read a token to name the next one.
    """
    distinct = set(map(tuple, prompts))
    if len(distinct) < 2:
        return []
    return list(os.path.commonprefix(list(distinct)))[: min(map(len, distinct)) - 1]


class Pieces:
    """Decodes a stream of tokens, never half a character.

    A character may take several tokens, and the text of a token may depend on those before it, so the tokens of the
    last piece are decoded again with the new ones and the difference is returned, as `decode_token` of Hugging Face's
    text-generation-inference does. Special tokens, such as the end of an answer, have no text.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._tokenizer = tokenizer
        self._last: list[int] = []  # tokens of the last piece
        self._new: list[int] = []  # tokens without a piece yet

    def add(self, token: int) -> str:
        """Add a token; return the text that is complete now, often that of the token."""
        self._new.append(token)
        piece = self._piece()
        if piece.endswith(INCOMPLETE):
            return ""
        self._last, self._new = self._new, []
        return piece

    def rest(self) -> str:
        """Return the rest at the end: nothing, or an incomplete character."""
        return self._piece()

    def _piece(self) -> str:
        return self._decode([*self._last, *self._new])[len(self._decode(self._last)) :]

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
