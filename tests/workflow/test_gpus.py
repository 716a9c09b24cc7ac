"""Which GPU a job gets, on made-up devices: a program `nvidia-smi` that lists three."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
JOB = """
import os, sys
from doubledraft.workflow.gpus import take_gpus
take_gpus(int(sys.argv[1]))
print(os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("CUDA_DEVICE_ORDER"), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def machine(tmp_path):
    """Return a function that starts a job on a machine of three GPUs and waits for the devices that it sees."""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nprintf '0, GPU-a\\n1, GPU-b\\n2, GPU-c\\n'\n")
    program.chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    environment |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    started = []

    def start(count: int, **more: str) -> subprocess.Popen:
        job = subprocess.Popen(
            [sys.executable, "-c", JOB, str(count)],
            env=environment | more,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(job)
        return job

    yield start
    for job in started:
        job.kill()
        job.wait()
        for pipe in (job.stdin, job.stdout, job.stderr):
            pipe.close()


def devices(job: subprocess.Popen) -> str:
    """Return the CUDA_VISIBLE_DEVICES that a job ended up with."""
    return job.stdout.readline().split()[0]


def test_jobs_side_by_side_get_different_gpus_and_see_no_other(machine):
    first, second = machine(1), machine(1)
    assert {devices(first), devices(second)} == {"0", "1"}


def test_a_job_of_several_gpus_takes_what_is_left(machine):
    assert devices(machine(1)) == "0"
    assert devices(machine(2)) == "1,2"


@pytest.mark.parametrize("end", ["done", "killed"])
def test_a_job_waits_for_a_gpu_and_gets_it_when_another_job_ends(machine, end):
    holding = machine(2)
    assert devices(holding) == "0,1"
    waiting = machine(2)
    assert devices(machine(1)) == "2", "who waits for two holds none meanwhile"
    holding.stdin.close() if end == "done" else holding.send_signal(signal.SIGKILL)
    assert devices(waiting) == "0,1"


def test_devices_are_numbered_as_nvidia_smi_does(machine):
    assert machine(1).stdout.readline() == "0 PCI_BUS_ID\n"


def test_devices_that_were_handed_out_already_are_kept(machine):
    assert devices(machine(1, CUDA_VISIBLE_DEVICES="2")) == "2"
    assert devices(machine(2, CUDA_VISIBLE_DEVICES="1,0")) == "1,0"


def test_a_job_without_gpus_takes_none_and_asks_no_program(machine, tmp_path):
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    assert devices(machine(0)) == "None"


@pytest.mark.parametrize(("visible", "said"), [("0", r"needs 2 GPUs and may use 1 \(0\)"), ("", r"may use 0 \(none\)")])
def test_more_gpus_than_there_are_is_an_error_that_says_what_to_change(machine, visible, said):
    job = machine(2, CUDA_VISIBLE_DEVICES=visible)
    text = job.communicate()[1]
    assert job.returncode and re.search(said, text) and "--resources gpu=N" in text


def test_a_machine_without_nvidia_smi_is_told_so(machine, tmp_path):
    (tmp_path / "nvidia-smi").unlink()
    job = machine(1, PATH="/nowhere")
    assert "nvidia-smi" in job.communicate()[1] and job.returncode
