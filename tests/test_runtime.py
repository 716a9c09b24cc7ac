"""Logs, hashes and provenance.  pytest tests/test_runtime.py"""

import subprocess
import sys

from doubledraft import runtime


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


def test_the_config_hash_sees_values_and_not_the_order_of_keys():
    assert runtime.config_hash({"a": 1, "b": [2]}) == runtime.config_hash({"b": [2], "a": 1})
    assert runtime.config_hash({"a": 1}) != runtime.config_hash({"a": 2})


def test_provenance_names_code_libraries_hardware_and_time():
    made = runtime.provenance()
    assert {"doubledraft", "commit", "python", "libraries", "hardware", "time"} <= made.keys()
    assert {"torch", "transformers", "snakemake"} <= made["libraries"].keys()
    assert made["hardware"]["cores"] >= 1 and made["hardware"]["processor"]
