"""The settings of one run of an engine, in plain values, and the questions as an engine gets them."""

from dataclasses import dataclass


class JobError(ValueError):
    """A job that cannot be run; the message names the value and what to do."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question as the model reads it."""

    id: str
    token_ids: list[int]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of the engine over a file of questions."""

    mode: str  # baseline | speculative | untrained | distill | cross_check: a label; steps of the first two are timed
    model: str  # folder of the target
    questions: str  # file of Question records
    prompt: str  # prompt file
    out: str  # file of Generation records
    run_out: str  # JSON: how they were made
    max_tokens: int  # of an answer
    max_model_len: int  # tokens of prompt and answer
    concurrency: int  # requests in flight
    dtype: str
    seed: int
    kv_cache_gib: int  # vLLM on CPU
    gpu_memory_utilization: float  # vLLM on GPU
    tensor_parallel: int  # vLLM on GPU
    enforce_eager: bool  # vLLM
    engine: str = "vllm"  # vllm | native: whose module {engine}_engine answers
    few_shot: bool = False
    thinking: bool | None = None  # `enable_thinking` of the chat template; None leaves it out
    warmup: int = 0  # requests
    limit: int | None = None  # questions; None takes all
    method: str = "none"  # none | draft_model | ngram
    draft: str = ""  # folder of the draft; draft_model only
    draft_length: int = 0  # K
    sleeps: bool = False  # vLLM on GPU: its memory can be lent to another engine while it waits
    resume: bool = False  # append to `out` batch by batch, and continue what an earlier run left there

    def __post_init__(self) -> None:
        """Raise JobError for settings that contradict each other."""
        if self.engine not in ("vllm", "native"):
            raise JobError(f"engine: expected vllm or native, found {self.engine!r}")
        if self.method not in ("none", "draft_model", "ngram"):
            raise JobError(f"method: expected none, draft_model or ngram, found {self.method!r}")
        if (self.method == "draft_model") != bool(self.draft):
            raise JobError(f"draft: method {self.method} takes {'no' if self.draft else 'a'} draft model")
        if (self.method != "none") != (self.draft_length > 0):
            raise JobError(f"draft_length: {self.draft_length} does not go with method {self.method}")
