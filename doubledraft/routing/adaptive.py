"""Routers in Python: choose one of several drafts for a prompt, and decode with it.

The draft is chosen after the target's pass over the prompt, so a router that reads the target's hidden state needs no
pass of its own; its time is in the metrics. Only the chosen draft reads the prompt.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from doubledraft.engine.backend import Backend, Texts
from doubledraft.engine.decode import GREEDY, speculative_decode
from doubledraft.engine.decoding_metrics import Metrics
from doubledraft.engine.draft_length import DraftLength
from doubledraft.engine.proposers import DraftModel, Proposal
from doubledraft.engine.sampling import Sampling
from doubledraft.inference.teacher_forcing import simulated_tokens_per_step
from doubledraft.models.folder import ModelError
from doubledraft.models.inspect import load_tokenizer
from doubledraft.records import RecordError
from doubledraft.routing.features import SentenceEncoder, ngrams
from doubledraft.routing.hedge import Hedge, agreed
from doubledraft.routing.router import Router, load
from doubledraft.routing.self_prompt import around_user
from doubledraft.routing.train import ROUTERS
from doubledraft.summaries import json_file
from doubledraft.summaries.router_file import RoutersFile

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class RoutedAnswer:
    """An answer, how it was decoded, and which draft was chosen for it."""

    token_ids: list[int]
    metrics: Metrics  # those of `speculative_decode`, the router's time included
    draft: str  # name
    reason: str
    scores: dict[str, float]  # of each draft; the largest was chosen
    router_seconds: float


class PromptRouter(ABC):
    """Chooses one of several drafts for every prompt, and decodes with it."""

    @property
    @abstractmethod
    def drafts(self) -> list[str]:
        """Names of the drafts that it chooses among."""

    @abstractmethod
    def scores(self, prompt: Sequence[int], hidden: "torch.Tensor") -> dict[str, float]:
        """Return the score of every draft for a prompt, whose hidden state of the target is `hidden` [size]."""

    @abstractmethod
    def choose(self, scores: Mapping[str, float]) -> str:
        """Return the name of the draft to take."""

    @abstractmethod
    def reason(self, scores: Mapping[str, float]) -> str:
        """Return why a draft was chosen, in a line."""

    def route_and_decode(
        self,
        target: Backend,
        drafts: Mapping[str, Backend | DraftModel],
        input_ids: Sequence[int],
        max_new_tokens: int = 256,
        *,
        draft_length: int | DraftLength = 3,
        stop_ids: Collection[int] = (),
        sampling: Sampling = GREEDY,
        generator: "torch.Generator | None" = None,
    ) -> RoutedAnswer:
        """Answer one prompt of token ids with the draft chosen for it; settings are those of `speculative_decode`.

        Raise ModelError where `drafts` lacks one that the router chooses among.
        """
        if missing := [name for name in self.drafts if name not in drafts]:
            raise ModelError(f"the router chooses among {', '.join(self.drafts)}: expected a draft {missing[0]!r} too")
        models = {name: DraftModel(draft) if isinstance(draft, Backend) else draft for name, draft in drafts.items()}
        routed = Routed(self, models)
        [answer], metrics = speculative_decode(
            target,
            routed,
            [input_ids],
            max_new_tokens,
            draft_length=draft_length,
            stop_ids=stop_ids,
            sampling=sampling,
            generator=generator,
        )
        return RoutedAnswer(answer, metrics, routed.name, self.reason(routed.scores), routed.scores, routed.seconds)


class AdaptiveRouter(PromptRouter):
    """Chooses by a router that was trained on a matrix of drafts and prompts."""

    def __init__(self, router: Router, tokenizer: "PreTrainedTokenizerBase | None" = None) -> None:
        """Take a router; the tokenizer turns prompts into text for one that reads text."""
        self._router, self._tokenizer = router, tokenizer
        self._around = around_user(tokenizer) if tokenizer else ("", "")
        self._encoder = router.config.embedding and SentenceEncoder(router.config.embedding)

    @classmethod
    def from_config(cls, folder: str | Path, name: str | None = None) -> Self:
        """Load a router that a study has trained from its folder, `results/routing/router`: the chosen one, or `name`.

        Raise RecordError where it is no such folder, or its files do not fit; ModelError where a model that the router
        needs is gone.
        """
        file = Path(folder) / ROUTERS
        if not file.is_file():
            raise RecordError(
                f"{folder}: expected the folder of a study's routers, with {ROUTERS} in it, as the target "
                "results/routing/router makes it"
            )
        routers = json_file.read(file, RoutersFile)
        if (name or routers.chosen) not in routers.tokens_per_second:
            raise RecordError(f"{file}: no router {name!r}: expected {' or '.join(routers.tokens_per_second)}")
        router = load(Path(folder) / (name or routers.chosen))
        try:
            return cls(router, load_tokenizer(routers.target) if router.config.features != "hidden" else None)
        except ModelError as error:
            raise ModelError(f"{file}: a model that the router reads prompts with is gone: {error}") from None

    @property
    def drafts(self) -> list[str]:
        """Names of the drafts that it chooses among."""
        return list(self._router.config.drafts)

    def scores(self, prompt: Sequence[int], hidden: "torch.Tensor") -> dict[str, float]:
        """Return the score of every draft for a prompt, whose hidden state of the target is `hidden` [size]."""
        if self._router.config.features == "hidden":
            features = hidden.float().cpu().numpy()
        else:
            text = self._asked(prompt)
            features = self._encoder(text) if self._encoder else ngrams(text)
        if len(features) != self._router.inputs:
            raise ModelError(
                f"the router {self._router.config.name} takes {self._router.inputs} features of a prompt, found "
                f"{len(features)}: it was trained for another target"
            )
        return dict(zip(self.drafts, self._router.scores(features[None])[0].tolist(), strict=True))

    def _asked(self, prompt: Sequence[int]) -> str:
        """Return the text of a prompt; of a user's only message what the user wrote, from which routers learn."""
        text, (before, after) = self._tokenizer.decode(prompt), self._around
        if text.startswith(before) and text.endswith(after):
            return text[len(before) : len(text) - len(after)]
        return self._tokenizer.decode(prompt, skip_special_tokens=True)

    def choose(self, scores: Mapping[str, float]) -> str:
        """Return the name of the draft to take."""
        return max(scores, key=scores.get)

    def reason(self, scores: Mapping[str, float]) -> str:
        """Return the scores, the best first, and what gave them."""
        ordered = sorted(scores, key=scores.get, reverse=True)
        config = self._router.config
        ranking = ", ".join(f"{name} {scores[name]:+.3f}" for name in ordered)
        return f"{config.name} ({config.kind} on {config.features}): {ranking}"


