"""What a draft was worth on the target's own answers, read once by both models: `draft_audit.json` and `.jsonl`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedAnswer:
    """One answer, token by token: a line of `draft_audit.jsonl`. All lists are as long as the answer."""

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

    @property
    def agreed(self) -> list[bool]:
        """Whether the draft's most likely token is the emitted one, at each position."""
        return [best == emitted for best, emitted in zip(self.draft_best, self.token_ids, strict=True)]
