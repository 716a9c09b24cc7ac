"""A backend for CUDA whose passes are graphs: one launch for a pass, and one for a whole greedy draft.

A pass of one token is hundreds of kernels of microseconds, and launching them from Python takes longer than they run.
A graph is one launch, but repeats exactly the kernels, addresses and shapes that were captured. So a captured pass
attends to all positions of its cache, those beyond a row's length masked, and a released cache is reused, with its
captured graphs, by the next run of the same shape. Prompts are read without a graph.

The length of each row is a tensor on the device, which a graph advances as the pass that it captured did; the host
keeps its own count. Only the capture itself needs CUDA: without it the work is run again, which is how the tests run
this module on a CPU. `create_backend` uses it on every GPU.
"""

from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from doubledraft.engine.backend import Backend
from doubledraft.engine.kv_cache import KVCache

if TYPE_CHECKING:
    import torch

POSITIONS = 256  # capacities are multiples of it, so that prompts of different lengths share a cache
MOST_TOKENS = 32  # most tokens of a pass that is captured; prompts have more

Work = Callable[["torch.Tensor", KVCache], "torch.Tensor"]


def captures() -> int:
    """Return how many graphs this process has captured."""
    return _Graph.captures


class _WholeCache(KVCache):
    """A cache as a captured pass sees it: all positions."""

    def __init__(self, cache: KVCache) -> None:
        vars(self).update(vars(cache))  # the same buffers

    def require(self, tokens: int) -> None:
        """Do nothing: the caller's cache has checked."""

    def seen(self, tokens: int) -> int:
        """Return all positions."""
        return self.capacity


class _Reusable:
    """A cache that stays allocated, and the graphs that were captured over it."""

    def __init__(self, cache: KVCache) -> None:
        self.cache, self.whole = cache, _WholeCache(cache)
        self.graphs: dict[tuple, _Graph] = {}


class _Graph:
    """Work that was captured over one cache for one shape of ids."""

    captures = 0

    def __init__(self, work: Work, ids: "torch.Tensor", cache: KVCache) -> None:
        import torch

        _Graph.captures += 1
        self._ids, self._work, self._cache, self._graph = ids.clone(), work, cache, None
        if ids.device.type != "cuda":
            return
        lengths = cache.lengths.clone()
        side_stream = torch.cuda.Stream()  # libraries choose kernels in the first runs, which must not be captured
        side_stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side_stream):
            for _ in range(2):
                work(self._ids, cache)
                cache.lengths.copy_(lengths)
        torch.cuda.current_stream().wait_stream(side_stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._found = work(self._ids, cache)
        cache.lengths.copy_(lengths)

    def __call__(self, ids: "torch.Tensor") -> "torch.Tensor":
        """Do the work on other ids; the next call overwrites what it returns."""
        self._ids.copy_(ids)
        if self._graph is None:
            return self._work(self._ids, self._cache)
        self._graph.replay()
        return self._found


class GraphedBackend(Backend):
    """A model whose short passes and greedy drafts are graphs."""

    kernel = "graphs"

    def new_cache(self, batch: int, capacity: int) -> KVCache:
        """Return an empty cache of `batch` rows of at least `capacity` positions, a released one where there is one."""
        capacity = -(-capacity // POSITIONS) * POSITIONS
        used = set(self._in_use.values())
        free = (reusable for reusable in self._pool if reusable not in used)
        reusable = next((candidate for candidate in free if candidate.cache.keys.shape[1:3] == (batch, capacity)), None)
        if reusable is None:
            reusable = _Reusable(super().new_cache(batch, capacity))
            self._pool.append(reusable)
        cache = copy(reusable.cache)
        cache.trim([0] * batch)
        self._in_use[cache] = reusable
        return cache

    def forward(self, ids: "torch.Tensor", cache: KVCache) -> "torch.Tensor":
        """Read [batch, tokens] ids at the next positions of the cache; return hidden states [batch, tokens, size]."""
        if isinstance(cache, _WholeCache) or ids.shape[1] > MOST_TOKENS:
            return super().forward(ids, cache)
        return self._replay(("forward",), super().forward, ids, cache, ids.shape[1])

    def read_prompts(self, ids: "torch.Tensor", cache: KVCache) -> "torch.Tensor":
        """Read [batch, tokens] ids of prompts without a graph, which every length would need anew."""
        return super().forward(ids, cache)

    def greedy_draft(self, ids: "torch.Tensor", cache: KVCache, count: int, vocabulary: int) -> "torch.Tensor":
        """Read [batch, n] ids and continue greedily with tokens below `vocabulary`; return [batch, count] of them."""

        def work(ids: "torch.Tensor", cache: KVCache) -> "torch.Tensor":
            return Backend.greedy_draft(self, ids, cache, count, vocabulary)

        return self._replay(("draft", count, vocabulary), work, ids, cache, ids.shape[1] + count - 1)

    def _take_weights(self, *weights) -> None:
        super()._take_weights(*weights)
        self._pool: list[_Reusable] = []
        self._in_use: WeakKeyDictionary[KVCache, _Reusable] = WeakKeyDictionary()

    def _replay(self, key: tuple, work: Work, ids: "torch.Tensor", cache: KVCache, tokens: int) -> "torch.Tensor":
        """Do work that reads `tokens` tokens, capturing it the first time that ids have this shape."""
        cache.require(tokens)
        reusable = self._in_use[cache]
        key = (*key, ids.shape[1])
        if key not in reusable.graphs:
            reusable.graphs[key] = _Graph(work, ids, reusable.whole)
        result = reusable.graphs[key](ids)
        cache.longest += tokens
        return result
