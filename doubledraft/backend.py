"""One forward pass of a Llama, Mistral, Qwen2 or Qwen3 model over a static cache: token ids in, logits out.

These families are one architecture: pre-normalised blocks, rotary positions, keys shared by groups of query heads, and
a gated linear unit. Written out it is short, and at one request at a time it is fast: a step costs little more than
reading the weights once, so projections of the same input are one matrix. transformers loads the weights and computes
the rotary frequencies; any other architecture is refused by name.

A pass runs over [batch, tokens] ids at the next positions of a cache. Attention is causal by position, so a row may be
padded on the right with any id: no real token looks at a later position, and `KVCache.trim` forgets the padding. No
model needs a pad token here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from doubledraft.kv_cache import KVCache
from doubledraft.model_folder import ALLOWED, ModelError
from doubledraft.runtime import config_hash
from doubledraft.untrusted import refuse_unsafe

if TYPE_CHECKING:
    import torch

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")  # values of `model_type` in config.json
FIXED_ROTARY = ("default", "linear", "llama3", "yarn")  # kinds whose frequencies do not change with the length

Projection = Callable[["torch.Tensor"], "torch.Tensor"]


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


def create_backend(name_or_path: str | Path, dtype: str, device: str) -> "Backend":
    """Load a model from a folder, or by its name on the Hugging Face hub, to run in `dtype` on `device`.

    Raises ModelError for a model that is unsafe to load or of an architecture that is not written here.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    folder = _local(name_or_path)
    refuse_unsafe(folder)
    _refuse_unlike(AutoConfig.from_pretrained(folder), folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).to(device)
    return Backend(model, AutoTokenizer.from_pretrained(folder).get_vocab(), str(name_or_path))


def _local(name_or_path: str | Path) -> Path:
    if Path(name_or_path).is_dir():
        return Path(name_or_path)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(name_or_path), allow_patterns=list(ALLOWED)))
    except (OSError, ValueError) as error:  # no network, no such model, or no name that the hub could have
        reason = str(error).split("\n")[0]
        raise ModelError(f"{name_or_path}: no such folder, and the hub does not give it either: {reason}") from None


def _refuse_unlike(config, folder: Path) -> None:
    """Raise ModelError where the config asks for something that the forward pass below does not do."""
    if config.model_type not in FAMILIES:
        raise ModelError(f"{folder}: model_type {config.model_type!r} is not one of {', '.join(FAMILIES)}")
    expected = {
        "hidden_act": (config.hidden_act, ("silu",)),
        "rope_type": (config.rope_parameters["rope_type"], FIXED_ROTARY),
        "quantization_config": (getattr(config, "quantization_config", None), (None,)),
        "layer_types": (set(getattr(config, "layer_types", None) or ["full_attention"]), ({"full_attention"},)),
    }
    if config.model_type == "mistral":
        expected["sliding_window"] = (config.sliding_window, (None,))
    for key, (found, known) in expected.items():
        if found not in known:
            raise ModelError(f"{folder}: {key} is {found!r}, and the engine runs only {known[0]!r} and the like")


