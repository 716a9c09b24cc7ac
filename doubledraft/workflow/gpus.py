"""Which GPUs a job works on, where a machine has several.

Snakemake counts GPUs and makes jobs wait for one, but hands out no device: every job would take the first it sees. So a
job takes its own, by a lock on a file per device that the kernel lets go of however the job ends; jobs of two runs on
one machine keep apart by the same files. Locks go by what identifies a device on its machine, not by its number: where
a scheduler hands out devices (SLURM), a job sees only its own, perhaps all jobs as number 0.
"""

import fcntl
import os
import subprocess
import tempfile
import time
from pathlib import Path

from doubledraft.log import log

LIST = ["nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader"]
POLL_SECONDS = 1
_held: list[int] = []  # locked files, open as long as this process lives


class GpuError(RuntimeError):
    """GPUs that were asked for and are not there; the message says what to change."""


def take_gpus(count: int) -> None:
    """Let this process and those it starts see `count` GPUs that no other job has; waits for them, does nothing for 0.

    Raises GpuError where this process may not use so many. CUDA must not have started yet.
    """
    if not count:
        return
    devices = visible_gpus()
    if len(devices) < count:
        raise GpuError(
            f"this step needs {count} GPUs and may use {len(devices)} ({', '.join(devices) or 'none'}): lower "
            "engine.tensor_parallel, or say how many there are with --resources gpu=N (0 for none) or a profile"
        )
    if not (mine := _lock(devices, count)):
        log.info("waiting for %d of the GPUs %s, which other jobs have", count, ", ".join(devices))
    while not mine:
        time.sleep(POLL_SECONDS)
        mine = _lock(devices, count)
    _held.extend(mine.values())
    os.environ |= {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(mine)}
    log.info("on GPU %s of %s", ", ".join(mine), ", ".join(devices))


def visible_gpus() -> dict[str, str]:
    """Give the devices that this process may use: how CUDA_VISIBLE_DEVICES names each, and what identifies it."""
    try:
        listed = subprocess.run(LIST, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise GpuError(f"a GPU is asked for, nvidia-smi shows none: {error}; without one: --resources gpu=0") from None
    identities = dict(line.split(", ") for line in listed.splitlines())
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = list(identities) if given is None else [name.strip() for name in given.split(",") if name.strip()]
    return {name: identities.get(name, name) for name in names}


def _lock(devices: dict[str, str], count: int) -> dict[str, int]:
    """Lock `count` devices and give the open files, or none at all: who waits holds nothing that another waits for."""
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
