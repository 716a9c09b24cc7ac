"""The weights of a transformers model, taken over layer by layer and laid out as the device likes them.

Projections of the same input are joined into one matrix. A layer's own weights are dropped as soon as they are taken,
so that a large model is never there twice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

Projection = Callable[["torch.Tensor"], "torch.Tensor"]
Weights = tuple["torch.Tensor", "torch.Tensor | None"]  # of a linear layer: weight, bias
Taken = TypeVar("Taken")


@dataclass(frozen=True, slots=True)
class Block:
    """The weights of one decoder layer."""

    attention_norm: "torch.Tensor"
    query_key_value: Projection
    head_norm: "torch.Tensor | None"  # [query and key heads, dimension]; Qwen3 alone
    attention_out: Projection
    mlp_norm: "torch.Tensor"
    gate_up: Projection
    down: Projection


def take_blocks(layers, take: Callable[[object], Taken]) -> list[Taken]:
    """Take over one layer after another, and drop its own weights."""
    from torch.nn import Identity

    blocks = []
    for index in range(len(layers)):
        blocks.append(take(layers[index]))
        layers[index] = Identity()
    return blocks


def packed_block(layer) -> Block:
    """Give the weights of a layer, packed."""
    attention, mlp = layer.self_attn, layer.mlp
    return Block(
        layer.input_layernorm.weight.detach(),
        packed(*joined(attention.q_proj, attention.k_proj, attention.v_proj)),
        head_norm(attention),
        packed(*joined(attention.o_proj)),
        layer.post_attention_layernorm.weight.detach(),
        packed(*joined(mlp.gate_proj, mlp.up_proj)),
        packed(*joined(mlp.down_proj)),
    )


def head_weights(model, says: "torch.Tensor | None") -> Weights:
    """Give the rows of the head for the tokens that the model shall say, None for all."""
    weight, bias = joined(model.get_output_embeddings())
    if says is None:
        return weight, bias
    return weight[says], None if bias is None else bias[says]


def head_norm(attention) -> "torch.Tensor | None":
    """Give the weights [query and key heads, dimension] of Qwen3's normalisation of heads."""
    import torch

    if not hasattr(attention, "q_norm"):
        return None
    dimension = attention.head_dim
    heads = attention.q_proj.out_features // dimension, attention.k_proj.out_features // dimension
    norms = attention.q_norm.weight, attention.k_norm.weight
    return torch.cat([norm.detach().expand(count, -1) for norm, count in zip(norms, heads, strict=True)])


def joined(*linears) -> Weights:
    """Join linear layers that share their input into one whose outputs stand one after another; gives weight, bias."""
    import torch

    weight = torch.cat([part.weight for part in linears]).detach() if len(linears) > 1 else linears[0].weight.detach()
    biases = [part.bias for part in linears if part.bias is not None]
    return weight, torch.cat(biases).detach() if biases else None


def packed(weight: "torch.Tensor", bias: "torch.Tensor | None") -> Projection:
    """Give the projection of a linear layer, its weight laid out as the device likes it."""
    import torch
    from torch.nn.functional import linear

    if weight.device.type == "cpu" and torch.backends.mkldnn.is_available():
        return _packed_for_cpu(weight, bias)
    return lambda hidden: linear(hidden, weight, bias)


def _packed_for_cpu(weight: "torch.Tensor", bias: "torch.Tensor | None") -> Projection:
    """Put the weight into oneDNN's blocked layout once, instead of at each call.

    These are the operators that `torch.compile` with frozen weights calls on CPU.
    """
    import torch

    blocked = torch.ops.mkldnn._reorder_linear_weight(weight)
    return lambda hidden: torch.ops.mkldnn._linear_pointwise(hidden, blocked, bias, "none", [], "")
