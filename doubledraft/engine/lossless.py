"""Where two decodings of the same prompts first differ, by token ids, and how close the choice was there.

In float32 greedy speculation must emit the ids of plain decoding; with the compiled CPU pass in bfloat16 too, since a
token's logits have the same bits in a pass of any size. In bfloat16 torch's kernels round a pass over several tokens
differently from a pass over one, so two nearly equal best tokens may change places: that is reported with the gap
between them, and never called lossless. A wide gap is a bug; with the compiled pass any difference is one.
"""

from collections.abc import Sequence

from doubledraft.engine.backend import Backend, prefill
from doubledraft.records import first_difference


def differences(
    target: Backend,
    input_ids: Sequence[Sequence[int]],
    plain: Sequence[Sequence[int]],
    other: Sequence[Sequence[int]],
) -> dict[str, object]:
    """Compare two outputs per prompt: the share of identical ones, and position and gap of each first difference."""
    mismatches = []
    for index, (prompt, plain_ids, other_ids) in enumerate(zip(input_ids, plain, other, strict=True)):
        position = first_difference(plain_ids, other_ids)
        if position is not None:
            inside = position < min(len(plain_ids), len(other_ids))  # else one output is a prefix of the other
            gap = top2_gap(target, [*prompt, *plain_ids[:position]]) if inside else None
            mismatches.append({"prompt": index, "position": position, "top2_gap": gap})
    return {"n": len(plain), "identical_rate": 1 - len(mismatches) / len(plain), "differences": mismatches}


def top2_gap(target: Backend, text: Sequence[int]) -> float:
    """Return the log-probability gap of the target's two best next tokens."""
    logits = target.logits(prefill(target, [text], target.new_cache(1, len(text))))
    best, second = logits[0].float().topk(2).values.tolist()
    return best - second  # log-probabilities are logits minus one constant
