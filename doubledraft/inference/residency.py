"""The engines of several jobs on one machine, of which one answers at a time.

both     a process for each job, loaded once. One that waits uses no core, but all of its memory. Two vLLM engines
         share the GPU memory that one of them may take.
sleep    the same, but one that waits keeps its weights in the host's memory: vLLM's sleep mode, level 1, on a GPU
restart  one process at a time, started anew for each turn, as its start too may make it faster or slower
auto     `both` where all fit into memory, else `sleep` where that can be, else `restart`
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self

from doubledraft import machine
from doubledraft.inference.host import Host
from doubledraft.inference.job import Job, JobError
from doubledraft.log import log

GIB = 2**30
PROCESS_BYTES = 1.5 * GIB  # of an engine's process beside weights, keys and values: libraries, activations
GPU_ROOM = 1.3  # memory of an engine on a GPU / its weights, at least: keys and values, activations


class Engines:
    """Engines by name; a `with` block starts them, and ends them."""

    residency: str

    def __init__(self, jobs: Mapping[str, Job], warm_up: Callable[[Job, Host], None]) -> None:
        """Take the jobs by name; `warm_up` is called with an engine that was just loaded."""
        self.jobs = jobs
        self._warm_up = warm_up
        self._hosts: dict[str, Host] = {}

    def turn(self, name: str) -> Host:
        """Return an engine that is loaded, warm and awake; those returned before are not to be called any more."""
        raise NotImplementedError

    @property
    def peak_memory_gib(self) -> float:
        """Largest resident size of the processes that were there together, the sum of their own largest."""
        return sum(host.peak_memory_gib or 0 for host in self._hosts.values())

    def _start(self, name: str) -> Host:
        self._hosts[name] = Host(self.jobs[name])
        return self._hosts[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        for host in self._hosts.values():
            host.close()


class Both(Engines):
    """All loaded, from the first turn on."""

    residency = "both"

    def turn(self, name: str) -> Host:
        """Return an engine."""
        if not self._hosts:
            self._load()
        return self._hosts[name]

    def _load(self) -> None:
        for name in self.jobs:
            host = self._start(name)
            if machine.device() != "cpu":  # vLLM measures what memory is left of the GPU as it starts
                host.call("kernel")  # returns once it is loaded
        for name, host in self._hosts.items():
            self._warm_up(self.jobs[name], host)


class Sleep(Engines):
    """All started, one awake."""

    residency = "sleep"

    def __init__(self, jobs: Mapping[str, Job], warm_up: Callable[[Job, Host], None]) -> None:
        """Refuse jobs whose engines cannot sleep."""
        if machine.device() == "cpu" or any(job.engine != "vllm" for job in jobs.values()):
            raise JobError(
                "config key benchmark.residency is sleep, which needs vLLM on a GPU: set it to both or restart"
            )
        super().__init__({name: replace(job, sleeps=True) for name, job in jobs.items()}, warm_up)
        self._awake: str | None = None

    def turn(self, name: str) -> Host:
        """Let the engine that is awake sleep, if it is another one, and wake this one or start it."""
        if self._awake == name:
            return self._hosts[name]
        if self._awake:
            self._hosts[self._awake].call("sleep")
        if name in self._hosts:
            self._hosts[name].call("wake")
        else:
            self._start(name)
        self._awake = name
        self._warm_up(self.jobs[name], self._hosts[name])
        return self._hosts[name]


class Restart(Engines):
    """One loaded, anew for each turn."""

    residency = "restart"

    def __init__(self, jobs: Mapping[str, Job], warm_up: Callable[[Job, Host], None]) -> None:
        """Take the jobs."""
        super().__init__(jobs, warm_up)
        self._peak = 0.0  # GiB, of engines that have ended

    def turn(self, name: str) -> Host:
        """End the engine of the turn before and start this one."""
        for ended in list(self._hosts):
            host = self._hosts.pop(ended)
            self._peak = max(self._peak, host.peak_memory_gib or 0)
            host.close()
        host = self._start(name)
        self._warm_up(self.jobs[name], host)
        return host

    @property
    def peak_memory_gib(self) -> float:
        """Largest resident size of any of the processes."""
        return max(self._peak, super().peak_memory_gib)


def open_engines(jobs: Mapping[str, Job], residency: str, warm_up: Callable[[Job, Host], None]) -> Engines:
    """Return the engines of jobs, none of them started yet."""
    residency = choose(jobs) if residency == "auto" else residency
    if residency == "both" and machine.device() != "cpu":
        jobs = {
            name: replace(job, gpu_memory_utilization=job.gpu_memory_utilization / len(jobs))
            for name, job in jobs.items()
        }
    return {kind.residency: kind for kind in (Both, Sleep, Restart)}[residency](jobs, warm_up)


def choose(jobs: Mapping[str, Job]) -> str:
    """Return the residency for `auto`, and log why."""
    on_gpu = machine.device() != "cpu"
    needed, available = _on_gpu(jobs) if on_gpu else _in_memory(jobs)
    if needed <= available:
        residency = "both"
    elif on_gpu and all(job.engine == "vllm" for job in jobs.values()):
        residency = "sleep"
    else:
        residency = "restart"
    log.info(
        "residency %s: %d engine(s) need about %.1f GiB, of %.1f GiB available",
        *(residency, len(jobs), needed / GIB, available / GIB),
    )
    return residency


def _in_memory(jobs: Mapping[str, Job]) -> tuple[float, float]:
    """Return the bytes that engines on CPU take, and those that are available."""
    caches = sum(job.kv_cache_gib * GIB for job in jobs.values() if job.engine == "vllm")
    return caches + sum(map(_weights, jobs.values())) + PROCESS_BYTES * len(jobs), machine.available_memory()


def _on_gpu(jobs: Mapping[str, Job]) -> tuple[float, float]:
    """Return the bytes of a GPU that engines take, if each had what the largest one needs, and those they may take."""
    import torch

    largest = max(_weights(job) / job.tensor_parallel for job in jobs.values())
    share = min(job.gpu_memory_utilization for job in jobs.values())
    return GPU_ROOM * largest * len(jobs), share * torch.cuda.get_device_properties(0).total_memory


def _weights(job: Job) -> float:
    files = [file for folder in (job.model, job.draft) if folder for file in Path(folder).glob("*.safetensors")]
    return sum(file.stat().st_size for file in files)
