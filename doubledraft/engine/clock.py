"""Moments on the device that computes: a GPU works on after the host gave it its work, so it notes them itself."""

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    Moment = float | torch.cuda.Event


def now(device: "torch.device") -> "Moment":
    """Note the moment when the device has done what it was given so far."""
    if device.type != "cuda":
        return time.perf_counter()
    import torch

    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def seconds(start: "Moment", end: "Moment") -> float:
    """Give the seconds between two moments of one device; waits until a GPU has come to the second."""
    if isinstance(start, float):
        return end - start
    end.synchronize()
    return start.elapsed_time(end) / 1000


class StepClock:
    """Times a step and its first part."""

    def __init__(self, device: "torch.device") -> None:
        self._device = device
        self.start()

    def start(self) -> None:
        """Begin a step."""
        self._start = self._middle = now(self._device)

    def part(self) -> None:
        """End the first part of a step."""
        self._middle = now(self._device)

    def step(self) -> tuple[float, float]:
        """End a step, whose results the host has; gives the seconds of its first part and of the rest."""
        end = now(self._device)  # nothing waits for it: the host has read what came before
        return seconds(self._start, self._middle), seconds(self._middle, end)
