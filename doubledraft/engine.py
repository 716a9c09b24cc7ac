"""Speculative decoding that can be read in one sitting, and is exact: token ids in, token ids and metrics out.

One loop serves every way of decoding:

    read the prompts, and let the target say the first token
    until every answer has ended:
        a proposer drafts up to K tokens
        the target reads the last token and the draft in one pass, and so says what it would have said at each place
        drafted tokens are kept as far as the accept rule allows, and one token of the target follows them
        the target's cache forgets what was not kept, by setting its length

With a proposer that proposes nothing this is plain decoding. Rows of a batch keep different numbers of tokens; a row
whose answer has ended stays in the batch and stands still. The host waits for the device once a step, to read the
tokens of the step; it decides what ends an answer, so nothing is emitted after a stop token or beyond the limit.
"""

import time
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from doubledraft.backend import Backend
from doubledraft.decoding_metrics import Answer, Metrics, Step, StepTime
from doubledraft.draft_length import DraftLength, FixedLength
from doubledraft.kv_cache import CacheFull, KVCache
from doubledraft.proposers import Draft, DraftModel, NoDraft, Proposer, empty, prefill
from doubledraft.sampling import Sampling, Verdict, accept, accept_greedy, draw, probabilities

if TYPE_CHECKING:
    import torch

GREEDY = Sampling()


def decode(
    target: Backend,
    input_ids: Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    stop_ids: Collection[int] = (),
    sampling: Sampling = GREEDY,
    generator: "torch.Generator | None" = None,
) -> tuple[list[list[int]], Metrics]:
    """Answer a batch of prompts one token a step; as in `speculative_decode`."""
    return speculative_decode(
        target, NoDraft(), input_ids, max_new_tokens, stop_ids=stop_ids, sampling=sampling, generator=generator
    )


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
    """Answer a batch of prompts; gives the emitted ids of each, a stop token included, and what the run did.

    `input_ids` are lists of token ids, of different lengths if need be. Raises ValueError for prompts that leave no
    room for `max_new_tokens` within the target's positions, and ModelError for a draft of another vocabulary.
    """
    proposer = DraftModel(draft) if isinstance(draft, Backend) else draft
    length = FixedLength(draft_length) if isinstance(draft_length, int) else draft_length
    prompts = _checked(target, input_ids, max_new_tokens)
    capacity = max(map(len, prompts)) + max_new_tokens + length.longest  # a short row is padded to the longest draft
    rows = [_Row(prompt, max_new_tokens, stop_ids) for prompt in prompts]
    clock, times = _Clock(target.device), []
    cache = target.new_cache(len(rows), capacity)
    proposer.start(target, prompts, capacity)
    logits = target.logits(prefill(target, prompts, cache))
    for row, token in zip(rows, _first_tokens(logits, sampling, generator), strict=True):
        row.take([token])
    prefill_seconds = sum(clock.step())
    while any(row.room for row in rows):
        proposed = _propose(proposer, length, rows, target, sampling, generator)
        clock.part()
        steps = _verify(target, cache, rows, proposed, sampling, generator)
        times.append(StepTime(proposed.tokens.shape[1], *clock.step()))
        length.learn(steps, times[-1])
    answers = [row.answer for row in rows]
    return [answer.token_ids for answer in answers], Metrics(answers, prefill_seconds, times)


class _Row:
    """One text as it grows, and what is still to come of it."""

    def __init__(self, prompt: Sequence[int], limit: int, stop_ids: Collection[int]) -> None:
        self.text = list(prompt)
        self.room = limit  # tokens that may still be emitted, 0 once the answer has ended
        self.answer = Answer(len(prompt))
        self._stop_ids = stop_ids

    def take(self, tokens: Sequence[int]) -> int:
        """Emit tokens up to the first stop token; gives how many."""
        for count, token in enumerate(tokens, start=1):
            self.text.append(token)
            self.answer.token_ids.append(token)
            self.room -= 1
            if token in self._stop_ids:
                self.answer.finish_reason, self.room = "stop", 0
                return count
        return len(tokens)


