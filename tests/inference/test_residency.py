"""Who is loaded, awake and warm when an engine's turn comes, and which residency fits a machine.

The engines here only note what becomes of them: vLLM's sleep mode needs a GPU, on which it was not tried.
"""

import logging
from pathlib import Path

import pytest

from doubledraft import machine
from doubledraft.inference import residency
from doubledraft.inference.job import Job, JobError
from doubledraft.inference.residency import GIB, choose, open_engines
from tests.helpers.small_job import small_job


class Noted:
    """A host that notes what is done with it."""

    def __init__(self, job: Job) -> None:
        self.name, self.job, self.peak_memory_gib = job.mode, job, 1.5 if job.mode == "baseline" else 2.0
        EVENTS.append(f"start {self.name}")

    def call(self, method: str, *arguments) -> tuple[None, float]:
        """Note a call."""
        EVENTS.append(f"{method} {self.name}")
        return None, 0.0

    def close(self) -> None:
        """Note the end."""
        EVENTS.append(f"end {self.name}")


EVENTS: list[str] = []


@pytest.fixture(autouse=True)
def noted(monkeypatch):
    EVENTS.clear()
    monkeypatch.setattr(residency, "Host", Noted)
    monkeypatch.setattr(machine, "device", lambda: "cpu")


@pytest.fixture
def gpu(noted, monkeypatch):
    monkeypatch.setattr(machine, "device", lambda: "cuda")


def jobs(folder: Path, **changes) -> dict[str, Job]:
    return {name: small_job(folder, folder, name, **changes) for name in ("baseline", "speculative")}


def taken(asked: dict[str, Job], kind: str, turns: str) -> tuple[list[str], residency.Engines]:
    """Take the turns `b` and `s`; give what happened, and the engines."""
    with open_engines(asked, kind, lambda job, host: EVENTS.append(f"warm {host.name}")) as engines:
        for turn in turns:
            name = {"b": "baseline", "s": "speculative"}[turn]
            assert engines.turn(name).name == name
            EVENTS.append(turn)
        engines.peak = engines.peak_memory_gib
    return list(EVENTS), engines


def test_both_are_loaded_at_once_and_warmed_before_the_first_turn(tmp_path):
    found, engines = taken(jobs(tmp_path), "both", "bsb")
    assert found == [
        *("start baseline", "start speculative", "warm baseline", "warm speculative"),
        *("b", "s", "b", "end baseline", "end speculative"),
    ]
    assert engines.peak == 3.5


def test_both_share_a_gpu_and_load_one_after_the_other(tmp_path, gpu):
    found, engines = taken(jobs(tmp_path, gpu_memory_utilization=0.8), "both", "b")
    assert found[:4] == ["start baseline", "kernel baseline", "start speculative", "kernel speculative"]
    assert {job.gpu_memory_utilization for job in engines.jobs.values()} == {0.4}
    assert not any(job.sleeps for job in engines.jobs.values())


def test_one_sleeps_while_the_other_answers_and_starts_after_it_fell_asleep(tmp_path, gpu):
    found, engines = taken(jobs(tmp_path, gpu_memory_utilization=0.8), "sleep", "bssb")
    assert found == [
        *("start baseline", "warm baseline", "b"),
        *("sleep baseline", "start speculative", "warm speculative", "s", "s"),
        *("sleep speculative", "wake baseline", "warm baseline", "b"),
        *("end baseline", "end speculative"),
    ]
    assert all(job.sleeps and job.gpu_memory_utilization == 0.8 for job in engines.jobs.values())


def test_restart_gives_each_turn_a_process_of_its_own(tmp_path):
    found, engines = taken(jobs(tmp_path), "restart", "bsb")
    turns = [("start baseline", "warm baseline", "b"), ("start speculative", "warm speculative", "s")]
    assert found == [*turns[0], "end baseline", *turns[1], "end speculative", *turns[0], "end baseline"]
    assert engines.peak == 2.0, "one at a time"


def test_vllm_without_a_gpu_cannot_sleep(tmp_path):
    with pytest.raises(JobError, match="needs vLLM on a GPU"):
        open_engines(jobs(tmp_path), "sleep", lambda job, host: None)


def test_our_own_engine_cannot_sleep(tmp_path, gpu):
    with pytest.raises(JobError, match="needs vLLM on a GPU"):
        open_engines(jobs(tmp_path, engine="native"), "sleep", lambda job, host: None)


def test_an_engine_that_cannot_be_warmed_is_ended(tmp_path):
    def warm_up(job: Job, host: Noted) -> None:
        raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"), open_engines(jobs(tmp_path), "both", warm_up) as engines:
        engines.turn("baseline")
    assert EVENTS[-2:] == ["end baseline", "end speculative"]


# auto


def weights(folder: Path, gib: float) -> None:
    with open(folder / "model.safetensors", "wb") as file:
        file.truncate(int(gib * GIB))  # sparse: takes no room


@pytest.mark.parametrize(("available", "expected"), [(20, "both"), (6, "restart")])
def test_auto_looks_at_the_memory_that_is_available(tmp_path, monkeypatch, caplog, available, expected):
    weights(tmp_path, 2)  # 2 engines: 2 GiB of weights, 1 of keys and values, 1.5 of a process
    monkeypatch.setattr(machine, "available_memory", lambda: available * GIB)
    with caplog.at_level(logging.INFO, logger="doubledraft"):
        assert choose(jobs(tmp_path)) == expected
    assert f"residency {expected}: 2 engine(s) need about 9.0 GiB, of {available}.0 GiB available" in caplog.text


@pytest.mark.parametrize(
    ("gib", "engine", "expected"), [(20, "vllm", "both"), (30, "vllm", "sleep"), (30, "native", "restart")]
)
def test_auto_looks_at_the_whole_memory_of_a_gpu(tmp_path, monkeypatch, gpu, gib, engine, expected):
    import torch

    weights(tmp_path, gib)
    card = type("Card", (), {"total_memory": 80 * GIB})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    assert choose(jobs(tmp_path, engine=engine, gpu_memory_utilization=0.85)) == expected
