"""What a set of traces is like: `audit.json` beside the traces."""

from dataclasses import dataclass

from doubledraft.stats import Interval
from doubledraft.summaries.provenance import Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Counts in bins of whole numbers."""

    edges: list[int]  # one more than counts
    counts: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """How a count is spread."""

    n: int
    mean: float
    median: float
    p90: float
    max: int
    total: int
    histogram: Histogram


@dataclass(frozen=True, slots=True, kw_only=True)
class Flagged:
    """Traces that stay in the set but are worth a look."""

    n: int
    ids: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceAudit:
    """What was kept and dropped of a set of traces, and what the kept texts are like."""

    type: str | None  # null, like the next two, where no trace was kept
    scenario: str | None
    teacher: str | None
    n: int  # traces written
    kept: int
    dropped: int
    reasons: dict[str, int]  # of the dropped
    tokens: Distribution | None  # per trace, by the target's tokenizer
    steps: Distribution | None  # per trace
    words_per_step: Distribution | None
    rule: dict[str, int] | None  # min_steps, max_steps and max_words; null where the type has no rule
    compliant: Interval | None  # share of traces that keep the rule
    verified: Interval | None  # share of kept traces whose answer equals the gold answer
    numeric_density: Interval | None  # share of steps with an equation
    without_equation: Flagged  # traces in which no step has one
    asked: dict[str, object]  # what a paid teacher was asked for: rounds, tokens, USD
    provenance: Provenance
