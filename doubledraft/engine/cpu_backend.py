"""Backends whose forward pass is one call of code compiled for this CPU: as fast as memory delivers the weights.

Weights stay as they are stored, bfloat16 or float32, and sums are float32, taken in one order however many tokens a
pass has. So a token's logits have the same bits in a verification as in a plain step, and greedy speculation is
lossless in bfloat16 too. The code is in `cpu_pass.cpp`; `cpu_pass` compiles it.
"""

import ctypes
from typing import TYPE_CHECKING

from doubledraft.engine.backend import Backend
from doubledraft.engine.cpu_pass import Layer, Matrix, Model, Pass, library
from doubledraft.engine.kv_cache import KVCache
from doubledraft.engine.weights import MATRICES, Weights, head_norm, joined, take_layers
from doubledraft.models.folder import ModelError

if TYPE_CHECKING:
    import torch

DTYPES = {"torch.float32": "float32", "torch.bfloat16": "bfloat16"}  # of weights and cache, and their name in the code
WIDTH = 16  # numbers of the code's vectors; heads are multiples of it, and rows of weights of twice as many


def can_run(config, dtype: "torch.dtype") -> bool:
    """Return whether the compiled pass can run a model of transformers' `config` in `dtype`, and be compiled here."""
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rows = (config.hidden_size, config.intermediate_size, config.num_attention_heads * head_dim)
    fits = head_dim % WIDTH == 0 and not any(length % (2 * WIDTH) for length in rows)
    return str(dtype) in DTYPES and fits and library() is not None


class CompiledBackend(Backend):
    """A model whose pass is compiled for this CPU; its logits are float32."""

    kernel = "compiled"

    def _take_weights(self, embedding: "torch.Tensor", layers, norm: "torch.Tensor", head: Weights) -> None:
        self._pass, self._project, self._states = self._functions(library(), DTYPES[str(self.dtype)])
        self._held: list[torch.Tensor] = []  # tensors that the structures below point to
        blocks = take_layers(layers, self._block)
        self._head = self._matrix(head)
        self._model = Model(
            (Layer * len(blocks))(*blocks),
            *(self.layers, self.vocabulary, self.size, self.heads, self.key_heads, self.head_dim),
            *(self.epsilon, self.rotary_scale),
            *(self._at(self.rotary_frequencies.float()), self._at(embedding), self._at(norm.float())),
        )

    def _functions(self, code: ctypes.CDLL, kind: str) -> tuple:
        """Return the pass, the projection of the head, and the type of the hidden states between them."""
        return getattr(code, f"pass_{kind}"), getattr(code, f"project_{kind}"), self.dtype

    def _block(self, layer) -> Layer:
        attention, mlp = layer.self_attn, layer.mlp
        norm = head_norm(attention)
        return Layer(
            self._at(layer.input_layernorm.weight.detach().float()),
            self._matrix(joined(attention.q_proj, attention.k_proj, attention.v_proj)),
            None if norm is None else self._at(norm.float()),
            self._matrix(joined(attention.o_proj)),
            self._at(layer.post_attention_layernorm.weight.detach().float()),
            self._matrix(joined(mlp.gate_proj, mlp.up_proj)),
            self._matrix(joined(mlp.down_proj)),
        )

    def _matrix(self, weights: Weights) -> Matrix:
        weight, bias = weights
        weight, scale = self._stored(weight)
        others = (None if tensor is None else self._at(tensor.float()) for tensor in (scale, bias))
        return Matrix(self._at(weight), *others, *weight.shape)

    def _stored(self, weight: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor | None]":
        """Return a weight as it is stored, and the scale of each row or None."""
        return weight, None

    def _at(self, tensor: "torch.Tensor") -> int:
        """Return a tensor's address, and keep the tensor alive."""
        self._held.append(tensor.contiguous())
        return self._held[-1].data_ptr()

    def matrices(self) -> "list[dict[str, torch.Tensor]]":
        """Return for each layer its weights by their names in MATRICES: passes read them where they lie."""
        held = {tensor.data_ptr(): tensor for tensor in self._held}
        return [
            {name: held[getattr(block, name).weight] for name in MATRICES}
            for block in self._model.blocks[: self.layers]
        ]

    def forward(self, ids: "torch.Tensor", cache: KVCache) -> "torch.Tensor":
        """Read [batch, tokens] ids at the next positions of the cache; return hidden states [batch, tokens, size]."""
        import torch

        cache.require(ids.shape[1])
        ids = ids.contiguous()
        hidden = torch.empty(*ids.shape, self.size, dtype=self._states)
        arguments = Pass(
            *(ids.data_ptr(), cache.lengths.data_ptr(), *ids.shape, cache.capacity),
            *(cache.keys.data_ptr(), cache.values.data_ptr(), hidden.data_ptr()),
        )
        if self._pass(self._model, arguments, torch.get_num_threads()):
            raise IndexError(f"token ids should be from 0 to {self.vocabulary - 1}, found {ids.tolist()}")
        cache.advance(ids.shape[1])
        return hidden

    def logits(self, hidden: "torch.Tensor") -> "torch.Tensor":
        """Return the logits [..., vocabulary or allowed tokens] of the token that follows each hidden state."""
        import torch

        hidden = hidden.contiguous()
        logits = torch.empty(*hidden.shape[:-1], self._head.rows)
        count = hidden.numel() // self.size
        self._project(self._head, hidden.data_ptr(), count, logits.data_ptr(), torch.get_num_threads())
        return logits


class Int8Backend(CompiledBackend):
    """A model whose weights are rounded to 8 bits, with a scale for each row: half the bytes of bfloat16, and lossy.

    A draft may be accepted a little less often, while the output stays the target's; a target would be another model.
    Keys, values and the embedding keep their type.
    """

    kernel = "compiled, int8 weights"
    weights_dtype, item_bytes = "int8", 1

    def _functions(self, code: ctypes.CDLL, kind: str) -> tuple:
        import torch

        return getattr(code, f"pass_int8_{kind}"), code.project_int8, torch.float32

    def matrices(self) -> "list[dict[str, torch.Tensor]]":
        """Raise ModelError: weights in 8 bits have scales that belong to them."""
        raise ModelError(f"{self.name}: weights in 8 bits cannot be replaced: load it without int8")

    def _stored(self, weight: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor | None]":
        import torch

        weight = weight.float()
        scale = (weight.abs().amax(1) / 127).clamp(min=torch.finfo(torch.float32).tiny)
        return (weight / scale.unsqueeze(1)).round().to(torch.int8), scale
