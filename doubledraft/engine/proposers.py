"""Where drafted tokens come from: a draft model, n-grams of the text, or nowhere.

A proposer reads the prompts, and may use the target's hidden states at their ends. Then it returns a `Proposal` for the
current texts once per step. It sees from the texts which tokens were accepted. It may propose anything: only speed
depends on it, never the output.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from doubledraft.engine.backend import Backend, Texts, prefill
from doubledraft.engine.draft_length import DraftLength, FixedLength
from doubledraft.engine.sampling import Sampling, draw, probabilities
from doubledraft.log import log
from doubledraft.models.check_pair import refuse_other_tokens
from doubledraft.models.folder import ModelError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Proposal:
    """Proposed tokens of a batch."""

    tokens: "torch.Tensor"  # [batch, K], on the target's device
    lengths: list[int]  # of each row, how many tokens are proposed; the rest is padding
    q: "torch.Tensor | None" = None  # [batch, K, vocabulary], what they were drawn from; None if not drawn


def empty(rows: int, target: Backend) -> Proposal:
    """Return a proposal of no tokens for each of `rows` rows."""
    return Proposal(target.tensor([[]] * rows).long(), [0] * rows)


class Proposer(Protocol):
    """Proposes tokens to a target."""

    def read_beginning(self, ids: Sequence[int]) -> None:
        """Read once the tokens that prompts begin with; see `Backend.read_beginning`."""

    def start(self, target: Backend, prompts: Texts, capacity: int, hidden: "torch.Tensor | None" = None) -> None:
        """Read prompts, whose texts will not grow beyond `capacity` tokens; drop all earlier ones.

        `hidden` [batch, size] are the target's hidden states at the end of the prompts, which it has just read.
        """

    def propose(
        self,
        texts: Texts,
        longest: int,
        length: DraftLength,
        sampling: Sampling,
        generator: "torch.Generator | None",
    ) -> Proposal:
        """Propose at most `longest` tokens after each text, fewer where `length` stops earlier."""


class NoDraft:
    """Proposes nothing: plain decoding."""

    def read_beginning(self, ids: Sequence[int]) -> None:
        """Do nothing: no prompt is read."""

    def start(self, target: Backend, prompts: Texts, capacity: int, hidden: "torch.Tensor | None" = None) -> None:
        """Keep the target, whose device proposals are made on."""
        self._target = target

    def propose(self, texts: Texts, longest: int, *_) -> Proposal:
        """Return proposals of no tokens."""
        return empty(len(texts), self._target)


class NGram:
    """Proposes what followed the last tokens at their previous occurrence, in the prompt or in the answer.

    Prompt lookup decoding: Saxena 2023, github.com/apoorvumang/prompt-lookup-decoding. The longest suffix of the text,
    of `most` to `fewest` tokens, that occurs earlier is matched at its last occurrence, and what followed is copied. If
    the copy reaches the end of the text it wraps around, so a repeating pattern is continued.
    """

    def __init__(self, fewest: int = 2, most: int = 4) -> None:
        if not 1 <= fewest <= most:
            raise ValueError(f"expected 1 <= fewest <= most, found {fewest} and {most}")
        self.fewest, self.most = fewest, most

    def read_beginning(self, ids: Sequence[int]) -> None:
        """Do nothing: no prompt is read."""

    def start(self, target: Backend, prompts: Texts, capacity: int, hidden: "torch.Tensor | None" = None) -> None:
        """Keep the target, whose device proposals are made on."""
        self._target = target

    def propose(self, texts: Texts, longest: int, *_) -> Proposal:
        """Copy what followed the end of each text at its previous occurrence."""
        drafts = [self._continuation(list(text), longest) for text in texts]
        width = max(map(len, drafts))
        tokens = [row + [0] * (width - len(row)) for row in drafts]
        return Proposal(self._target.tensor(tokens).long(), list(map(len, drafts)))

    def _continuation(self, text: list[int], longest: int) -> list[int]:
        length = len(text)
        for size in range(min(self.most, length - 1), self.fewest - 1, -1):
            suffix = text[-size:]
            for at in range(length - size - 1, -1, -1):
                if text[at] == suffix[0] and text[at : at + size] == suffix:
                    for source in range(at + size, at + size + longest):
                        text.append(text[source])
                    return text[length:]
        return []


class DraftModel:
    """Proposes the tokens of a smaller model of the same vocabulary, chosen by the target's sampling."""

    def __init__(self, draft: Backend) -> None:
        self.draft, self._warned_of = draft, set()

    def start(self, target: Backend, prompts: Texts, capacity: int, hidden: "torch.Tensor | None" = None) -> None:
        """Read the prompts; raise ModelError where the draft has another vocabulary than the target."""
        check_vocabulary(target, self.draft)
        self._vocabulary = target.vocabulary
        if self.draft.allowed_tokens is not None and max(self.draft.allowed_tokens.tolist()) >= target.vocabulary:
            raise ModelError(
                f"the draft vocabulary must lie below {target.vocabulary}, the vocabulary of {target.name}"
            )
        self._cache = None  # released first: the backend may reuse it, with its captured graphs
        self._cache = self.draft.new_cache(len(prompts), capacity)
        self._warn_of_damage(prefill(self.draft, list(map(self._known, prompts)), self._cache))
        self._read = list(map(len, prompts))  # tokens of each text that are valid in the cache

    def read_beginning(self, ids: Sequence[int]) -> None:
        """Read once the tokens that prompts begin with; see `Backend.read_beginning`."""
        self.draft.read_beginning(self._known(ids))

    def propose(
        self,
        texts: Texts,
        longest: int,
        length: DraftLength,
        sampling: Sampling,
        generator: "torch.Generator | None",
    ) -> Proposal:
        """Continue each text by the draft model."""
        self._warn_beyond_positions(max(map(len, texts)) + longest - 1)
        ids = self._unread(texts)
        if sampling.greedy and isinstance(length, FixedLength):  # nothing to decide between tokens
            draft = Proposal(
                self.draft.greedy_draft(ids, self._cache, longest, self._vocabulary), [longest] * len(texts)
            )
        else:
            draft = self._one_by_one(ids, longest, length, sampling, generator)
        # The last proposed token has not been read.
        self._read = [len(text) + draft.tokens.shape[1] - 1 for text in texts]
        return draft

    def _one_by_one(
        self, ids: "torch.Tensor", longest: int, length: DraftLength, sampling: Sampling, generator
    ) -> Proposal:
        import torch

        tokens, rows = [], []
        for _ in range(longest):
            logits = self.draft.logits(self.draft.forward(ids, self._cache)[:, -1])[:, : self._vocabulary]
            if sampling.greedy:
                chosen = logits.argmax(-1)
            else:
                q = probabilities(logits, sampling)
                rows.append(q.where(q[:, :1].isfinite(), 1 / q.shape[-1]))  # a damaged draft must not stop the target
                chosen = draw(rows[-1], generator)
            ids = self.draft.token_ids_of(chosen).unsqueeze(-1)
            tokens.append(ids)
            if not length.goes_on(logits, chosen):
                break
        q = self._widened(rows) if rows else None
        return Proposal(torch.cat(tokens, 1), [len(tokens)] * len(ids), q)

    def _warn_of_damage(self, hidden: "torch.Tensor") -> None:
        if "damage" not in self._warned_of and not hidden.isfinite().all():
            log.warning("draft %s computes NaN or infinity: its drafts are useless, the answers right", self.draft.name)
            self._warned_of.add("damage")

    def _warn_beyond_positions(self, read: int) -> None:
        """Warn once where the draft reads more tokens than it has positions: it was not trained on such texts."""
        if "positions" not in self._warned_of and read > self.draft.max_positions:
            log.warning(
                "draft %s has %d positions, and drafts beyond them now: few of its tokens may be accepted there, the "
                "answers are right; for speed take a draft with more positions, or keep prompt and answer shorter",
                self.draft.name,
                self.draft.max_positions,
            )
            self._warned_of.add("positions")

    def _unread(self, texts: Texts) -> "torch.Tensor":
        """Return the tokens [batch, n] at the end of each text that the cache does not hold.

        The accepted part of the last draft is in the cache; one token of the target followed it. Where the whole draft
        was accepted, its last token was never read either: n is 2, and the other rows read one token again.
        """
        cached_lengths = [min(before, len(text) - 1) for before, text in zip(self._read, texts, strict=True)]
        count = max(len(text) - cached for cached, text in zip(cached_lengths, texts, strict=True))
        self._cache.trim([len(text) - count for text in texts])
        return self.draft.tensor([self._known(text[-count:]) for text in texts])

    def _known(self, ids: Sequence[int]) -> list[int]:
        """Map ids of the target's padding rows, which the draft may lack, to the draft's last id."""
        return [min(token, self.draft.vocabulary - 1) for token in ids]

    def _widened(self, rows: list["torch.Tensor"]) -> "torch.Tensor":
        """Stack distributions to [batch, K, target's vocabulary]; tokens outside the draft's have probability 0."""
        import torch

        q = torch.stack(rows, 1)
        ids = (
            torch.arange(q.shape[-1], device=q.device)
            if self.draft.allowed_tokens is None
            else self.draft.allowed_tokens
        )
        return q.new_zeros(*q.shape[:-1], self._vocabulary).index_copy_(-1, ids, q)


def check_vocabulary(target: Backend, draft: Backend) -> None:
    """Raise ModelError unless every token has the same id in both; models of one family may pad it differently."""
    if target.tokens_hash != draft.tokens_hash:
        refuse_other_tokens(f"target {target.name} and draft {draft.name}", target.tokens, draft.tokens)
