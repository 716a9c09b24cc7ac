"""A step of white-box distillation on one GPU, which `benchmarks.gpu` measures: the draft learns distributions."""

import argparse
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING

from doubledraft.engine import clock

if TYPE_CHECKING:
    import torch


def measure(target, draft, options: argparse.Namespace) -> dict[str, float | None]:
    """Return the seconds of a step and of its parts, its tokens per second, and the most memory in use."""
    import torch

    cuda = options.device.startswith("cuda")
    optimizer = torch.optim.AdamW(draft.parameters(), lr=1e-5, fused=cuda or None)
    ids = torch.randint(draft.config.vocab_size, (options.batch, options.length), device=options.device)
    if cuda:
        torch.cuda.reset_peak_memory_stats(options.device)
    steps = [distillation_step(target, draft, optimizer, ids, options.chunk) for _ in range(options.repeats + 1)][1:]
    step = median(sum(spent.values()) for spent in steps)
    return {
        "step": step,
        **{name: median(spent[name] for spent in steps) for name in steps[0]},
        "tokens_per_second": ids.numel() / step,
        "peak_bytes": torch.cuda.max_memory_allocated(options.device) if cuda else None,
    }


def distillation_step(target, draft, optimizer, ids: "torch.Tensor", chunk: int) -> dict[str, float]:
    """Return the seconds of each part of a step."""
    laps = _Laps(ids.device)
    add_gradient(target, draft, ids, chunk, laps.end)
    optimizer.step()
    optimizer.zero_grad()
    laps.end("optimizer")
    return laps.seconds()


def add_gradient(target, draft, ids: "torch.Tensor", chunk: int, lap: Callable[[str], object]) -> "torch.Tensor":
    """Add the gradient of the loss to the draft's, and return the loss.

    It is the mean over all positions of KL(p||q) = sum p (log p - log q), p the target's distribution and q the
    draft's. Logits of all positions would fill the memory, so the heads see `chunk` of them at a time: each chunk goes
    back to the draft's last hidden states, and what has gathered there goes on through its layers at once.
    """
    import torch

    with torch.no_grad():
        known = target.model(ids, use_cache=False).last_hidden_state.flatten(0, 1)
    lap("target_forward")
    hidden = draft.model(ids, use_cache=False).last_hidden_state.flatten(0, 1)
    last, loss = hidden.detach().requires_grad_(), 0.0
    for of_target, of_draft in zip(known.split(chunk), last.split(chunk), strict=True):
        lap("draft_forward_backward")
        with torch.no_grad():
            log_p = _log_probabilities(target, of_target)
        lap("target_forward")
        part = divergence(log_p, _log_probabilities(draft, of_draft)) / len(last)
        part.backward()
        loss = loss + part.detach()
    hidden.backward(last.grad)
    lap("draft_forward_backward")
    return loss


def _log_probabilities(model, hidden: "torch.Tensor") -> "torch.Tensor":
    return model.get_output_embeddings()(hidden).float().log_softmax(-1)


def divergence(log_p: "torch.Tensor", log_q: "torch.Tensor") -> "torch.Tensor":
    """Return KL(p||q) = sum p (log p - log q), summed over positions."""
    return (log_p.exp() * (log_p - log_q)).sum()


class _Laps:
    """Seconds of the device, by what it did in them."""

    def __init__(self, device: "torch.device") -> None:
        self._device, self._moments = device, [("", clock.now(device))]

    def end(self, name: str) -> None:
        """Count what was given to the device since the last call as `name`."""
        self._moments.append((name, clock.now(self._device)))

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each name."""
        spent = {}
        for (_, start), (name, end) in zip(self._moments, self._moments[1:], strict=False):
            spent[name] = spent.get(name, 0.0) + clock.seconds(start, end)
        return spent
