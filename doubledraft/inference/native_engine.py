"""Our own engine as an engine of the study; unlike vLLM it reports which tokens were drafted and agreed.

Questions in flight together are one batch, which lasts until its longest answer has ended. The prompt's pass drafts
nothing and counts as a step, as in vLLM; near its limit an answer takes shorter drafts, where vLLM drafts K and cuts.
A row's latency ends with its own last step.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

from doubledraft import machine
from doubledraft.engine.backend import Backend
from doubledraft.engine.decode import decode, speculative_decode
from doubledraft.engine.decoding_metrics import DecodingStep, Metrics, by_token_class
from doubledraft.engine.draft_length import by_setting
from doubledraft.engine.draft_vocabulary import learn_from_files
from doubledraft.engine.load import create_backend
from doubledraft.engine.lossless import top2_gap
from doubledraft.engine.proposers import DraftModel, NGram
from doubledraft.engine.sampling import Sampling
from doubledraft.inference import host
from doubledraft.inference.job import EncodedQuestion, Job
from doubledraft.inference.tokenizing import stop_ids
from doubledraft.models.inspect import load_tokenizer
from doubledraft.records import Generation


class NativeEngine:
    """`speculative_decode` on a job's models."""

    def __init__(self, job: Job) -> None:
        """Load the models."""
        machine.use_own_cores()
        self._job = job
        self._tokenizer = load_tokenizer(job.model)
        self._stop_ids = stop_ids(job.model, self._tokenizer)
        self._target = create_backend(job.model, job.dtype, machine.device())
        self._allowed = (
            learn_from_files([job.draft_vocabulary_from], job.draft_vocabulary) if job.draft_vocabulary else None
        )
        self._draft = self._load_draft() if job.draft else None
        self._proposer = DraftModel(self._draft) if self._draft else NGram()
        self._length = None if job.method == "none" else by_setting(job.draft_length)  # adaptive: learns across calls

    def _load_draft(self) -> Backend:
        device = machine.device()
        int8 = self._job.int8_draft and device == "cpu"
        return create_backend(self._job.draft, self._job.dtype, device, allowed_tokens=self._allowed, int8=int8)

    def kernel(self) -> str:
        """Return what runs a pass of the target."""
        return self._target.kernel

    def draft_vocabulary(self) -> int | None:
        """Return how many tokens the draft model may propose; None for all."""
        return len(self._allowed) if self._allowed else None

    def draft_dtype(self) -> str | None:
        """Return the type of the draft model's weights; None without a draft model."""
        return self._draft and self._draft.weights_dtype

    def read_beginning(self, ids: Sequence[int]) -> int:
        """Keep the keys and values of what all prompts begin with, in target and draft; return how many tokens."""
        self._target.read_beginning(ids)
        self._proposer.read_beginning(ids)
        return len(ids)

    def answer(self, questions: Sequence[EncodedQuestion]) -> list[Generation]:
        """Answer together, as one batch."""
        metrics = self._decode(questions)
        ended = metrics.elapsed()
        return [
            replace(
                answer.as_generation(question.id),
                time_to_first_token=ended[0],
                latency=ended[len(answer.steps)],
                step_seconds=metrics.step_times()[: 1 + len(answer.steps)],
            )
            for question, answer in zip(questions, metrics.answers, strict=True)
        ]

    def step_seconds(self, batches: Sequence[Sequence[EncodedQuestion]]) -> dict[str, float | None]:
        """Answer batches again, and return the medians of `Metrics.step_seconds`."""
        times = chain.from_iterable(self._decode(batch).times for batch in batches)
        return Metrics([], 0.0, list(times)).step_seconds()

    def top2_gaps(self, prefixes: Sequence[list[int]]) -> list[float]:
        """Return the log-probability gap of the target's two best next tokens after every prefix."""
        return [top2_gap(self._target, prefix) for prefix in prefixes]

    def token_classes(self, rows: Sequence[Generation]) -> dict[str, dict[str, int]] | None:
        """Count drafted, accepted and agreed tokens by class; None where nothing is drafted."""
        if self._job.method == "none":
            return None
        steps = [
            DecodingStep(drafted, agreed, accepted, 0)
            for row in rows
            for drafted, agreed, accepted in zip(row.drafts, row.agreed, row.accepted_per_step, strict=True)
        ]
        return by_token_class(steps, lambda token: self._tokenizer.decode([token]), self._stop_ids)

    def _decode(self, questions: Sequence[EncodedQuestion]) -> Metrics:
        import torch

        prompts, job = [question.token_ids for question in questions], self._job
        settings = {
            "stop_ids": self._stop_ids,
            "sampling": Sampling(job.temperature),
            "generator": torch.Generator(self._target.device).manual_seed(questions[0].seed),  # shared by the batch
        }
        if job.method == "none":
            return decode(self._target, prompts, job.max_tokens, **settings)[1]
        settings["draft_length"] = self._length
        return speculative_decode(self._target, self._proposer, prompts, job.max_tokens, **settings)[1]


if __name__ == "__main__":
    host.serve(NativeEngine)
