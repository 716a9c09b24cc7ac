"""Text to token ids and back: how a question is put to a model, what ends its answer, text that comes in pieces."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

INCOMPLETE = "\ufffd"  # what a decoder gives for bytes that are no whole character


def load_tokenizer(folder: str | Path) -> "PreTrainedTokenizerBase":
    """Load the tokenizer of a model, without code of its own."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def prompt_ids(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[dict[str, str]]) -> list[int]:
    """Give the ids of chat messages, by the tokenizer's chat template; without one they are joined by blank lines."""
    if tokenizer.chat_template is None:
        return tokenizer.encode("\n\n".join(message["content"] for message in messages))
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return tokenizer.encode(text, add_special_tokens=False)  # the template has written them


def stop_ids(folder: str | Path, tokenizer: "PreTrainedTokenizerBase") -> set[int]:
    """Give the tokens that end an answer, as vLLM does: the tokenizer's own and those of generation_config.json."""
    from transformers import GenerationConfig

    try:
        named = GenerationConfig.from_pretrained(folder).eos_token_id
    except OSError:  # a model need not have one
        named = None
    named = [named] if isinstance(named, int) else named or []
    own = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    return {*named, *own}


class Pieces:
    """Gives the text of tokens as they come, never half a character.

    A character may take several tokens, and the text of a token may depend on those before it, so the tokens of the
    last piece are decoded again with the new ones, and what is new is given: as `decode_token` of Hugging Face's
    text-generation-inference does. Tokens such as end of answer have no text.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self._tokenizer = tokenizer
        self._last: list[int] = []  # tokens of the piece that was given last
        self._new: list[int] = []  # tokens that are not given yet

    def add(self, token: int) -> str:
        """Take a token; gives the text that is whole now, often that of the token."""
        self._new.append(token)
        piece = self._piece()
        if piece.endswith(INCOMPLETE):
            return ""
        self._last, self._new = self._new, []
        return piece

    def rest(self) -> str:
        """Give what is left at the end: nothing, or a character that never became whole."""
        return self._piece()

    def _piece(self) -> str:
        return self._decode([*self._last, *self._new])[len(self._decode(self._last)) :]

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
