"""What a decoding did, token by token: `decoding.jsonl`, one line per question; what the viewer shows.

A question has lanes: ways of answering it, the target alone first. A lane has steps, one for each pass of the target;
the first reads the prompt. What an engine does not report is null: vLLM counts drafted tokens without their ids, and
times whole answers; our own engine reports both. Probabilities are those of the draft audit, one teacher-forced pass
of both models over one of the answers.
"""

from dataclasses import dataclass, field

from doubledraft.summaries.draft_audit import AuditedAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneStep:
    """One pass of the target, and the draft before it."""

    emitted: int  # tokens that the answer grew by: those accepted and one of the target, cut at the end of the answer
    proposed: int = 0  # tokens that the draft proposed; 0 in the prompt's pass
    accepted: int = 0  # of those, up to the first that was rejected
    drafted: list[int] = field(default_factory=list)  # ids of the proposed tokens, as many from the first as are known
    seconds: float | None = None  # wall time of the draft and the pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """One answer to a question."""

    name: str  # such as "target alone" or "draft, K = 2"
    token_ids: list[int]
    steps: list[LaneStep] | None = None  # null where the engine does not report which step emitted which token
    seconds: float | None = None  # wall time of the answer, without queue time
    first_token_seconds: float | None = None  # of these, until the first token
    first_difference: int | None = None  # position of the first token that is not that of the first lane
    margin: float | None = None  # log-probability gap of the target's two best tokens there
    verdict: str | None = None  # of the difference: "tie" of roundings, or "bug"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodingRecord:
    """One question and all its lanes."""

    id: str  # the question's
    prompt: str  # text of the question
    lanes: list[Lane]
    texts: dict[str, str]  # text of every token that the record names, by its id
    audit: AuditedAnswer | None = None  # of an answer to the question, most often that of a lane
    other_drafts: dict[str, list[int]] = field(
        default_factory=dict
    )  # `draft_best` of further drafts along the audited answer
