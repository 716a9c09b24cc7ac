"""The weights of a transformers model, taken over layer by layer and laid out for fast passes.

Projections of the same input are joined into one matrix. A layer's own weights are dropped as soon as they are taken,
so that a large model is never in memory twice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

Projection = Callable[["torch.Tensor"], "torch.Tensor"]
Weights = tuple["torch.Tensor", "torch.Tensor | None"]  # of a linear layer: weight, bias
Taken = TypeVar("Taken")
MATRICES = {  # of a layer: the projections of transformers that each of ours joins, one below the other
    "query_key_value": ("q_proj", "k_proj", "v_proj"),
    "attention_out": ("o_proj",),
    "gate_up": ("gate_proj", "up_proj"),
    "down": ("down_proj",),
}


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """The weights of one decoder layer."""

    attention_norm: "torch.Tensor"
    query_key_value: Projection
    head_norm: "torch.Tensor | None"  # [query and key heads, dimension]; Qwen3 alone
    attention_out: Projection
    mlp_norm: "torch.Tensor"
    gate_up: Projection
    down: Projection


def take_layers(layers, take: Callable[[object], Taken]) -> list[Taken]:
    """Take over one layer after another, and drop its own weights."""
    from torch.nn import Identity

    blocks = []
    for index in range(len(layers)):
        blocks.append(take(layers[index]))
        layers[index] = Identity()
    return blocks


def packed_layer(layer) -> LayerWeights:
    """Return the weights of a layer, packed."""
    attention, mlp = layer.self_attn, layer.mlp
    return LayerWeights(
        layer.input_layernorm.weight.detach(),
        packed(*joined(attention.q_proj, attention.k_proj, attention.v_proj)),
        head_norm(attention),
        packed(*joined(attention.o_proj)),
        layer.post_attention_layernorm.weight.detach(),
        packed(*joined(mlp.gate_proj, mlp.up_proj)),
        packed(*joined(mlp.down_proj)),
    )


def head_weights(model, allowed_tokens: "torch.Tensor | None") -> Weights:
    """Return the rows of the output head for `allowed_tokens`; None takes all."""
    weight, bias = joined(model.get_output_embeddings())
    if allowed_tokens is None:
        return weight, bias
    return weight[allowed_tokens], None if bias is None else bias[allowed_tokens]


def head_norm(attention) -> "torch.Tensor | None":
    """Return the weights [query and key heads, dimension] of Qwen3's normalisation of heads; None without one."""
    import torch

    if not hasattr(attention, "q_norm"):
        return None
    dimension = attention.head_dim
    heads = attention.q_proj.out_features // dimension, attention.k_proj.out_features // dimension
    norms = attention.q_norm.weight, attention.k_norm.weight
    return torch.cat([norm.detach().expand(count, -1) for norm, count in zip(norms, heads, strict=True)])


def joined(*linears) -> Weights:
    """Join linear layers that share their input into one, outputs concatenated; return weight and bias."""
    import torch

    weight = torch.cat([part.weight for part in linears]).detach() if len(linears) > 1 else linears[0].weight.detach()
    biases = [part.bias for part in linears if part.bias is not None]
    return weight, torch.cat(biases).detach() if biases else None


def packed(weight: "torch.Tensor", bias: "torch.Tensor | None") -> Projection:
    """Return the projection of a linear layer, its weight laid out for the device."""
    from torch.nn.functional import linear

    if weight.device.type == "cpu" and _packs(weight.dtype):
        return _packed_for_cpu(weight, bias)
    return partial(linear, weight=weight, bias=bias)


def _packs(dtype: "torch.dtype") -> bool:
    """Return whether oneDNN runs packed weights of a type on this CPU: 16-bit ones need AVX-512."""
    import torch

    supported = {
        torch.bfloat16: torch.ops.mkldnn._is_mkldnn_bf16_supported,
        torch.float16: torch.ops.mkldnn._is_mkldnn_fp16_supported,
    }
    return torch.backends.mkldnn.is_available() and (dtype not in supported or supported[dtype]())


def _packed_for_cpu(weight: "torch.Tensor", bias: "torch.Tensor | None") -> Projection:
    """Convert the weight to oneDNN's blocked layout once, instead of at each call.

    These are the operators that `torch.compile` with frozen weights calls on CPU.
    """
    import torch

    blocked = torch.ops.mkldnn._reorder_linear_weight(weight)
    return lambda hidden: torch.ops.mkldnn._linear_pointwise(hidden, blocked, bias, "none", [], "")
