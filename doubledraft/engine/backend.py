"""One forward pass of a Llama, Mistral, Qwen2 or Qwen3 model over a static cache: token ids in, logits out.

These families are one architecture: pre-normalised blocks, rotary positions, keys shared by groups of query heads, and
a gated linear unit. Written out it is short, and with one request at a time it is fast: a decoding step costs little
more than reading the weights once, so projections of the same input are one matrix. transformers loads the weights and
computes the rotary frequencies; any other architecture is refused by name.

Two subclasses run the same pass faster: compiled code on CPU (`cpu_backend`) and CUDA graphs (`cuda_graphs`).

A pass reads [batch, tokens] ids at the next positions of a cache. Attention is causal by position, so a row may be
padded on the right with any id: no real token attends to a later position, and `KVCache.trim` drops the padding. No
model needs a pad token.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from doubledraft.engine.kv_cache import KVCache
from doubledraft.engine.weights import MATRICES, LayerWeights, Weights, head_weights, packed, packed_layer, take_layers
from doubledraft.models.folder import ModelError
from doubledraft.provenance import config_hash

if TYPE_CHECKING:
    import torch

Texts = Sequence[Sequence[int]]  # prompt and answer so far, of each row


def _check_allowed(tokens: Sequence[int], vocabulary: int, name: str) -> None:
    """Raise ModelError unless `tokens` are distinct ids of the vocabulary, at least one."""
    if not tokens:
        raise ModelError(f"{name}: the draft vocabulary is empty: expected at least one token")
    for token, count in Counter(tokens).items():
        if not 0 <= token < vocabulary:
            raise ModelError(
                f"{name}: token {token} of the draft vocabulary is not one of 0 to {vocabulary - 1}; take it from "
                "answers of the draft's own target"
            )
        if count > 1:  # a draw could come from either place, and only one of them would be in q
            raise ModelError(f"{name}: token {token} occurs {count} times in the draft vocabulary")


class Backend:
    """A loaded model: its weights, its vocabulary, and one forward pass."""

    kernel = "torch"  # what runs the pass

    def __init__(
        self, model, tokens: Mapping[str, int], name: str, allowed_tokens: Sequence[int] | None = None
    ) -> None:
        """Take over the weights of a transformers model, which is left without them; `tokens` are token -> id.

        `allowed_tokens` are the token ids that a draft may propose; its output head is cut to these rows. Raise
        ModelError where they are empty, repeat a token, or name one that the model does not have.
        """
        import torch

        config = model.config
        self.name = name
        self.tokens = tokens
        self.tokens_hash = config_hash(dict(tokens))  # compared first; the tokens show where two differ
        self.vocabulary = config.vocab_size  # rows of the embedding, padding included
        self.max_positions = config.max_position_embeddings
        self.dtype, self.device = model.dtype, model.device
        self.layers, self.size = config.num_hidden_layers, config.hidden_size
        self.heads, self.key_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.epsilon = config.rms_norm_eps
        self.rotary_frequencies = model.model.rotary_emb.inv_freq
        self.rotary_scale = model.model.rotary_emb.attention_scaling
        self._beginning: list[int] = []
        if allowed_tokens is not None:
            _check_allowed(allowed_tokens, self.vocabulary, name)
            allowed_tokens = torch.tensor(allowed_tokens, device=self.device)
        self.allowed_tokens = allowed_tokens  # [n]; None for all
        embedding, head = model.get_input_embeddings().weight.detach(), head_weights(model, self.allowed_tokens)
        weights_read = sum(weight.numel() for weight in model.model.parameters()) - embedding.numel() + head[0].numel()
        self.bytes_per_pass = weights_read * self.item_bytes  # a pass reads only a few rows of the embedding
        with torch.no_grad():
            self._take_weights(embedding, model.model.layers, model.model.norm.weight.detach(), head)

    @property
    def weights_dtype(self) -> str:
        """Type of the weights as a pass reads them."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def item_bytes(self) -> int:
        """Bytes of a weight."""
        return self.dtype.itemsize

    def _take_weights(self, embedding: "torch.Tensor", layers, norm: "torch.Tensor", head: Weights) -> None:
        self.embedding, self.norm, self.head = embedding, norm, packed(*head)
        self.blocks = take_layers(layers, packed_layer)

    def matrices(self) -> "list[dict[str, torch.Tensor]]":
        """Return for each layer its weights by their names in MATRICES, as passes read them: they may be overwritten.

        Raise ModelError where passes read them in another layout.
        """
        layers = [{name: getattr(block, name) for name in MATRICES} for block in self.blocks]
        if not all(isinstance(projection, partial) for layer in layers for projection in layer.values()):
            raise ModelError(f"{self.name}: weights in oneDNN's layout cannot be replaced: load it with other kernels")
        return [{name: projection.keywords["weight"] for name, projection in layer.items()} for layer in layers]

    def new_cache(self, batch: int, capacity: int) -> KVCache:
        """Make an empty cache of `batch` rows of `capacity` positions."""
        return KVCache(self.layers, batch, capacity, self.key_heads, self.head_dim, self.dtype, self.device)

    def read_beginning(self, ids: Sequence[int]) -> None:
        """Read the tokens that prompts begin with, so that `prefill` reads only what follows them.

        No `ids` drops them. A prompt that begins differently is read in full. Call it again when the weights change.
        """
        self._beginning = list(ids)
        if ids:
            self._beginning_cache = self.new_cache(1, len(ids))
            self.read_prompts(self.tensor([self._beginning]), self._beginning_cache)

    def begin(self, prompts: Texts, cache: KVCache) -> int:
        """Fill an empty cache with what all prompts begin with; return how many tokens those are."""
        count = len(self._beginning)
        if not count or any(len(text) <= count or list(text[:count]) != self._beginning for text in prompts):
            return 0
        cache.begin_as(self._beginning_cache)
        return count

    def tensor(self, values: Sequence) -> "torch.Tensor":
        """Copy host values to the device, without waiting for the work queued there."""
        import torch

        host = torch.tensor(values)
        return host.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else host

    def forward(self, ids: "torch.Tensor", cache: KVCache) -> "torch.Tensor":
        """Read [batch, tokens] ids at the next positions of the cache; return hidden states [batch, tokens, size]."""
        import torch
        from torch.nn.functional import embedding

        with torch.inference_mode():
            positions = cache.next_positions(ids.shape[1])
            rotation = self._rotation(positions)
            mask = self._mask(positions, cache.seen(ids.shape[1]))
            hidden = embedding(ids, self.embedding)
            for index, block in enumerate(self.blocks):
                hidden = hidden + self._attend(index, block, hidden, positions, rotation, mask, cache)
                hidden = hidden + self._gated(block, hidden)
            cache.advance(ids.shape[1])
            return self._normed(hidden, self.norm)

    def read_prompts(self, ids: "torch.Tensor", cache: KVCache) -> "torch.Tensor":
        """Read [batch, tokens] ids of prompts, as `forward` does."""
        return self.forward(ids, cache)

    def logits(self, hidden: "torch.Tensor") -> "torch.Tensor":
        """Return the logits [..., vocabulary or allowed tokens] of the token that follows each hidden state."""
        import torch

        with torch.inference_mode():
            return self.head(hidden)

    def greedy_draft(self, ids: "torch.Tensor", cache: KVCache, count: int, vocabulary: int) -> "torch.Tensor":
        """Read [batch, n] ids and continue greedily with tokens below `vocabulary`; return [batch, count] of them."""
        import torch

        tokens = []
        for _ in range(count):
            chosen = self.logits(self.forward(ids, cache)[:, -1])[:, :vocabulary].argmax(-1)
            ids = self.token_ids_of(chosen).unsqueeze(-1)
            tokens.append(ids)
        return torch.cat(tokens, 1)

    def token_ids_of(self, chosen: "torch.Tensor") -> "torch.Tensor":
        """Return the token ids of indices into the logits."""
        return chosen if self.allowed_tokens is None else self.allowed_tokens[chosen]

    def _rotation(self, positions: "torch.Tensor") -> tuple["torch.Tensor", "torch.Tensor"]:
        """Return cosines and sines [batch, tokens, 1, dimension] of positions: Su et al. 2021, arXiv:2104.09864."""
        angles = (positions.unsqueeze(-1) * self.rotary_frequencies).repeat(1, 1, 2).unsqueeze(2)
        cos, sin = angles.cos() * self.rotary_scale, angles.sin() * self.rotary_scale
        return cos.to(self.dtype), sin.to(self.dtype)

    def _mask(self, positions: "torch.Tensor", end: int) -> "torch.Tensor":
        """Return 0 where a query attends, else -inf, [batch, 1, queries of a key head, positions to `end`]."""
        import torch

        later = torch.arange(end, device=self.device) > positions.unsqueeze(-1)
        mask = torch.zeros(later.shape, dtype=self.dtype, device=self.device).masked_fill(later, -float("inf"))
        return mask.repeat(1, self.heads // self.key_heads, 1).unsqueeze(1)

    def _attend(self, index, block: LayerWeights, hidden, positions, rotation, mask, cache: KVCache) -> "torch.Tensor":
        from torch.nn.functional import rms_norm, scaled_dot_product_attention

        batch, tokens, _ = hidden.shape
        projected = block.query_key_value(self._normed(hidden, block.attention_norm))
        projected = projected.view(batch, tokens, self.heads + 2 * self.key_heads, self.head_dim)
        query_key, value = projected.split((self.heads + self.key_heads, self.key_heads), dim=2)
        if block.head_norm is not None:
            query_key = rms_norm(query_key, query_key.shape[-1:], eps=self.epsilon) * block.head_norm
        query, key = _rotated(query_key, *rotation).split((self.heads, self.key_heads), dim=2)
        keys, values = cache.write(index, positions, key, value)
        # Query heads that share a key head are rows of one attention: keys and values are read once, not repeated.
        query = query.unflatten(2, (self.key_heads, -1)).permute(0, 2, 3, 1, 4).flatten(2, 3)
        attended = scaled_dot_product_attention(query, keys.transpose(1, 2), values.transpose(1, 2), attn_mask=mask)
        attended = attended.view(batch, self.key_heads, -1, tokens, self.head_dim).permute(0, 3, 1, 2, 4)
        return block.attention_out(attended.flatten(2))

    def _gated(self, block: LayerWeights, hidden: "torch.Tensor") -> "torch.Tensor":
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


def prefill(model: Backend, prompts: Texts, cache) -> "torch.Tensor":
    """Read prompts of any lengths into an empty cache; return the hidden state [batch, size] at the end of each."""
    import torch

    cached, lengths = model.begin(prompts, cache), list(map(len, prompts))
    padded = [[*prompt[cached:], *[0] * (max(lengths) - len(prompt))] for prompt in prompts]
    hidden = model.read_prompts(torch.tensor(padded, device=model.device), cache)
    cache.trim(lengths)
    return hidden[torch.arange(len(prompts)), torch.tensor(lengths) - cached - 1]
