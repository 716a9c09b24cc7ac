"""Acceptance of a draft on answers that both models have read: shares of tokens, and speculation replayed.

Definitions: Leviathan et al. 2023, arXiv:2211.17192: a token drawn from the draft is accepted with the probability
sum of min(p, q) = 1 - TV, the total variation distance of the two distributions. Under greedy decoding it is accepted
where both models find the same token most likely.
"""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from doubledraft.engine.decoding_metrics import token_class
from doubledraft.engine.draft_length import LONGEST_DRAFT
from doubledraft.inference.teacher_forcing import simulated_steps
from doubledraft.stats import Interval, ratio_interval, wilson
from doubledraft.summaries.draft_audit import AuditedAnswer, AuditedClass, DraftAcceptance, SimulatedDrafts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DraftedAccepted = tuple[int, int]  # tokens of a step


def acceptance(
    audited: Sequence[AuditedAnswer], tokenizer: "PreTrainedTokenizerBase", ends: Collection[int], seed: int
) -> DraftAcceptance:
    """Return how often the target would accept the draft on answers; `ends` are the tokens that end one."""
    tokens = [len(answer.token_ids) for answer in audited]

    def per_token(totals: list[float]) -> Interval:
        return ratio_interval(totals, tokens, seed)

    return DraftAcceptance(
        n=len(audited),
        tokens=sum(tokens),
        agreement=per_token([sum(answer.agreed) for answer in audited]),
        overlap=per_token([sum(answer.overlap) for answer in audited]),
        simulated=[simulate(audited, length, seed) for length in range(1, LONGEST_DRAFT + 1)],
        token_classes=_token_classes(audited, tokenizer, ends),
        target_entropy=per_token([sum(answer.target_entropy) for answer in audited]),
        draft_entropy=per_token([sum(answer.draft_entropy) for answer in audited]),
    )


def simulate(audited: Sequence[AuditedAnswer], length: int, seed: int) -> SimulatedDrafts:
    """Return what greedy speculation with drafts of `length` tokens does along the answers."""
    steps = [_steps(answer, length) for answer in audited]
    emitted = [len(answer.token_ids) for answer in audited]
    all_steps = [step for answer_steps in steps for step in answer_steps]
    positions = range(1, length + 1)
    return SimulatedDrafts(
        draft_length=length,
        tokens_per_step=ratio_interval(emitted, [1 + len(answer_steps) for answer_steps in steps], seed),
        acceptance_rate=ratio_interval(
            [sum(accepted for _, accepted in answer_steps) for answer_steps in steps],
            [sum(drafted for drafted, _ in answer_steps) for answer_steps in steps],
            seed,
        ),
        joint=[_accepted(all_steps, place, given=0) for place in positions],
        conditional=[_accepted(all_steps, place, given=place - 1) for place in positions],
    )


def _steps(answer: AuditedAnswer, length: int) -> list[DraftedAccepted]:
    at, steps = 1, []  # the prompt's pass emits the first token
    for accepted in simulated_steps(answer.agreed, length):
        steps.append((min(length, len(answer.token_ids) - at), accepted))
        at += accepted + 1
    return steps


def _accepted(steps: Sequence[DraftedAccepted], place: int, *, given: int) -> float | None:
    """Return the share of steps that accepted `place` tokens, of those that drafted so many and accepted `given`."""
    judged = [accepted >= place for drafted, accepted in steps if drafted >= place and accepted >= given]
    return sum(judged) / len(judged) if judged else None


def _token_classes(audited, tokenizer, ends: Collection[int]) -> dict[str, AuditedClass]:
    by_class: dict[str, list[tuple[bool, float]]] = {}
    for answer in audited:
        for token, agreed, overlap in zip(answer.token_ids, answer.agreed, answer.overlap, strict=True):
            name = "end of answer" if token in ends else token_class(tokenizer.decode([token]))
            by_class.setdefault(name, []).append((agreed, overlap))
    return {
        name: AuditedClass(
            tokens=len(tokens),
            agreement=wilson(sum(agreed for agreed, _ in tokens), len(tokens)),
            overlap=sum(overlap for _, overlap in tokens) / len(tokens),
        )
        for name, tokens in sorted(by_class.items())
    }
