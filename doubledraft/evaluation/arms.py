"""Times ways of answering in turn: one request at a time, all arms on a question before the next question.

A machine that slows down so slows all arms alike; which arm is first changes from question to question. Every arm first
answers some warm-up questions, which are not timed: they compile code and touch memory. An adaptive draft length
belongs to its arm and keeps its statistics across questions.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from doubledraft.engine.backend import Backend
from doubledraft.engine.decode import speculative_decode
from doubledraft.engine.decoding_metrics import Answer, Metrics
from doubledraft.engine.draft_length import DraftLength, FixedLength
from doubledraft.engine.proposers import NoDraft, Proposer
from doubledraft.evaluation.interleave import BASELINE
from doubledraft.inference.tokenizing import shared_beginning
from doubledraft.records import Generation

Answered = TypeVar("Answered")


@dataclass(frozen=True, slots=True)
class Arm:
    """A way of answering: who drafts, and how many tokens per step."""

    name: str
    proposer: Proposer
    draft_length: DraftLength


@dataclass(frozen=True, slots=True)
class Timing:
    """One answer of one arm."""

    arm: str
    question: int  # index
    repeat: int
    seconds: float  # wall time of the call, the prompt's pass included
    metrics: Metrics

    @property
    def answer(self) -> Answer:
        """What was emitted, step by step."""
        return self.metrics.answers[0]

    def as_generation(self, id: str, text: str = "") -> Generation:
        """Return the answer as the record that every engine of the study writes."""
        return replace(
            self.answer.as_generation(id, batch=self.question, batch_seconds=self.seconds, text=text),
            time_to_first_token=self.metrics.prefill_seconds,
            latency=self.metrics.seconds,
        )


def plain() -> Arm:
    """Return the arm that drafts nothing."""
    return Arm(BASELINE, NoDraft(), FixedLength(1))


def time_in_turns(
    target: Backend,
    arms: Sequence[Arm],
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    stop_ids: Collection[int] = (),
    repeats: int = 1,
    warmup: int = 1,
) -> list[Timing]:
    """Answer every prompt by every arm of our engine, greedily, in turns as `take_turns` has them.

    What all prompts begin with is read once, before.
    """

    def answering(arm: Arm) -> Callable[[Sequence[int]], Metrics]:
        settings = {"draft_length": arm.draft_length, "stop_ids": stop_ids}
        return lambda prompt: speculative_decode(target, arm.proposer, [prompt], max_new_tokens, **settings)[1]

    beginning = shared_beginning(prompts)
    for reader in (target, *(arm.proposer for arm in arms)):
        reader.read_beginning(beginning)
    turns = take_turns({arm.name: answering(arm) for arm in arms}, prompts, repeats=repeats, warmup=warmup)
    return [Timing(*turn) for turn in turns]


def take_turns(
    arms: Mapping[str, Callable[[Sequence[int]], Answered]],
    prompts: Sequence[Sequence[int]],
    *,
    repeats: int,
    warmup: int,
) -> Iterator[tuple[str, int, int, float, Answered]]:
    """Answer every prompt by every arm, `repeats` times; `warmup` prompts come before and are not timed.

    Yields arm, index of the prompt, repeat, wall seconds, and what the arm returned.
    """
    for answer in arms.values():
        for prompt in prompts[:warmup]:
            answer(prompt)
    names = list(arms)
    for repeat in range(repeats):
        for index, prompt in enumerate(prompts):
            first = (repeat + index) % len(names)
            for name in (*names[first:], *names[:first]):
                began = time.perf_counter()
                answered = arms[name](prompt)
                yield name, index, repeat, time.perf_counter() - began, answered
