"""Assigns GPUs to jobs, where a machine has several.

Snakemake counts GPUs and makes jobs wait for one, but assigns no device: every job would use the first one. So a job
locks one file per device that it takes; the kernel releases the lock however the job ends, and jobs of two runs on one
machine respect the same files. A lock file is named after the UUID of its device, not its index: where a scheduler
assigns devices (SLURM), a job sees only its own, and each job may see it as number 0.
"""

import fcntl
import os
import subprocess
import tempfile
import time
from pathlib import Path

from doubledraft.log import log

LIST_GPUS = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
POLL_SECONDS = 1
_held: list[int] = []  # locked files, open as long as this process lives


class GpuError(RuntimeError):
    """More GPUs were requested than can be used; the message says what to change."""


def take_gpus(count: int) -> None:
    """Reserve `count` GPUs for this process and its children, waiting until they are free; do nothing for 0.

    Sets CUDA_VISIBLE_DEVICES, so CUDA must not be initialised yet. Raise GpuError where fewer are visible.
    """
    if not count:
        return
    devices = visible_gpus()
    if len(devices) < count:
        raise GpuError(
            f"this step needs {count} GPUs and may use {len(devices)} ({', '.join(devices) or 'none'}): lower "
            "engine.tensor_parallel, or set the number of GPUs with --resources gpu=N (0 for none) or a profile"
        )
    if not (locked := _lock(devices, count)):
        log.info("waiting for %d of the GPUs %s, which other jobs hold", count, ", ".join(devices))
    while not locked:
        time.sleep(POLL_SECONDS)
        locked = _lock(devices, count)
    _held.extend(locked.values())
    os.environ |= {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(locked)}
    log.info("on GPU %s of %s", ", ".join(locked), ", ".join(devices))


def visible_gpus() -> dict[str, str]:
    """Return the devices that this process may use: their names in CUDA_VISIBLE_DEVICES, with their UUIDs."""
    try:
        listing = subprocess.run(LIST_GPUS, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise GpuError(
            f"this run asks for a GPU, but nvidia-smi shows none: {error}; to run without one, add --resources gpu=0"
        ) from None
    identities = dict(line.split(", ") for line in listing.splitlines())
    setting = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = list(identities) if setting is None else [name.strip() for name in setting.split(",") if name.strip()]
    return {name: identities.get(name, name) for name in names}


def _lock(devices: dict[str, str], count: int) -> dict[str, int]:
    """Lock `count` devices and return the open files, or lock none: a waiting job must not block another."""
    folder = Path(tempfile.gettempdir(), f"doubledraft-gpus-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    locked = {}
    for name, identity in devices.items():
        file = os.open(folder / f"{identity.replace('/', '-')}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            continue
        locked[name] = file
        if len(locked) == count:
            return locked
    for file in locked.values():
        os.close(file)
    return {}
