"""A target and its draft in this process, for use outside a study: text in, text and metrics out.

pair = load_pair("target", "draft")
answer = pair.answer("4 * 6 = ?")
print(answer.text, answer.acceptance_rate, answer.tokens_per_second)
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from doubledraft import machine, prompts
from doubledraft.engine.backend import Backend
from doubledraft.engine.decode import GREEDY, stream
from doubledraft.engine.decoding_metrics import Metrics
from doubledraft.engine.draft_length import by_setting
from doubledraft.engine.draft_vocabulary import learn_from_files, of_draft
from doubledraft.engine.load import create_backend, local_folder
from doubledraft.engine.proposers import DraftModel, NoDraft, Proposer, check_vocabulary
from doubledraft.engine.sampling import Sampling
from doubledraft.inference.tokenizing import prompt_ids, shared_beginning, stop_ids
from doubledraft.models.folder import ModelError
from doubledraft.models.inspect import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NOISY_LOGGERS = ("torchao", "torch.utils._pytree")  # warn at import: of kernels for other machines, and of each other


class OptionError(ValueError):
    """An option or argument that cannot be used; the message names it."""


@dataclass(frozen=True, slots=True)
class TextAnswer:
    """An answer, and how it was decoded."""

    text: str
    metrics: Metrics

    @property
    def acceptance_rate(self) -> float | None:
        """Accepted / drafted tokens, a prefix count; None where nothing was drafted."""
        return self.metrics.acceptance_rate

    @property
    def tokens_per_second(self) -> float:
        """Emitted tokens / wall seconds, the prompt's pass included."""
        return self.metrics.tokens_per_second


@dataclass(frozen=True, slots=True)
class Pair:
    """A loaded target, what drafts for it, and what turns text into tokens."""

    target: Backend
    proposer: Proposer
    tokenizer: "PreTrainedTokenizerBase"
    stop_ids: set[int]

    def token_ids(
        self, questions: Sequence[str], prompt_file: str | Path | None = None, *, few_shot: bool = False
    ) -> list[list[int]]:
        """Return the token ids of questions, by the chat template where the tokenizer has one."""
        if not all(question.strip() for question in questions):
            raise OptionError("the prompt is empty: expected a question")
        prompt = prompts.load(prompt_file) if prompt_file else None
        chats = [prompts.messages(prompt, question, few_shot=few_shot) for question in questions]
        ids = [prompt_ids(self.tokenizer, messages) for messages in chats]
        if not all(ids):
            raise ModelError(f"{self.target.name}: its chat template renders nothing: use another model")
        return ids

    def read_beginning(self, prompts: Sequence[Sequence[int]]) -> None:
        """Read once what all of these prompts of token ids begin with, so that an answer reads only the rest."""
        beginning = shared_beginning(prompts)
        self.target.read_beginning(beginning)
        self.proposer.read_beginning(beginning)

    def text(self, token_ids: Sequence[int]) -> str:
        """Return the text of an answer."""
        return self.tokenizer.decode(token_ids, skip_special_tokens=True)

    def answer(self, question: str, max_tokens: int = 256, **settings) -> TextAnswer:
        """Answer one question by its chat template; `settings` are those of `stream`."""
        [prompt] = self.token_ids([question])
        *_, metrics = self.stream(prompt, max_tokens, **settings)
        return TextAnswer(self.text(metrics.answers[0].token_ids), metrics)

    def stream(
        self,
        prompt: Sequence[int],
        max_tokens: int,
        *,
        draft_length: int | str = 5,
        sampling: Sampling = GREEDY,
        seed: int = 0,
    ) -> Iterator[Metrics]:
        """Answer a prompt of token ids, yielding the growing metrics after each step; see `engine.decode.stream`.

        `draft_length` is a number of tokens or "adaptive"; `seed` is that of the draws.
        """
        import torch

        return stream(
            self.target,
            self.proposer,
            [prompt],
            max_tokens,
            draft_length=by_setting(draft_length),
            stop_ids=self.stop_ids,
            sampling=sampling,
            generator=torch.Generator(self.target.device).manual_seed(seed),
        )


def quiet_libraries() -> None:
    """Silence the progress bars of loading, and warnings that concern no user."""
    from transformers.utils import logging as transformers_logging

    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    transformers_logging.disable_progress_bar()


def load_pair(
    target: str | Path,
    draft: str | Path | Proposer | None = None,
    *,
    dtype: str = "bfloat16",
    device: str | None = None,
    draft_vocabulary: Sequence[str | Path] = (),
    int8_draft: bool = False,
) -> Pair:
    """Load two models, each a folder or a name on the hub; `draft` may also be a proposer, such as `NGram()`.

    They run on the GPU if there is one and no device is named. `draft_vocabulary` and `int8_draft` are those of
    `load_draft`. Raise ModelError where a model cannot be run or the vocabularies differ.
    """
    import torch

    quiet_libraries()
    machine.use_own_cores()
    if device == "cuda" and not torch.cuda.is_available():
        raise OptionError("device cuda: torch finds no GPU here; leave it out, or use cpu")
    backend, tokenizer = create_backend(target, dtype, device or machine.device()), load_tokenizer(target)
    if isinstance(draft, str | Path):
        draft = load_draft(draft, backend, draft_vocabulary, int8=int8_draft)
    return Pair(backend, draft or NoDraft(), tokenizer, stop_ids(target, tokenizer))


def load_draft(
    model: str | Path, target: Backend, vocabulary_files: Sequence[str | Path] = (), *, int8: bool = False
) -> DraftModel:
    """Load a draft model in the target's dtype and on its device; raise ModelError where its vocabulary is another.

    It proposes only tokens that occur in `vocabulary_files`, files of generations; without any, those that it was
    trained to propose, if its folder lists them, else all. `int8` rounds its weights to 8 bits: half the bytes of
    bfloat16, for a draft that may be accepted a little less often.
    """
    dtype = str(target.dtype).removeprefix("torch.")
    allowed = _learnt(vocabulary_files) if vocabulary_files else of_draft(local_folder(model))
    draft = create_backend(model, dtype, str(target.device), allowed_tokens=allowed, int8=int8)
    check_vocabulary(target, draft)
    return DraftModel(draft)


def _learnt(files: Sequence[str | Path]) -> list[int]:
    try:
        return learn_from_files(files)
    except (OSError, ValueError) as error:
        raise OptionError(f"draft vocabulary: {error}") from None
