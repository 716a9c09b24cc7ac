"""Who proposes the next tokens: a draft model, what followed the same words earlier in the text, or nobody.

A proposer takes up prompts, and is asked once a step with the texts as they stand: it gives a `Draft` of at most so
many tokens. It is not told which were good, but sees the texts grow. It may propose anything: only speed depends on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from doubledraft.engine.backend import Backend, Texts, prefill
from doubledraft.engine.draft_length import DraftLength, FixedLength
from doubledraft.engine.sampling import Sampling, draw, probabilities
from doubledraft.models.folder import ModelError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Draft:
    """Proposed tokens of a batch."""

    tokens: "torch.Tensor"  # [batch, K], on the target's device
    lengths: list[int]  # of each row, how many of them are proposed; the rest is padding
    q: "torch.Tensor | None" = None  # [batch, K, vocabulary] that they were drawn from; None if they were not drawn


def empty(rows: int, target: Backend) -> Draft:
    """Give a draft of no tokens for each of `rows` rows."""
    return Draft(target.tensor([[]] * rows).long(), [0] * rows)


class Proposer(Protocol):
    """Proposes tokens to a target."""

    def start(self, target: Backend, prompts: Texts, capacity: int) -> None:
        """Take up prompts, whose texts will not grow beyond `capacity` tokens; forget all earlier ones."""

    def propose(
        self,
        texts: Texts,
        longest: int,
        length: DraftLength,
        sampling: Sampling,
        generator: "torch.Generator | None",
    ) -> Draft:
        """Propose at most `longest` tokens after each text, fewer where `length` says so."""


class NoDraft:
    """Proposes nothing: decoding is then plain decoding."""

    def start(self, target: Backend, prompts: Texts, capacity: int) -> None:
        """Note whom the drafts are for."""
        self._target = target

    def propose(self, texts: Texts, longest: int, *_) -> Draft:
        """Give drafts of no tokens."""
        return empty(len(texts), self._target)


class NGram:
    """Proposes what followed the last few tokens where they stood before, in the prompt or in the answer.

    Prompt lookup decoding: Saxena 2023, github.com/apoorvumang/prompt-lookup-decoding. The longest end of the text, of
    `most` to `fewest` tokens, that stood there before is taken, where it stood last. What followed it is copied, and
    where the text ends the copy goes on with itself, so that a loop goes on as a loop.
    """

    def __init__(self, fewest: int = 2, most: int = 4) -> None:
        if not 1 <= fewest <= most:
            raise ValueError(f"expected 1 <= fewest <= most, found {fewest} and {most}")
        self.fewest, self.most = fewest, most

    def start(self, target: Backend, prompts: Texts, capacity: int) -> None:
        """Note whom the drafts are for."""
        self._target = target

    def propose(self, texts: Texts, longest: int, *_) -> Draft:
        """Look up what followed the end of each text before."""
        found = [self._continuation(list(text), longest) for text in texts]
        width = max(map(len, found))
        tokens = [row + [0] * (width - len(row)) for row in found]
        return Draft(self._target.tensor(tokens).long(), list(map(len, found)))

    def _continuation(self, text: list[int], longest: int) -> list[int]:
        length = len(text)
        for size in range(min(self.most, length - 1), self.fewest - 1, -1):
            end = text[-size:]
            for at in range(length - size - 1, -1, -1):
                if text[at] == end[0] and text[at : at + size] == end:
                    for source in range(at + size, at + size + longest):
                        text.append(text[source])
                    return text[length:]
        return []


class DraftModel:
    """Proposes what a smaller model of the same vocabulary would say, chosen as the target chooses."""

    def __init__(self, draft: Backend) -> None:
        self.draft = draft

    def start(self, target: Backend, prompts: Texts, capacity: int) -> None:
        """Read the prompts; raises ModelError where the draft has another vocabulary than the target."""
        check_vocabulary(target, self.draft)
        self._vocabulary = target.vocabulary
        if self.draft.says is not None and max(self.draft.says.tolist()) >= target.vocabulary:
            raise ModelError(f"the draft should say tokens below {target.vocabulary}, the vocabulary of {target.name}")
        self._cache = None  # done with: the backend may lend it again, with the graphs that were recorded on it
        self._cache = self.draft.new_cache(len(prompts), capacity)
        prefill(self.draft, list(map(self._known, prompts)), self._cache)
        self._read = list(map(len, prompts))  # tokens of each text that are in the cache, and right

    def propose(
        self,
        texts: Texts,
        longest: int,
        length: DraftLength,
        sampling: Sampling,
        generator: "torch.Generator | None",
    ) -> Draft:
        """Let the draft model go on from each text."""
        ids = self._unread(texts)
        if sampling.greedy and isinstance(length, FixedLength):  # nothing is decided on the way: all in one go
            draft = Draft(self.draft.greedy_draft(ids, self._cache, longest, self._vocabulary), [longest] * len(texts))
        else:
            draft = self._one_by_one(ids, longest, length, sampling, generator)
        # The last token was proposed, never read.
        self._read = [len(text) + draft.tokens.shape[1] - 1 for text in texts]
        return draft

    def _one_by_one(
        self, ids: "torch.Tensor", longest: int, length: DraftLength, sampling: Sampling, generator
    ) -> Draft:
        import torch

        tokens, rows = [], []
        for _ in range(longest):
            logits = self.draft.logits(self.draft.forward(ids, self._cache)[:, -1])[:, : self._vocabulary]
            if sampling.greedy:
                chosen = logits.argmax(-1)
            else:
                rows.append(probabilities(logits, sampling))
                chosen = draw(rows[-1], generator)
            ids = self.draft.said(chosen).unsqueeze(-1)
            tokens.append(ids)
            if not length.goes_on(logits, chosen):
                break
        q = self._widened(rows) if rows else None
        return Draft(torch.cat(tokens, 1), [len(tokens)] * len(ids), q)

    def _unread(self, texts: Texts) -> "torch.Tensor":
        """Give the tokens [batch, n] at the end of each text that the cache does not hold.

        Of the last draft a text kept a part, which is read already, and one token of the target came after it. Where
        the whole draft was kept, its last token was never read either: n is 2, and other rows read a token once more.
        """

        read = [min(before, len(text) - 1) for before, text in zip(self._read, texts, strict=True)]
        count = max(len(text) - known for known, text in zip(read, texts, strict=True))
        self._cache.trim([len(text) - count for text in texts])
        return self.draft.tensor([self._known(text[-count:]) for text in texts])

    def _known(self, ids: Sequence[int]) -> list[int]:
        """Read tokens of the target's padding, where the draft has none, as the draft's last token."""
        return [min(token, self.draft.vocabulary - 1) for token in ids]

    def _widened(self, rows: list["torch.Tensor"]) -> "torch.Tensor":
        """Stack distributions to [batch, K, target's vocabulary]; tokens that the draft lacks have probability 0."""
        import torch

        q = torch.stack(rows, 1)
        ids = torch.arange(q.shape[-1], device=q.device) if self.draft.says is None else self.draft.says
        return q.new_zeros(*q.shape[:-1], self._vocabulary).index_copy_(-1, ids, q)


def check_vocabulary(target: Backend, draft: Backend) -> None:
    """Raise ModelError unless every token has the same id in both; models of one family may pad it differently."""
    if target.tokens_hash == draft.tokens_hash:
        return
    for token in sorted(target.tokens.keys() | draft.tokens.keys()):
        if target.tokens.get(token) != draft.tokens.get(token):
            raise ModelError(
                f"target {target.name} and draft {draft.name} have different tokenizers: token {token!r} is id "
                f"{target.tokens.get(token)} in the target and {draft.tokens.get(token)} in the draft; choose two "
                "models of one family"
            )
