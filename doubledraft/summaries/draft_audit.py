"""What a draft was worth on the target's own answers, read once by both models: `draft_audit.json` and `.jsonl`."""

from dataclasses import dataclass

from doubledraft.stats import Interval
from doubledraft.summaries.provenance import Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedAnswer:
    """One answer, token by token: a line of `draft_audit.jsonl`. Every list has one entry per token."""

    id: str  # of the question
    token_ids: list[int]  # of the answer, as it was emitted
    target_best: list[int]  # the target's most likely token at each position, after the emitted ones before it
    draft_best: list[int]  # the draft's
    p: list[float]  # the target's probability of the emitted token
    q: list[float]  # the draft's
    overlap: list[float]  # sum of min(p, q) over the vocabulary: chance of acceptance at temperature 1
    target_entropy: list[float]  # nats
    draft_entropy: list[float]  # nats
    target_top: list[list[list[float]]]  # the target's five most likely tokens, each [id, probability]
    draft_top: list[list[list[float]]]  # the draft's
    draft_text: str | None = None  # what the draft writes alone after the same prompt; null where it was not asked

    @property
    def agreed(self) -> list[bool]:
        """Whether the draft's most likely token is the emitted one, at each position."""
        return [best == emitted for best, emitted in zip(self.draft_best, self.token_ids, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedDrafts:
    """Greedy speculation with drafts of K tokens, replayed along the answers; drafts end where an answer does."""

    draft_length: int  # K
    tokens_per_step: Interval  # emitted / target passes, one per prompt included
    acceptance_rate: Interval | None  # accepted / drafted, counted up to the first rejection of each step
    joint: list[float | None]  # share of steps that accepted their first i tokens, for i = 1..K
    conditional: list[
        float | None
    ]  # of the steps that accepted the first i - 1 tokens, the share that accepted the ith


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedClass:
    """The answers' tokens of one class; the interval takes tokens as independent."""

    tokens: int
    agreement: Interval | None
    overlap: float  # mean


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftAcceptance:
    """How often a target would accept a draft on given answers; intervals resample questions."""

    n: int  # answers
    tokens: int  # of all answers
    agreement: Interval  # order-independent: share of the tokens that the draft too finds most likely
    overlap: Interval  # mean of 1 - TV, the total variation distance: expected acceptance at temperature 1
    simulated: list[SimulatedDrafts] | None  # for K = 1..16; null, in a draft audit, where the answers were sampled
    token_classes: dict[str, AuditedClass]  # by what the answer's token is
    target_entropy: Interval  # nats per token
    draft_entropy: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnText:
    """What the draft writes alone, asked the same questions, greedily."""

    n: int  # questions
    accuracy: Interval  # strict: the answer stands in the asked-for format and equals the gold answer
    truncated: Interval  # share of answers that reached the token cap
    tokens: Interval  # per answer
    compliance: Interval | None  # share of answers that keep the draft rule; null where the type has none
    steps_per_answer: Interval | None
    words_per_step: Interval | None
    agreement: Interval  # share of the draft's own tokens that the target too finds most likely


@dataclass(frozen=True, slots=True, kw_only=True)
class AgainstServed:
    """Tokens per step as replayed, beside those of the engine's run over the same answers."""

    draft_length: int  # K of the run
    simulated: float
    served: float
    difference: float  # simulated / served - 1
    tolerance: float
    agrees: bool  # whether the difference lies within the tolerance


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftAudit(DraftAcceptance):
    """What a draft is worth on the answers of its cell's run with the draft: `draft_audit.json`."""

    own_text: OwnText
    simulated_reason: str | None = None  # why nothing is simulated
    against_served: AgainstServed | None  # null where the run's draft length adapts, or it sampled: replays are greedy
    provenance: Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptanceRow:
    """One target with every draft of the study, on the target's own answers: `acceptance_row.json`."""

    target: str  # cell that it was trained for
    drafts: dict[str, DraftAcceptance]  # by the cell that a draft was trained for; `untrained`: before any training
    provenance: Provenance
