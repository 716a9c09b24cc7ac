"""MADE-UP decoding records, small enough to know by heart: what the viewer shows of them is counted in tests."""

from dataclasses import replace

from doubledraft.evaluation.decodings import record
from doubledraft.summaries.decoding_record import DecodingRecord, Lane, LaneStep
from doubledraft.summaries.draft_audit import AuditedAnswer

TEXTS = {0: "4", 1: " *", 2: " 6", 3: " =", 4: " 24", 5: "\n", 6: "####", 7: " 12", 8: "<|im_end|>", 9: " +", 10: "x"}
ANSWER = [0, 1, 2, 3, 4, 5, 6, 4, 8]
BEST = [0, 1, 2, 3, 7, 5, 6, 4, 8]  # of the draft: wrong at the fifth token alone
STEPS = [
    LaneStep(emitted=1, seconds=0.04),
    LaneStep(emitted=3, proposed=2, accepted=2, drafted=[1, 2], seconds=0.02),
    LaneStep(emitted=1, proposed=2, accepted=0, drafted=[7, 5], seconds=0.02),
    LaneStep(emitted=3, proposed=2, accepted=2, drafted=[5, 6], seconds=0.02),
    LaneStep(emitted=1, proposed=1, accepted=1, drafted=[8], seconds=0.01),
]


def audit(id: str, answer: list[int] = ANSWER, best: list[int] = BEST) -> AuditedAnswer:
    """Return an audit: the target is sure of its answer, and the draft of its own choice."""
    n = len(answer)
    others = [[1 + (token + at) % 4, 0.02] for at, token in enumerate(answer)]
    agreed = [one == other for one, other in zip(best, answer, strict=True)]
    return AuditedAnswer(
        id=id,
        token_ids=answer,
        target_best=answer,
        draft_best=best,
        p=[0.9] * n,
        q=[0.8 if same else 0.25 for same in agreed],
        overlap=[0.85 if same else 0.3 for same in agreed],
        target_entropy=[0.1] * n,
        draft_entropy=[0.2] * n,
        target_top=[[[token, 0.9], other] for token, other in zip(answer, others, strict=True)],
        draft_top=[
            [[own, 0.8 if own == token else 0.5], [token, 0.25]] for own, token in zip(best, answer, strict=True)
        ],
    )


def alone(ids: list[int] = ANSWER) -> Lane:
    """Return the target's own answer, a token in 20 ms."""
    steps = [LaneStep(emitted=1, seconds=0.02) for _ in ids]
    return Lane(name="target alone", token_ids=ids, steps=steps, seconds=0.02 * len(ids), first_token_seconds=0.02)


def drafted(ids: list[int] = ANSWER, **changes: object) -> Lane:
    """Return the answer with a draft."""
    values = {"name": "draft, K = 2", "steps": STEPS, "seconds": 0.11, "first_token_seconds": 0.04}
    return Lane(token_ids=ids, **values | changes)


def records() -> list[DecodingRecord]:
    """Return three questions: the same answer twice, another answer by rounding, and no steps reported."""
    other = [0, 9, 2, 3, 4, 5, 6, 4, 8]
    differs = drafted(other, first_difference=1, margin=0.0004, verdict="tie")
    first = record("q0", "What is 4 * 6?", [alone(), drafted()], TEXTS.get, audit("q0"))
    silent = drafted(steps=None, seconds=None, first_token_seconds=None)
    return [
        replace(first, other_drafts={"another": ANSWER}),
        record("q1", "And six fours?", [alone(), differs], TEXTS.get, audit("q1")),
        record("q2", "Say it <b>once</b> more.", [alone(), silent], TEXTS.get),
    ]


def vllm_answer(**changes: object) -> dict:
    """Return an answer of vLLM's server, with the fields that its protocol of 0.32 has."""
    drafting = {"num_spec_tokens": 2, "per_step_accepted": [2, 0, 1], "per_step_drafted": [2, 2, 2]}
    metrics = {"time_to_first_token_ms": 40.0, "generation_time_ms": 60.0, "speculative_decoding": drafting}
    logprobs = {"content": [{"token": TEXTS[token]} for token in ANSWER[:7]]}
    choice = {"index": 0, "message": {"content": "…"}, "token_ids": ANSWER[:7], "logprobs": logprobs}
    return {"id": "chatcmpl-1", "choices": [choice], "metrics": metrics} | changes
