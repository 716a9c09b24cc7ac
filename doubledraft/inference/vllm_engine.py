"""vLLM as an engine of the study: answers, step times, and the gap of the two best tokens.

Prefix caching and asynchronous scheduling are off in every mode: the first would make later questions cheaper, the
second does not support every way of drafting. Token ids go in and come out.

vLLM counts accepted tokens before it cuts an answer at its end or at `max_tokens`, so accepted + steps may exceed the
emitted tokens, by K at most. With n-grams some steps find nothing to draft, which vLLM does not count: those are
inferred from the emitted tokens, so the counters cannot be checked against the tokens. vLLM does not report which
tokens were drafted and rejected.
"""

import time
from collections.abc import Sequence
from dataclasses import replace

from doubledraft import machine
from doubledraft.inference import host
from doubledraft.inference.job import EncodedQuestion, Job, JobError
from doubledraft.log import log
from doubledraft.models.inspect import inspect
from doubledraft.records import Generation

TIMED = ("baseline", "speculative")  # modes whose steps are clocked
NGRAM = (2, 4)  # shortest and longest n-gram that is looked up


class VllmEngine:
    """vLLM on a job's models; the process must have the environment of `environment.engine_environment`."""

    def __init__(self, job: Job) -> None:
        """Start vLLM."""
        from vllm import LLM

        began = time.perf_counter()
        self._job = job
        for model in [job.model] + ([job.draft] if job.method == "draft_model" else []):  # a head is not a whole model
            inspect(model)  # vLLM leaves a missing tensor uninitialised
        self._llm = LLM(
            model=job.model,
            dtype=job.dtype,
            seed=job.seed,
            max_model_len=job.max_model_len,
            max_num_seqs=job.concurrency,
            gpu_memory_utilization=job.gpu_memory_utilization,
            tensor_parallel_size=job.tensor_parallel,
            enforce_eager=job.enforce_eager,
            enable_prefix_caching=False,
            async_scheduling=False,
            enable_sleep_mode=job.sleeps,
            disable_log_stats=False,  # else requests have no times
            **_clock(job),
            **_drafting(job),
        )
        log.info("engine started in %.0f s", time.perf_counter() - began)

    def kernel(self) -> str:
        """Return what runs a pass."""
        return "vllm"

    def draft_vocabulary(self) -> None:
        """Return None: a draft may propose all tokens."""

    def draft_dtype(self) -> str | None:
        """Return the type of the draft's weights; None without a draft model or head."""
        return self._job.dtype if self._job.draft else None

    def read_beginning(self, ids: Sequence[int]) -> int:
        """Return 0: vLLM's cache would hold whole prompts, so that those answered a second time are not read."""
        return 0

    def answer(self, questions: Sequence[EncodedQuestion]) -> list[Generation]:
        """Answer together, `job.concurrency` in flight."""
        sampling = {"temperature": self._job.temperature, "max_tokens": self._job.max_tokens}
        outputs = self._ask(
            [question.token_ids for question in questions],
            [{**sampling, "seed": question.seed} for question in questions],
        )
        return [_generation(self._job, question, output) for question, output in zip(questions, outputs, strict=True)]

    def step_seconds(self, batches: Sequence[Sequence[EncodedQuestion]]) -> dict[str, float | None]:
        """Answer batches with the clock in the engine running, and return the medians of `vllm_step_clock`."""
        self._llm.collective_rpc("start_step_clock")
        for batch in batches:
            self.answer(batch)
        return self._llm.collective_rpc("stop_step_clock", args=(self._job.draft_length,))[0]  # of the first GPU

    def top2_gaps(self, prefixes: Sequence[list[int]]) -> list[float]:
        """Return the log-probability gap of the target's two best next tokens after every prefix."""
        gaps = []
        for output in self._ask(prefixes, [{"max_tokens": 1, "logprobs": 2, "temperature": 0.0}] * len(prefixes)):
            best = sorted((token.logprob for token in output.outputs[0].logprobs[0].values()), reverse=True)
            gaps.append(best[0] - best[1])
        return gaps

    def token_classes(self, rows: Sequence[Generation]) -> None:
        """Return None: vLLM does not report which tokens it drafted."""

    def sleep(self) -> None:
        """Move the weights to the host's memory and drop keys and values, so that another engine has the GPU."""
        self._llm.sleep(level=1)

    def wake(self) -> None:
        """Move the weights back to the GPU."""
        self._llm.wake_up()

    def _ask(self, prompts: Sequence[list[int]], sampling: Sequence[dict[str, object]]) -> list:
        """Return vLLM's RequestOutput of every prompt, in order, each sampled in its own way."""
        from vllm import SamplingParams

        if not prompts:
            return []
        parameters = [SamplingParams(detokenize=False, **options) for options in sampling]
        return self._llm.generate([{"prompt_token_ids": ids} for ids in prompts], parameters, use_tqdm=False)


def _clock(job: Job) -> dict[str, str]:
    """Name the clock that vLLM mixes into its worker; it is not imported here, so that no answer depends on it."""
    return {"worker_extension_cls": "doubledraft.inference.vllm_step_clock.StepClock"} if job.mode in TIMED else {}


def _drafting(job: Job) -> dict[str, object]:
    if job.method == "none":
        return {}
    if job.temperature and machine.device() == "cpu":  # measured: 7 answers where 74 of 400 are due, with 0.32.0
        raise JobError(
            f"temperature {job.temperature}: vLLM's sampling of drafts on CPU does not keep the target's distribution; "
            "use engine native, a GPU, or temperature 0"
        )
    settings = {"method": job.method, "num_speculative_tokens": job.draft_length}
    if job.draft:
        settings |= {"model": job.draft, "draft_tensor_parallel_size": job.tensor_parallel}
        if job.parallel:
            settings["parallel_drafting"] = True
        if job.temperature:  # else drafts are greedy, and accepted with p of the draft's best token, which is less
            settings["draft_sample_method"] = "probabilistic"
    else:
        settings |= {"prompt_lookup_min": NGRAM[0], "prompt_lookup_max": NGRAM[1]}
    return {"speculative_config": settings, "per_request_spec_decode_metrics": "detailed"}


def _generation(job: Job, question: EncodedQuestion, output) -> Generation:
    emitted, times = output.outputs[0], output.metrics
    if emitted.finish_reason not in ("stop", "length"):
        raise RuntimeError(
            f"vLLM ended the answer to {question.id!r} with {emitted.finish_reason!r}, not stop or length"
        )
    row = Generation(
        id=question.id,
        prompt_tokens=len(question.token_ids),
        token_ids=list(emitted.token_ids),
        text="",
        finish_reason=emitted.finish_reason,
        batch=0,
        batch_seconds=0.0,
        time_to_first_token=times.first_token_ts - times.scheduled_ts,
        latency=times.last_token_ts - times.scheduled_ts,
        steps=len(emitted.token_ids),
    )
    if job.method == "none":
        return row
    drafts = emitted.spec_decode_metrics
    accepted = sum(drafts.per_step_accepted)
    verified = 1 + len(drafts.per_step_accepted)  # the first pass reads the prompt
    undrafted = len(row.token_ids) - verified - accepted  # n-gram steps that drafted nothing, inferred
    return replace(
        row,
        steps=verified + (max(undrafted, 0) if job.method == "ngram" else 0),
        drafted=drafts.num_draft_tokens,
        accepted=accepted,
        accepted_per_step=list(drafts.per_step_accepted),
    )


if __name__ == "__main__":  # vLLM's own processes import this module
    host.serve(VllmEngine)
