"""Keys and values of a batch, in buffers that are allocated once and never moved.

Each row has a length: positions before it are valid, those beyond are left over from a rejected draft or from padding.
Rolling back a draft therefore sets the length; nothing is copied, and the next pass overwrites the rest. Rows differ in
length, so every pass takes the position of each of its tokens.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class CacheFull(ValueError):
    """More tokens than the cache has positions for."""


class KVCache:
    """Static key and value buffers, [layer, row, position, head, dimension], and the length of each row."""

    def __init__(
        self,
        layers: int,
        batch: int,
        capacity: int,
        heads: int,
        head_dim: int,
        dtype: "torch.dtype",
        device: "torch.device",
    ) -> None:
        import torch

        # Zeros, not empty memory: a position that is masked out still enters a product, and 0 * NaN is NaN.
        self.keys = torch.zeros(layers, batch, capacity, heads, head_dim, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.lengths = torch.zeros(batch, dtype=torch.long, device=device)
        self.longest = 0  # of the lengths, known without asking the device
        self._first_slots = torch.arange(batch, device=device).unsqueeze(-1) * capacity

    @property
    def capacity(self) -> int:
        """Positions of each row."""
        return self.keys.shape[2]

    def require(self, tokens: int) -> None:
        """Raise CacheFull where a row has no room for `tokens` more."""
        if self.longest + tokens > self.capacity:
            raise CacheFull(f"the cache has {self.capacity} positions, but {self.longest} + {tokens} are needed")

    def seen(self, tokens: int) -> int:
        """Return how many positions, from the first, a pass over `tokens` more attends to."""
        return self.longest + tokens

    def next_positions(self, tokens: int) -> "torch.Tensor":
        """Return the positions [batch, tokens] of each row's next tokens; raise CacheFull where there are too few."""
        import torch

        self.require(tokens)
        return self.lengths.unsqueeze(-1) + torch.arange(tokens, device=self.lengths.device)

    def write(
        self, layer: int, positions: "torch.Tensor", keys: "torch.Tensor", values: "torch.Tensor"
    ) -> tuple["torch.Tensor", "torch.Tensor"]:
        """Store [batch, tokens, head, dimension] at `positions`; return all keys and values that any row attends to."""
        slots = (self._first_slots + positions).flatten()
        for buffer, new in ((self.keys, keys), (self.values, values)):
            buffer[layer].flatten(0, 1).index_copy_(0, slots, new.flatten(0, 1))
        end = self.seen(positions.shape[1])
        return self.keys[layer][:, :end], self.values[layer][:, :end]

    def advance(self, tokens: int) -> None:
        """Extend every row by `tokens` positions."""
        self.lengths += tokens
        self.longest += tokens

    def begin_as(self, other: "KVCache") -> None:
        """Begin every row with all positions of another cache, which has one row."""
        for buffer, source in ((self.keys, other.keys), (self.values, other.values)):
            buffer[:, :, : other.longest] = source[:, :, : other.longest]
        self.trim([other.longest] * len(self.lengths))

    def trim(self, lengths: Sequence[int]) -> None:
        """Set the length of each row, which drops what lies beyond."""
        import torch

        self.lengths.copy_(torch.tensor(lengths))
        self.longest = max(lengths)
