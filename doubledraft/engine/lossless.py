"""How far two decodings of the same prompts are the same: by token ids, never by text.

In float32 greedy speculation must give the ids of plain decoding; by the pass that is compiled for the CPU (`compiled`)
in bfloat16 too, since there a token has the same bits in a pass of any size. In bfloat16 torch's kernels round a pass
over several tokens otherwise than a pass over one, so two nearly equal best tokens may change places: that is reported,
with how close the two were, and never called lossless. A wide gap at a difference is a bug, and by the compiled pass
any difference is one.
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
    """Compare two outputs per prompt: the share of identical ones, and where and at what gap the others part."""
    parted = []
    for index, (prompt, one, two) in enumerate(zip(input_ids, plain, other, strict=True)):
        position = first_difference(one, two)
        if position is not None:
            inside = position < min(len(one), len(two))  # else one is the other's beginning: no two tokens to compare
            gap = top2_gap(target, [*prompt, *one[:position]]) if inside else None
            parted.append({"prompt": index, "position": position, "top2_gap": gap})
    return {"n": len(plain), "identical_rate": 1 - len(parted) / len(plain), "differences": parted}


def top2_gap(target: Backend, text: Sequence[int]) -> float:
    """Give the log-probability gap of the target's two best next tokens."""
    logits = target.logits(prefill(target, [text], target.new_cache(1, len(text))))
    best, second = logits[0].float().topk(2).values.tolist()
    return best - second  # log-probabilities differ from logits by the same number
