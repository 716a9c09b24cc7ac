"""The machine that a process runs on: its cores, its device, and how libraries may use the network."""

import os
import re
from pathlib import Path

OFFLINE = {  # models are fetched by their own rule; nothing else may reach out or send statistics
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "UNSLOTH_DISABLE_STATISTICS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
MEMORY_LIMIT, MEMORY_STAT = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.stat")
MEMORY = Path("/proc/meminfo")


def own_cores() -> list[int]:
    """Return the CPUs this process may use, one per physical core, at most as many as the container's quota allows."""
    cores = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.setdefault(siblings.read_text() if siblings.exists() else cpu, cpu)
    return list(cores.values())[: _quota()]


def use_own_cores() -> None:
    """Set torch's threads to the cores it may use: Snakemake sets OMP_NUM_THREADS to 1 under `--cores 1`."""
    import torch

    torch.set_num_threads(len(own_cores()))


def device() -> str:
    """Return the torch device that models run on here: "cuda" where there is a GPU, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def limit_hub_waits() -> None:
    """Let every request to the hub fail after HF_HUB_DOWNLOAD_TIMEOUT seconds of silence, 10 where it is not set.

    The hub's client would wait for lists of files without limit.
    """
    from huggingface_hub import constants, set_client_factory
    from huggingface_hub.utils._http import default_client_factory

    def limit(request):
        phases = request.extensions["timeout"]
        request.extensions["timeout"] = dict.fromkeys(phases, constants.HF_HUB_DOWNLOAD_TIMEOUT)

    def client():
        client = default_client_factory()
        client.event_hooks["request"].append(limit)
        return client

    set_client_factory(client)


def available_memory() -> int:
    """Return the bytes that new processes may take: those that are available, within the container's limit."""
    free = 1024 * int(re.search(r"^MemAvailable: +(\d+) kB$", MEMORY.read_text(), re.MULTILINE)[1])
    limit = MEMORY_LIMIT.read_text().strip() if MEMORY_LIMIT.exists() else "max"
    if limit == "max":
        return free
    anonymous = int(re.search(r"^anon (\d+)$", MEMORY_STAT.read_text(), re.MULTILINE)[1])  # caches of files make room
    return max(0, min(free, int(limit) - anonymous))


def _quota() -> int | None:
    """Return the whole CPUs of the cgroup's CPU time quota, None without one."""
    quota, period = CPU_QUOTA.read_text().split() if CPU_QUOTA.exists() else ("max", "1")
    return None if quota == "max" else max(1, round(int(quota) / int(period)))