class Backend:
    """A loaded model: its weights, its vocabulary, and one forward pass."""

    def __init__(self, model, tokens: Mapping[str, int], name: str) -> None:
        """Take the weights of a transformers model, which is left without them; `tokens` are token -> id."""
        import torch

        config = model.config
        self.name = name
        self.tokens = tokens
        self.tokens_hash = config_hash(dict(tokens))  # what is compared; the tokens themselves say where two differ
        self.vocabulary = config.vocab_size  # rows of the embedding, padding included
        self.max_positions = config.max_position_embeddings
        self.dtype, self.device = model.dtype, model.device
        self.heads, self.key_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.epsilon = config.rms_norm_eps
        self.rotary_frequencies = model.model.rotary_emb.inv_freq
        self.rotary_scale = model.model.rotary_emb.attention_scaling
        embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
        read = model.num_parameters() - (0 if embedding.weight is head.weight else embedding.weight.numel())
        self.bytes_per_pass = read * self.dtype.itemsize  # weights read; of an embedding of its own, next to nothing
        with torch.no_grad():
            self.embedding = embedding.weight.detach()
            self.head = packed(head)
            self.norm = model.model.norm.weight.detach()
            self.blocks = _take_blocks(model.model.layers)

    def new_cache(self, batch: int, capacity: int) -> KVCache:
        """Make an empty cache of `batch` rows of `capacity` positions."""
        return KVCache(len(self.blocks), batch, capacity, self.key_heads, self.head_dim, self.dtype, self.device)

    def tensor(self, values: Sequence) -> "torch.Tensor":
        """Bring values of the host to the device, without waiting for what runs there."""
        import torch

        host = torch.tensor(values)
        return host.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else host

    def forward(self, ids: "torch.Tensor", cache: KVCache) -> "torch.Tensor":
        """Run [batch, tokens] ids at the next positions of the cache; gives the last hidden states."""
        import torch
        from torch.nn.functional import embedding

        with torch.inference_mode():
            positions = cache.next_positions(ids.shape[1])
            rotation = self._rotation(positions)
            mask = self._mask(positions, cache.longest + ids.shape[1])
            hidden = embedding(ids, self.embedding)
            for index, block in enumerate(self.blocks):
                hidden = hidden + self._attend(index, block, hidden, positions, rotation, mask, cache)
                hidden = hidden + self._gated(block, hidden)
            cache.advance(ids.shape[1])
            return self._normed(hidden, self.norm)

    def logits(self, hidden: "torch.Tensor") -> "torch.Tensor":
        """Give the logits [..., vocabulary] of the token that follows each hidden state."""
        import torch

        with torch.inference_mode():
            return self.head(hidden)

    def _rotation(self, positions: "torch.Tensor") -> tuple["torch.Tensor", "torch.Tensor"]:
        """Cosines and sines [batch, tokens, 1, dimension] of rotary positions: Su et al. 2021, arXiv:2104.09864."""
        angles = (positions.unsqueeze(-1) * self.rotary_frequencies).repeat(1, 1, 2).unsqueeze(2)
        cos, sin = angles.cos() * self.rotary_scale, angles.sin() * self.rotary_scale
        return cos.to(self.dtype), sin.to(self.dtype)

    def _mask(self, positions: "torch.Tensor", end: int) -> "torch.Tensor":
        """Give 0 where a query may look and -inf elsewhere, [batch, 1, queries of a key head, positions to `end`]."""
        import torch

        later = torch.arange(end, device=self.device) > positions.unsqueeze(-1)
        mask = torch.zeros(later.shape, dtype=self.dtype, device=self.device).masked_fill(later, -float("inf"))
        return mask.repeat(1, self.heads // self.key_heads, 1).unsqueeze(1)

    def _attend(self, index, block: Block, hidden, positions, rotation, mask, cache: KVCache) -> "torch.Tensor":
        from torch.nn.functional import rms_norm, scaled_dot_product_attention

        batch, tokens, _ = hidden.shape
        mixed = block.query_key_value(self._normed(hidden, block.attention_norm))
        mixed = mixed.view(batch, tokens, self.heads + 2 * self.key_heads, self.head_dim)
        turned, value = mixed.split((self.heads + self.key_heads, self.key_heads), dim=2)
        if block.head_norm is not None:
            turned = rms_norm(turned, turned.shape[-1:], eps=self.epsilon) * block.head_norm
        query, key = _rotated(turned, *rotation).split((self.heads, self.key_heads), dim=2)
        keys, values = cache.write(index, positions, key, value)
        # Query heads that share a key head are rows of one attention: keys and values are read once, not repeated.
        query = query.unflatten(2, (self.key_heads, -1)).permute(0, 2, 3, 1, 4).flatten(2, 3)
        mixed = scaled_dot_product_attention(query, keys.transpose(1, 2), values.transpose(1, 2), attn_mask=mask)
        mixed = mixed.view(batch, self.key_heads, -1, tokens, self.head_dim).permute(0, 3, 1, 2, 4)
        return block.attention_out(mixed.flatten(2))

    def _gated(self, block: Block, hidden: "torch.Tensor") -> "torch.Tensor":
        from torch.nn.functional import silu

        gate, up = block.gate_up(self._normed(hidden, block.mlp_norm)).chunk(2, dim=-1)
        return block.down(silu(gate) * up)

    def _normed(self, hidden: "torch.Tensor", weight: "torch.Tensor") -> "torch.Tensor":
        from torch.nn.functional import rms_norm

        return rms_norm(hidden, weight.shape, weight, self.epsilon)


def _rotated(heads: "torch.Tensor", cos: "torch.Tensor", sin: "torch.Tensor") -> "torch.Tensor":
    import torch

    first, second = heads.chunk(2, dim=-1)
    return heads * cos + torch.cat((-second, first), dim=-1) * sin


def _take_blocks(layers) -> list[Block]:
    """Pack one layer after another and drop its own weights, so that a large model is never there twice."""
    from torch.nn import Identity

    blocks = []
    for index in range(len(layers)):
        blocks.append(_block(layers[index]))
        layers[index] = Identity()
    return blocks


def _block(layer) -> Block:
    attention, mlp = layer.self_attn, layer.mlp
    return Block(
        layer.input_layernorm.weight.detach(),
        packed(attention.q_proj, attention.k_proj, attention.v_proj),
        _head_norm(attention),
        packed(attention.o_proj),
        layer.post_attention_layernorm.weight.detach(),
        packed(mlp.gate_proj, mlp.up_proj),
        packed(mlp.down_proj),
    )


def _head_norm(attention) -> "torch.Tensor | None":
    import torch

    if not hasattr(attention, "q_norm"):
        return None
    dimension = attention.head_dim
    heads = attention.q_proj.out_features // dimension, attention.k_proj.out_features // dimension
    norms = attention.q_norm.weight, attention.k_norm.weight
    return torch.cat([norm.detach().expand(count, -1) for norm, count in zip(norms, heads, strict=True)])


def packed(*linears) -> Projection:
    """Join linear layers that share their input into one projection whose outputs stand one after another."""
    import torch
    from torch.nn.functional import linear

    weight = torch.cat([part.weight for part in linears]).detach() if len(linears) > 1 else linears[0].weight.detach()
    biases = [part.bias for part in linears if part.bias is not None]
    bias = torch.cat(biases).detach() if biases else None
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
