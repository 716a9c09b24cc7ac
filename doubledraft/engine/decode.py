"""Speculative decoding in one loop: token ids in, token ids and metrics out.

    read the prompts, and emit the target's first token
    until every answer has ended:
        a proposer drafts up to K tokens
        the target reads the last token and the draft in one pass, which gives its own choice at each position
        drafted tokens are kept as far as the accept rule allows, and one token of the target follows them
        the target's cache drops what was not kept, by setting its length

With a proposer that proposes nothing this is plain decoding. Rows of a batch accept different numbers of tokens; a row
whose answer has ended stays in the batch unchanged. The host waits for the device once per step, to read the step's
tokens; it checks for the end of an answer, so nothing is emitted after a stop token or beyond the limit.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from doubledraft.engine.backend import Backend, prefill
from doubledraft.engine.clock import StepTimer
from doubledraft.engine.cuda_graphs import captures
from doubledraft.engine.decoding_metrics import Answer, DecodingStep, Metrics, StepTime
from doubledraft.engine.draft_length import DraftLength, FixedLength
from doubledraft.engine.kv_cache import CacheFull
from doubledraft.engine.proposers import DraftModel, NoDraft, Proposal, Proposer, empty
from doubledraft.engine.sampling import Acceptance, Sampling, accept, accept_greedy, best_tokens, draw, probabilities
from doubledraft.models.folder import ModelError

if TYPE_CHECKING:
    import torch

GREEDY = Sampling()


def decode(
    target: Backend, input_ids: Sequence[Sequence[int]], max_new_tokens: int, **settings
) -> tuple[list[list[int]], Metrics]:
    """Answer a batch of prompts one token per step; otherwise as `speculative_decode`, settings included."""
    return speculative_decode(target, NoDraft(), input_ids, max_new_tokens, **settings)


def speculative_decode(
    target: Backend,
    draft: Backend | Proposer,
    input_ids: Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    draft_length: int | DraftLength = 5,
    stop_ids: Collection[int] = (),
    sampling: Sampling = GREEDY,
    generator: "torch.Generator | None" = None,
) -> tuple[list[list[int]], Metrics]:
    """Answer a batch of prompts; return the emitted ids of each, a stop token included, and the run's metrics.

    `input_ids` are lists of token ids, of any lengths. Raise ValueError for prompts that leave no room for
    `max_new_tokens` within the target's positions, and ModelError for a draft of another vocabulary.
    """
    *_, metrics = stream(
        target,
        draft,
        input_ids,
        max_new_tokens,
        draft_length=draft_length,
        stop_ids=stop_ids,
        sampling=sampling,
        generator=generator,
    )
    return [answer.token_ids for answer in metrics.answers], metrics


def stream(
    target: Backend,
    draft: Backend | Proposer,
    input_ids: Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    draft_length: int | DraftLength = 5,
    stop_ids: Collection[int] = (),
    sampling: Sampling = GREEDY,
    generator: "torch.Generator | None" = None,
) -> Iterator[Metrics]:
    """Answer as `speculative_decode` does, and yield the metrics after the prompts' pass and after every step.

    It is the same object each time, grown. The time that a caller takes between steps does not count.
    """
    proposer = DraftModel(draft) if isinstance(draft, Backend) else draft
    length = FixedLength(draft_length) if isinstance(draft_length, int) else draft_length
    rows = [_Row(prompt, max_new_tokens, stop_ids) for prompt in checked_prompts(target, input_ids, max_new_tokens)]
    decoding = _Decoding(target, proposer, length, rows, sampling, generator)
    decoding.read_prompts()
    metrics = Metrics([row.answer for row in rows], decoding.prefill_seconds, decoding.times)
    yield metrics
    while decoding.goes_on:
        decoding.step()
        yield metrics


class _Row:
    """One row of the batch: its text, its answer, and how many tokens may follow."""

    def __init__(self, prompt: Sequence[int], limit: int, stop_ids: Collection[int]) -> None:
        self.text = list(prompt)
        self.room = limit  # tokens that may still be emitted, 0 once the answer has ended
        self.answer = Answer(len(prompt))
        self._stop_ids = stop_ids

    def take(self, tokens: Sequence[int]) -> int:
        """Emit tokens up to the first stop token; return how many."""
        for count, token in enumerate(tokens, start=1):
            self.text.append(token)
            self.answer.token_ids.append(token)
            self.room -= 1
            if token in self._stop_ids:
                self.answer.finish_reason, self.room = "stop", 0
                return count
        return len(tokens)

    def note(self, drafted: list[int], agreed: list[int], accepted: int, token: int) -> DecodingStep:
        """Emit the accepted tokens of a draft and the token that follows them."""
        emitted = self.take([*drafted[:accepted], token])
        self.answer.steps.append(DecodingStep(drafted, list(map(bool, agreed)), accepted, emitted))
        return self.answer.steps[-1]


def checked_prompts(
    target: Backend, input_ids: Sequence[Sequence[int]], max_new_tokens: int, names: Sequence[str] = ()
) -> list[list[int]]:
    """Return the prompts as lists; raise ValueError where the target cannot read and answer them.

    `names` are what a message calls them; without, it gives their index.
    """
    if target.allowed_tokens is not None:
        raise ValueError(
            f"{target.name} has a draft vocabulary of {len(target.allowed_tokens)} tokens: a target needs all of them"
        )
    prompts = [[int(token) for token in prompt] for prompt in input_ids]
    if not prompts or max_new_tokens < 1:
        raise ValueError(f"expected prompts and at least 1 new token, found {len(prompts)} and {max_new_tokens}")
    for index, prompt in enumerate(prompts):
        name = names[index] if names else f"prompt {index}"
        if not prompt or not 0 <= min(prompt) <= max(prompt) < target.vocabulary:
            raise ModelError(f"{name} should be token ids from 0 to {target.vocabulary - 1}, found {prompt!r:.80}")
        if len(prompt) + max_new_tokens > target.max_positions:
            raise CacheFull(
                f"{name} has {len(prompt)} tokens, but {target.name} has {target.max_positions} positions, and "
                f"with {max_new_tokens} new tokens it would need more: shorten the prompt or ask for fewer"
            )
    return prompts


class _Decoding:
    """A batch that is being answered, one step at a time."""

    def __init__(
        self,
        target: Backend,
        proposer: Proposer,
        length: DraftLength,
        rows: list[_Row],
        sampling: Sampling,
        generator: "torch.Generator | None",
    ) -> None:
        self.target, self.proposer, self.length, self.rows = target, proposer, length, rows
        self.sampling, self.generator = sampling, generator
        self.times: list[StepTime] = []
        self.clock = StepTimer(target.device)

    @property
    def goes_on(self) -> bool:
        """Whether an answer is unfinished."""
        return any(row.room for row in self.rows)

    def read_prompts(self) -> None:
        """Read the prompts into both caches, and emit the first token of each answer."""
        prompts = [row.text for row in self.rows]
        longest = max(len(row.text) + row.room for row in self.rows)
        capacity = longest + self.length.longest  # a row with little room is padded to the longest draft
        self.cache = self.target.new_cache(len(prompts), capacity)
        hidden = prefill(self.target, prompts, self.cache)
        self.proposer.start(self.target, prompts, capacity, hidden)
        logits = self.target.logits(hidden)
        tokens = best_tokens(logits) if self.sampling.greedy else draw(self._probabilities(logits), self.generator)
        for row, token in zip(self.rows, tokens.tolist(), strict=True):
            if token < 0:
                raise self._damaged()
            row.take([token])
        self.prefill_seconds = sum(self.clock.step())

    def step(self) -> None:
        """Draft, verify, emit what is accepted and one token more, and drop the rest."""
        captured = captures()
        self.clock.start()
        draft = self._draft()
        self.clock.part()
        steps = self._emit(draft, self._verify(draft))
        self.cache.trim([len(row.text) - 1 for row in self.rows])  # the last emitted token is not in the cache yet
        self.times.append(StepTime(draft.tokens.shape[1], *self.clock.step()))
        if captures() == captured:  # capturing a graph takes a hundred times as long as the step will from now on
            self.length.learn(steps, self.times[-1])

    def _draft(self) -> Proposal:
        """Draft no more than the answers have room for beside the token that follows."""
        self.length.begin([row.room > 0 for row in self.rows])
        longest = min(self.length.longest, max(row.room for row in self.rows) - 1)
        if not longest:
            return empty(len(self.rows), self.target)
        texts = [row.text for row in self.rows]
        draft = self.proposer.propose(texts, longest, self.length, self.sampling, self.generator)
        fitting = [min(count, max(row.room - 1, 0)) for count, row in zip(draft.lengths, self.rows, strict=True)]
        width = max(fitting)  # drafts of finished rows may be longer; they need not be read
        return Proposal(draft.tokens[:, :width], fitting, None if draft.q is None else draft.q[:, :width])

    def _verify(self, draft: Proposal) -> Acceptance:
        """Read the last token and the draft in one pass of the target, and apply the accept rule."""
        import torch

        last, lengths = (self.target.tensor(values) for values in ([row.text[-1:] for row in self.rows], draft.lengths))
        logits = self.target.logits(self.target.forward(torch.cat((last, draft.tokens), 1), self.cache))
        if self.sampling.greedy:
            return accept_greedy(best_tokens(logits), draft.tokens, lengths)
        return accept(self._probabilities(logits), draft.q, draft.tokens, lengths, self.generator)

    def _emit(self, draft: Proposal, acceptance: Acceptance) -> list[DecodingStep | None]:
        """Bring the step's tokens to the host in one transfer; return each row's step, None where it had ended."""
        import torch

        counts = torch.stack((acceptance.accepted, acceptance.next_token), 1)
        results = torch.cat((counts, acceptance.agreed, draft.tokens), 1).tolist()
        width, steps = draft.tokens.shape[1], []
        for row, length, (accepted, token, *rest) in zip(self.rows, draft.lengths, results, strict=True):
            agreed, drafted = rest[:length], rest[width : width + length]
            if row.room and token < 0:
                raise self._damaged()
            steps.append(row.note(drafted, agreed, accepted, token) if row.room else None)
        return steps

    def _damaged(self) -> ModelError:
        return ModelError(
            f"{self.target.name}: logits are NaN or infinite in step {len(self.times)}: weights are damaged, or exceed "
            f"the range of {self.target.dtype}; fetch or make the model again, or use another"
        )

    def _probabilities(self, logits: "torch.Tensor") -> "torch.Tensor":
        p = probabilities(logits, self.sampling)
        if not p[..., 0].isfinite().all():  # a draw would fail too, without naming the model
            raise self._damaged()
        return p
