"""What speculation is worth at every load: as `doubledraft advise` predicts it, and as the load grid measured it."""

from dataclasses import dataclass

from doubledraft.stats import Interval
from doubledraft.summaries.draft_audit import DraftAcceptance
from doubledraft.summaries.provenance import Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadCosts:
    """Median seconds of the parts of decoding, for all requests in flight together."""

    load: int  # requests in flight
    answer_tokens: float  # mean, of the answers that are predicted
    prefill: float  # the prompts' pass without a draft, and the first token
    draft_prefill: float  # the same where the draft reads the prompts too
    target: float  # a plain step
    draft: float  # one drafted token of every request
    verify: dict[str, float]  # a verification, by draft length K: a short and a long one
    drift: float | None = None  # of the prompts' pass without a draft: its time after all else / before; null in a grid


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadAdvice:
    """What drafts are worth with some requests in flight, by the cost model."""

    costs: LoadCosts
    speedups: dict[str, float]  # predicted, by draft length K
    best_draft_length: int  # 0 where drafting does not pay
    best_speedup: float
    acceptance_needed: float | None  # least alpha at which some K pays; null where even 1 is too little
    tokens_per_second: float  # without the draft, all requests together
    usd_per_million_tokens: float | None  # without the draft; null where no price was given
    usd_per_million_tokens_drafted: float | None  # at the best K


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """Whether a draft is worth serving beside a target: `advice.json`."""

    target: str
    draft: str
    verdict: str  # in a sentence
    notes: list[str]  # what to know before trusting it
    acceptance: DraftAcceptance  # on the target's own answers
    per_token_acceptance: float  # alpha that gives the replayed tokens per step at the best K of one request, or at 4
    loads: list[LoadAdvice]  # by requests in flight
    off_from: int | None  # requests in flight from which on drafting should be off; null where it pays at the most
    speculative_config: dict[str, object] | None  # for vLLM; null where drafting does not pay
    dtype: str
    seconds: float  # that the advice took
    provenance: Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class GridPoint:
    """One way of drafting at one load."""

    load: int  # requests in flight
    drafting: str  # K, or adaptive; 0 is plain decoding
    tokens_per_second: float  # all requests together
    tokens_per_step: float | None = None  # null, like what follows, for plain decoding
    speedup: Interval | None = None  # over plain decoding at the same load; blocks are resampled
    predicted: float | None = None  # by the cost model, with these tokens per step; null for adaptive drafts


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadGrid:
    """Draft lengths at several loads, timed in turns: `load_grid.json`."""

    engine: str  # vllm | native
    residency: str  # how the engines shared the machine: both | sleep | restart
    blocks: int
    points: list[GridPoint]
    costs: list[LoadCosts]  # that the predictions are made of
    best: dict[str, int]  # measured best K by load, 0 where none is faster than plain decoding
    off_from: int | None  # requests in flight from which on drafting should be off; null where it pays at the most
    speculative_config: dict[str, object] | None  # for vLLM; null where drafting does not pay
    provenance: Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedPoint:
    """A server at one rate of requests; times are medians in seconds, queueing included."""

    arm: str  # alone | with the draft
    rate: float  # requests per second that were sent
    n: int  # requests that were answered
    failed: int
    requests_per_second: float  # answered
    tokens_per_second: float
    time_to_first_token: float
    time_to_first_token_p90: float | None  # null, like the next one, below 64 requests
    between_tokens: float  # after the first, the mean of a request
    between_tokens_p90: float | None
    latency: float  # of the whole answer
    acceptance_rate: float | None  # accepted / drafted, as the server counts it; null without a draft


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedLoad:
    """vLLM's server with and without the draft, at several request rates: `served_load.json`."""

    draft_length: int  # K
    points: list[ServedPoint]
    provenance: Provenance
