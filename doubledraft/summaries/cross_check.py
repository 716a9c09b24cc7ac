"""Whether three engines agree on a pair of models: `cross_check.json`."""

from dataclasses import dataclass

from doubledraft.stats import Interval
from doubledraft.summaries.provenance import Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerDifference:
    """An answer that differs from that of the target alone."""

    id: str  # of the question
    position: int  # of the first token that differs, from 0
    expected: int | None  # token id of the target alone; null where its answer has ended
    found: int | None
    top2_gap: float | None  # log-probability gap of the target's two best tokens there; null where an answer has ended
    verdict: str  # tie where these two tokens are the target's two best and nearly equal, else bug


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedEngine:
    """The answers of one engine, against those of the target alone."""

    emitted: int  # tokens
    steps: int  # target passes, one per prompt included
    tokens_per_step: float
    identical_rate: Interval
    differences: list[AnswerDifference]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAgreement:
    """How far apart the engines' tokens per step are."""

    definition: str
    spread: float  # most / fewest - 1
    tolerance: float
    agree: bool  # whether the spread lies within the tolerance


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineComparison:
    """What the engines' answers have in common."""

    identical: bool  # whether all answers of all engines are those of the target alone
    ties: int
    bugs: int
    tokens_per_step: EngineAgreement
    engines: dict[str, CheckedEngine]  # by name and version


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossCheck(EngineComparison):
    """A comparison of engines, and how it was made."""

    n: int  # questions
    settings: dict[str, object]  # models, dtype, K and token cap
    provenance: Provenance
