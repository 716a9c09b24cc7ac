"""The forward pass of a training step: what the loss needs, and nothing twice.

The output head, which costs a fifth of a pass of a small model and nearly all of its memory, is applied only where a
label counts. All rows of a training begin with the same tokens, the chat template and the instruction: their keys and
values are computed once for a batch, and every row goes on from them. Gradients are those of the plain pass.
"""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from doubledraft.training.rows import IGNORED

if TYPE_CHECKING:
    from torch import Tensor

Row = tuple[Sequence[int], Sequence[int]]  # token ids, and labels as `rows.encode` makes them


def shared_prefix(rows: Sequence[Mapping[str, Sequence[int]]]) -> int:
    """Return how many tokens all encoded rows begin with, short of the one that predicts the first label of any."""
    common = len(os.path.commonprefix([list(row["input_ids"]) for row in rows]))
    return min(common, min(first_label(row["labels"]) for row in rows) - 1)


def first_label(labels: Sequence[int]) -> int:
    """Return the position of the first token that counts in the loss."""
    return next(position for position, label in enumerate(labels) if label != IGNORED)


def label_states(model, inputs: "Mapping[str, Tensor]", prefix: int = 0) -> "tuple[Tensor, Tensor]":
    """Return the hidden states [labels, size] that predict the labels of a batch, and these labels [labels].

    `inputs` are input_ids, attention_mask and labels [rows, tokens], padded on the right; their first `prefix` tokens
    are alike in all rows.
    """
    decoder = _whole(model).get_decoder()
    ids, mask, labels = inputs["input_ids"], inputs["attention_mask"], inputs["labels"]
    cache = None
    if prefix:
        cache = decoder(input_ids=ids[:1, :prefix], use_cache=True).past_key_values
        cache.batch_repeat_interleave(len(ids))
    output = decoder(input_ids=ids[:, prefix:], attention_mask=mask, past_key_values=cache, use_cache=cache is not None)
    counts = labels[:, prefix + 1 :] != IGNORED
    return output.last_hidden_state[:, :-1][counts], labels[:, prefix + 1 :][counts]


def label_logits(
    model, inputs: "Mapping[str, Tensor]", prefix: int = 0, allowed: "Tensor | None" = None
) -> "tuple[Tensor, Tensor]":
    """Return the logits [labels, vocabulary] that predict the labels of a batch, and these labels; see above.

    `allowed`, ascending token ids, is the vocabulary of a draft that may propose no others: logits are of these alone,
    labels are their places in it, and labels of other tokens are left out.
    """
    import torch

    states, labels = label_states(model, inputs, prefix)
    head = _whole(model).get_output_embeddings()
    if allowed is None:
        return head(states), labels
    mask = torch.isin(labels, allowed)
    return torch.nn.functional.linear(states[mask], head.weight[allowed]), torch.searchsorted(allowed, labels[mask])


def _whole(model):
    """Return the transformers model that PEFT may have wrapped; its layers hold the adapter."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def unpadded(inputs: "Mapping[str, Tensor]") -> list[Row]:
    """Return the rows of a batch without padding, whichever side it is on."""
    rows = zip(inputs["input_ids"], inputs["labels"], inputs["attention_mask"].bool(), strict=True)
    return [(ids[real].tolist(), labels[real].tolist()) for ids, labels, real in rows]


def padded(rows: Sequence[Row], device) -> "dict[str, Tensor]":
    """Return rows as a batch that is padded on the right."""
    import torch

    width = max(len(ids) for ids, _ in rows)
    return {
        name: torch.tensor([[*values, *[fill] * (width - len(values))] for values in columns], device=device)
        for name, fill, columns in (
            ("input_ids", 0, [ids for ids, _ in rows]),
            ("attention_mask", 0, [[1] * len(ids) for ids, _ in rows]),
            ("labels", IGNORED, [labels for _, labels in rows]),
        )
    }