class OnlineRouter(PromptRouter):
    """Learns from every answer instead of a matrix: each draft reads it and is scored by its tokens per step."""

    def __init__(self, drafts: Sequence[str], *, seed: int = 0) -> None:
        """Begin with equal probabilities for drafts by name; draws are seeded."""
        self._drafts, self._hedge, self._draws = list(drafts), Hedge(len(drafts)), np.random.default_rng(seed)

    @property
    def drafts(self) -> list[str]:
        """Names of the drafts that it chooses among."""
        return list(self._drafts)

    def route_and_decode(
        self,
        target: Backend,
        drafts: Mapping[str, Backend | DraftModel],
        input_ids: Sequence[int],
        max_new_tokens: int = 256,
        *,
        draft_length: int = 3,
        stop_ids: Collection[int] = (),
    ) -> RoutedAnswer:
        """Answer one prompt greedily, then learn from the answer; the seconds of both are the router's."""
        options = {"draft_length": draft_length, "stop_ids": stop_ids}
        answer = super().route_and_decode(target, drafts, input_ids, max_new_tokens, **options)
        began = time.perf_counter()
        models = [draft if isinstance(draft, Backend) else draft.draft for draft in map(drafts.get, self._drafts)]
        matches = [agreed(model, input_ids, answer.token_ids) for model in models]
        self._hedge.learn([simulated_tokens_per_step(flags, draft_length) / (draft_length + 1) for flags in matches])
        return replace(answer, router_seconds=answer.router_seconds + time.perf_counter() - began)

    def scores(self, prompt: Sequence[int], hidden: "torch.Tensor") -> dict[str, float]:
        """Return the probability of every draft, whatever the prompt."""
        return dict(zip(self._drafts, self._hedge.probabilities().tolist(), strict=True))

    def choose(self, scores: Mapping[str, float]) -> str:
        """Return a draft that is drawn by these probabilities."""
        return self._drafts[self._draws.choice(len(self._drafts), p=list(scores.values()))]

    def reason(self, scores: Mapping[str, float]) -> str:
        """Return the probabilities that the draft was drawn by."""
        shares = ", ".join(f"{name} {share:.0%}" for name, share in scores.items())
        return f"hedge (drawn after {self._hedge.rounds} answers): {shares}"


class Routed:
    """A proposer that chooses one of several drafts once the target has read the prompt, and proposes what it does."""

    def __init__(self, router: PromptRouter, drafts: Mapping[str, DraftModel]) -> None:
        self._router, self._drafts = router, drafts

    def read_beginning(self, ids: Sequence[int]) -> None:
        """Read once, in every draft, the tokens that prompts begin with."""
        for draft in self._drafts.values():
            draft.read_beginning(ids)

    def start(self, target: Backend, prompts: Texts, capacity: int, hidden: "torch.Tensor") -> None:
        """Choose, and let the chosen draft read the prompt."""
        began = time.perf_counter()
        self.scores = self._router.scores(prompts[0], hidden[0])
        self.name = self._router.choose(self.scores)
        self.seconds = time.perf_counter() - began
        self._drafts[self.name].start(target, prompts, capacity, hidden)

    def propose(self, texts: Texts, *settings: object) -> Proposal:
        """Continue the text by the chosen draft."""
        return self._drafts[self.name].propose(texts, *settings)