def _checked(target: Backend, input_ids: Sequence[Sequence[int]], max_new_tokens: int) -> list[list[int]]:
    prompts = [[int(token) for token in prompt] for prompt in input_ids]
    if not prompts or max_new_tokens < 1:
        raise ValueError(f"expected prompts and at least 1 new token, found {len(prompts)} and {max_new_tokens}")
    for index, prompt in enumerate(prompts):
        if not prompt or not 0 <= min(prompt) <= max(prompt) < target.vocabulary:
            raise ValueError(
                f"prompt {index} should be token ids from 0 to {target.vocabulary - 1}, found {prompt!r:.80}"
            )
        if len(prompt) + max_new_tokens > target.max_positions:
            raise CacheFull(
                f"prompt {index} has {len(prompt)} tokens, but {target.name} has {target.max_positions} positions, and "
                f"with {max_new_tokens} new tokens it would need more: shorten the prompt or ask for fewer"
            )
    return prompts


def _propose(
    proposer: Proposer,
    length: DraftLength,
    rows: Sequence[_Row],
    target: Backend,
    sampling: Sampling,
    generator: "torch.Generator | None",
) -> Draft:
    """Draft as far as some answer still has room for all of it and the target's own token."""
    length.begin([row.room > 0 for row in rows])
    longest = min(length.longest, max(row.room for row in rows) - 1)
    if not longest:
        return empty(len(rows), target.device)
    draft = proposer.propose([row.text for row in rows], longest, length, sampling, generator)
    fitting = [min(count, max(row.room - 1, 0)) for count, row in zip(draft.lengths, rows, strict=True)]
    return Draft(draft.tokens, fitting, draft.q)


def _verify(
    target: Backend,
    cache: KVCache,
    rows: Sequence[_Row],
    draft: Draft,
    sampling: Sampling,
    generator: "torch.Generator | None",
) -> list[Step | None]:
    """Let the target judge the drafts in one pass, and emit what it keeps; None for rows that had ended before."""
    import torch

    last = torch.tensor([row.text[-1:] for row in rows], device=target.device)
    logits = target.logits(target.forward(torch.cat((last, draft.tokens), 1), cache))
    verdict = _judge(logits, draft, sampling, generator)
    found = torch.cat((verdict.accepted.unsqueeze(1), verdict.next_token.unsqueeze(1), verdict.agreed, draft.tokens), 1)
    steps = []
    for row, count, (accepted, token, *rest) in zip(rows, draft.lengths, found.tolist(), strict=True):
        if not row.room:
            steps.append(None)
            continue
        agreed, drafted = map(bool, rest[:count]), rest[draft.tokens.shape[1] :][:count]
        emitted = row.take([*drafted[:accepted], token])
        steps.append(Step(drafted, list(agreed), accepted, emitted))
        row.answer.steps.append(steps[-1])
    cache.trim([len(row.text) - 1 for row in rows])  # the target's own last token is read in the next step
    return steps


def _judge(logits: "torch.Tensor", draft: Draft, sampling: Sampling, generator: "torch.Generator | None") -> Verdict:
    import torch

    lengths = torch.tensor(draft.lengths, device=logits.device)
    if sampling.greedy:
        return accept_greedy(logits.argmax(-1), draft.tokens, lengths)
    return accept(probabilities(logits, sampling), draft.q, draft.tokens, lengths, generator)


def _first_tokens(logits: "torch.Tensor", sampling: Sampling, generator: "torch.Generator | None") -> list[int]:
    tokens = logits.argmax(-1) if sampling.greedy else draw(probabilities(logits, sampling), generator)
    return tokens.tolist()


class _Clock:
    """Times a step and its first part. On a GPU the host runs ahead, so the device itself notes when a part ends."""

    def __init__(self, device: "torch.device") -> None:
        self._cuda = device.type == "cuda"
        self._start = self._middle = self._now()

    def part(self) -> None:
        """End the first part of a step."""
        self._middle = self._now()

    def step(self) -> tuple[float, float]:
        """End a step, whose results the host has; gives the seconds of its first part and of the rest."""
        end = self._now()
        seconds = self._seconds(self._start, self._middle), self._seconds(self._middle, end)
        self._start = self._middle = end
        return seconds

    def _now(self):
        if not self._cuda:
            return time.perf_counter()
        import torch

        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _seconds(self, start, end) -> float:
        if not self._cuda:
            return end - start
        end.synchronize()  # no wait: the host has read what came before it
        return start.elapsed_time(end) / 1000
