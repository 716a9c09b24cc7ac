"""Time on the device that computes: a GPU runs behind the host, so moments are CUDA events there."""

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    Moment = float | torch.cuda.Event


def now(device: "torch.device") -> "Moment":
    """Return the moment at which the device has done all that was launched so far."""
    if device.type != "cuda":
        return time.perf_counter()
    import torch

    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def seconds(start: "Moment", end: "Moment") -> float:
    """Return the seconds between two moments of one device, after waiting until a GPU has reached the second."""
    if isinstance(start, float):
        return end - start
    end.synchronize()
    return start.elapsed_time(end) / 1000


class StepTimer:
    """Times a decoding step and its first part, the drafting."""

    def __init__(self, device: "torch.device") -> None:
        self._device = device
        self.start()

    def start(self) -> None:
        """Start a step."""
        self._start = self._middle = now(self._device)

    def part(self) -> None:
        """End the first part of a step."""
        self._middle = now(self._device)

    def step(self) -> tuple[float, float]:
        """End a step whose results the host has; return the seconds of its first part and of the rest."""
        end = now(self._device)  # no extra wait: the host has read the results
        return seconds(self._start, self._middle), seconds(self._middle, end)
