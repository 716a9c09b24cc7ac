"""Energy that the machine counts: processor packages by RAPL, GPUs by NVML, where they can be read.

Both count for the whole device, idle power and other processes included, so a difference of two readings is the energy
of a job only on a machine that does nothing else.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

POWERCAP = "/sys/class/powercap"


@dataclass
class Counter:
    """A count of joules that starts anew at `wraps_at`."""

    name: str
    read: Callable[[], float]
    wraps_at: float | None = None  # joules; None where it never does
    total: float = 0.0  # since the first reading
    last: float = field(init=False)

    def __post_init__(self) -> None:
        """Read once: what was counted before does not count."""
        self.last = self.read()

    def joules(self) -> float:
        """Return the joules since the first reading; the counter may wrap at most once between two readings."""
        now = self.read()
        self.total += now - self.last + (self.wraps_at if self.wraps_at and now < self.last else 0)
        self.last = now
        return self.total


@dataclass
class EnergyMeter:
    """The counters of a machine."""

    counters: list[Counter]
    reason: str | None  # why there is none

    @property
    def source(self) -> str | None:
        """What is counted; None where nothing is."""
        return ", ".join(counter.name for counter in self.counters) or None

    def joules(self) -> float | None:
        """Return the joules since the meter was opened, of all counters; None where there is none."""
        return sum(counter.joules() for counter in self.counters) if self.counters else None


def open_meter(powercap: str | Path = POWERCAP) -> EnergyMeter:
    """Return a meter of this machine; where nothing can be read, one that says why."""
    packages, no_rapl = _rapl(Path(powercap))
    gpus, no_nvml = _nvml()
    counters = packages + gpus
    return EnergyMeter(counters, None if counters else f"RAPL: {no_rapl}; NVML: {no_nvml}")


def _rapl(powercap: Path) -> tuple[list[Counter], str]:
    """Return the counters of the processor packages, whose parts are left out, or why there is none."""
    counters, reason = [], f"no counter in {powercap}"
    for zone in sorted(zone for zone in powercap.glob("*-rapl:*") if zone.name.count(":") == 1):
        file = zone / "energy_uj"
        try:
            wraps_at = int((zone / "max_energy_range_uj").read_text()) / 1e6
            counters.append(
                Counter(f"RAPL {(zone / 'name').read_text().strip()}", lambda file=file: _joules(file), wraps_at)
            )
        except OSError as error:
            reason = f"{file}: {error.strerror}"
    return counters, reason


def _joules(file: Path) -> float:
    return int(file.read_text()) / 1e6


def _nvml() -> tuple[list[Counter], str]:
    """Return the counters of the GPUs that this process may use, or why there is none."""
    try:
        import pynvml
    except ImportError:
        return [], "pynvml is not installed"
    try:
        pynvml.nvmlInit()
        handles = {name: _handle(pynvml, name) for name in _visible(pynvml.nvmlDeviceGetCount())}
        return [
            Counter(f"NVML GPU {name}", lambda at=at: pynvml.nvmlDeviceGetTotalEnergyConsumption(at) / 1e3)
            for name, at in handles.items()
        ], "no GPU"
    except pynvml.NVMLError as error:
        return [], str(error)


def _visible(count: int) -> list[str]:
    """Return the GPUs of CUDA_VISIBLE_DEVICES, numbers or UUIDs; all where it is not set."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return list(map(str, range(count))) if named is None else [name for name in named.split(",") if name]


def _handle(pynvml, name: str):
    return pynvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdigit() else pynvml.nvmlDeviceGetHandleByUUID(name)
