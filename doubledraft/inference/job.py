"""The settings of one run of an engine, in plain values, and the questions as an engine gets them."""

from dataclasses import dataclass, replace

from doubledraft.engine.draft_length import LONGEST_DRAFT
from doubledraft.engine.sampling import COLDEST

NATIVE_ONLY = {  # what vLLM does in place of a setting, and the value to give it then
    "draft_length": ("vLLM drafts the same number of tokens in every step", "a number"),
    "draft_vocabulary": ("vLLM computes the whole output head of a draft model", "null"),
}
HEADS = ("eagle3", "dflash", "dspark")  # drafts that read the target's hidden states, as vLLM names them


class JobError(ValueError):
    """A job that cannot be run; the message names the value and what to do."""


@dataclass(frozen=True, slots=True)
class EncodedQuestion:
    """A question as the model reads it."""

    id: str
    token_ids: list[int]
    seed: int = 0  # of the draws, where answers are sampled


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of the engine over a file of questions."""

    mode: str  # baseline | speculative | untrained | distill | cross_check: a label; steps of the first two are timed
    model: str  # folder of the target
    questions: str  # file of Question records
    prompt: str  # prompt file
    out: str = ""  # file of Generation records, like the next one for `inference.generate` alone
    run_out: str = ""  # JSON: how they were made
    max_tokens: int  # of an answer
    max_model_len: int  # tokens of prompt and answer
    concurrency: int  # requests in flight
    dtype: str
    seed: int  # of the engine, and of the draws of each answer
    temperature: float = 0.0  # of sampling, from all tokens; 0 takes the best token always
    samples: int = 1  # answers to each question, each by draws of its own
    kv_cache_gib: int  # vLLM on CPU
    gpu_memory_utilization: float  # vLLM on GPU
    tensor_parallel: int  # vLLM on GPU
    enforce_eager: bool  # vLLM
    engine: str = "vllm"  # vllm | native: whose module {engine}_engine answers
    few_shot: bool = False
    thinking: bool | None = None  # `enable_thinking` of the chat template; None leaves it out
    warmup: int = 0  # requests
    limit: int | None = None  # questions; None takes all
    method: str = "none"  # none | ngram | draft_model | one of HEADS
    draft: str = ""  # folder of the draft model or head
    parallel: bool = False  # vLLM: the draft proposes all its tokens in one pass, for which it must be trained
    draft_length: int | str = 0  # K, tokens per step; or "adaptive", as many as pay
    draft_vocabulary: int | None = None  # tokens that the draft may propose, the most frequent ones; None for all
    draft_vocabulary_from: str = ""  # file of Generation records, answers of the target, whose tokens those are
    int8_draft: bool = False  # native on CPU: the draft's weights are rounded to 8 bits
    sleeps: bool = False  # vLLM on GPU: its memory can be lent to another engine while it waits
    resume: bool = False  # append to `out` batch by batch, and continue what an earlier run left there

    def __post_init__(self) -> None:
        """Raise JobError for settings that contradict each other."""
        if self.engine not in ("vllm", "native"):
            raise JobError(f"engine: expected vllm or native, found {self.engine!r}")
        if self.method not in ("none", "ngram", "draft_model", *HEADS):
            methods = ", ".join(("none", "ngram", "draft_model", *HEADS))
            raise JobError(f"method: expected one of {methods}, found {self.method!r}")
        if (self.method in ("draft_model", *HEADS)) != bool(self.draft):
            raise JobError(f"draft: method {self.method} takes {'no' if self.draft else 'a'} draft model")
        if self.engine != "vllm" and (self.method in HEADS or self.parallel):
            raise JobError(f"method {self.method}, parallel {self.parallel}: only vLLM supports it; use engine vllm")
        if (self.method != "none") != (self.longest_draft > 0):
            raise JobError(f"draft_length: {self.draft_length} does not go with method {self.method}")
        if 0 != self.temperature < COLDEST:
            raise JobError(f"temperature {self.temperature}: expected 0, or at least {COLDEST}")
        if self.samples > 1 and not self.temperature:
            raise JobError(f"samples {self.samples}: at temperature 0 every answer to a question is the same")
        if bool(self.draft_vocabulary) != bool(self.draft_vocabulary_from):
            raise JobError("draft_vocabulary: expected both a number of tokens and a file of answers to count them in")
        if self.draft_vocabulary and self.method != "draft_model":
            raise JobError(f"draft_vocabulary: method {self.method} has no output head to cut")
        if self.int8_draft and (self.method != "draft_model" or self.engine == "vllm"):
            raise JobError(f"int8_draft: expected engine native and a draft model, found {self.engine}, {self.method}")
        for name, used in (("draft_vocabulary", self.draft_vocabulary), ("draft_length", self.adaptive)):
            if used and self.engine == "vllm":
                reason, instead = NATIVE_ONLY[name]
                raise JobError(f"{name} {getattr(self, name)}: {reason}; use engine native, or {instead}")

    @property
    def adaptive(self) -> bool:
        """Whether the length of each draft is chosen while decoding."""
        return self.draft_length == "adaptive"

    @property
    def longest_draft(self) -> int:
        """Return the most tokens that a step drafts; 0 without drafts."""
        return LONGEST_DRAFT if self.adaptive else self.draft_length


def without_draft(job: Job) -> Job:
    """Return the job with the target alone, otherwise the same."""
    nothing = {"draft": "", "parallel": False, "draft_length": 0, "draft_vocabulary": None, "draft_vocabulary_from": ""}
    return replace(job, method="none", int8_draft=False, **nothing)
