"""What choosing a draft for every prompt is worth: `score.json` of a study's routing."""

from dataclasses import dataclass

from doubledraft.stats import Interval
from doubledraft.summaries.provenance import Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftOnDomain:
    """One draft on the test prompts of one domain."""

    draft: str
    domain: str
    tokens_per_step: Interval  # tokens / target passes; over groups
    tokens_per_second: Interval
    speedup: Interval  # over the target alone on the same prompts


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnDraft:
    """A domain's own draft against the generic one, on the domain's test prompts; paired, over groups."""

    domain: str
    tokens_per_step: Interval  # own / generic: 1.05 is 5 % more
    speed: Interval  # tokens per second, own / generic


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingArm:
    """One way to choose a draft for every test prompt."""

    name: str
    tokens_per_second: Interval  # with the router's own time
    speedup: Interval  # over the target alone
    gain: Interval  # over the best single draft: 0.02 is 2 % faster; paired, over groups
    gap: Interval  # to the oracle: 0.02 is 2 % slower
    regret: float  # milliseconds per token lost against the oracle
    as_oracle: Interval  # share of the prompts for which it chooses the draft that the oracle does
    router_milliseconds: float  # per prompt, of the router alone; median
    chosen: dict[str, float]  # share of the prompts that each draft was chosen for


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOutDomain:
    """A router that saw no prompt of a domain, on that domain's test prompts."""

    domain: str
    router: str
    gain: Interval  # over the draft that was best for the other domains


@dataclass(frozen=True, slots=True, kw_only=True)
class ShuffledControl:
    """A router that learnt from advantages of other prompts: on average it must gain nothing."""

    router: str
    gain: Interval  # over the best single draft: the mean of many shuffles, its interval over them
    smallest: float  # of one shuffle
    largest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingScore:
    """Drafts by domain, every way to choose among them, and the controls."""

    conclusion: str  # in a sentence
    one_draft_is_enough: bool | None  # null where too few groups leave it undecided
    best_single: str  # chosen on validation prompts
    router: str  # chosen there too
    test_prompts: int
    groups: int  # of test prompts, the unit of the intervals
    draft_length: int
    turns: int
    steadiness: Interval | None  # seconds of the first turn / of the last one: 1 on a steady machine; null for one turn
    plain_tokens_per_second: Interval  # of the target alone
    drafts: list[DraftOnDomain]
    own: list[OwnDraft]  # of every domain
    arms: list[RoutingArm]
    left_out: list[LeftOutDomain]
    shuffled: list[ShuffledControl]
    provenance: Provenance
