"""How a file of answers was made: the run file beside it, such as `baseline_run.json` of `baseline.jsonl`."""

from dataclasses import dataclass

from doubledraft.summaries.provenance import Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSeconds:
    """Median wall time of the parts of decoding; null where there are none, or where they were not timed."""

    target: float | None = None  # seconds of a target pass that yields one token
    draft: float | None = None  # seconds of one drafted token
    verify: float | None = None  # seconds of a target pass over a draft of K tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class PassBytes:
    """Bytes of weights that one forward pass reads."""

    target: int
    draft: int | None  # null without a draft model


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounts:
    """Drafted tokens of one class."""

    drafted: int
    accepted: int
    agreed: int  # would have been accepted at their place, counted past the first rejection too


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRun:
    """What an engine was set to, and what it and the machine cost."""

    engine: str  # vllm | native
    version: str
    kernel: str | None  # what runs a pass of the target; null in a run that is not timed
    dtype: str
    method: str  # how tokens are drafted: none | draft_model | ngram
    draft_length: int | None  # K, tokens drafted per step at most; null without drafts
    concurrency: int  # requests in flight
    step_seconds: StepSeconds
    bytes_per_pass: PassBytes | None
    read_bytes_per_second: float | None  # at which this machine reads memory
    token_classes: dict[str, TokenCounts] | None  # by what a token is; null where the engine does not record drafts
    adaptive: bool = False  # whether the length of each draft is chosen while decoding, up to draft_length
    temperature: float = 0.0  # of sampling; 0 is greedy
    samples: int = 1  # answers to each question
    draft_vocabulary: int | None = None  # tokens that the draft model may propose; null for all
    draft_dtype: str | None = None  # of the draft model's weights as passes read them; null where none was timed
    shared_prompt_tokens: int | None = None  # that all prompts begin with, read once; null where none was timed
    draft_adapter: str | None = None  # sha256 of the adapter that was merged into the draft model; null where none was


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFile(EngineRun):
    """The run file of a file of answers."""

    mode: str  # baseline | speculative | untrained | distill | cross_check
    n: int  # answers
    wall_seconds: float  # of all batches
    emitted_tokens: int
    peak_memory_gib: float  # of the process that ran the engine
    job: dict[str, object]  # what the engine was asked to do
    environment: dict[str, str | None]  # variables that the engine ran with
    provenance: Provenance
    keep: str | None = None  # which answers of a distilled set are kept: finished, or right ones alone
    kept: int | None = None  # how many those are
    dropped: dict[str, int] | None = None  # the others, by reason
