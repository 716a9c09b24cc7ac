"""The cores and the memory that a process may use."""

import pytest

from doubledraft import machine


@pytest.mark.parametrize(("quota", "most"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None)])
def test_cores_are_no_more_than_the_container_may_use(tmp_path, monkeypatch, quota, most):
    (tmp_path / "cpu.max").write_text(quota + "\n")
    monkeypatch.setattr(machine, "CPU_QUOTA", tmp_path / "missing")
    every = machine.own_cores()
    monkeypatch.setattr(machine, "CPU_QUOTA", tmp_path / "cpu.max")
    assert machine.own_cores() == every[:most]


@pytest.mark.parametrize(
    ("limit", "expected"), [("max", 6 * 2**30), (str(4 * 2**30), 3 * 2**30), (str(64 * 2**30), 6 * 2**30), ("1", 0)]
)
def test_memory_is_no_more_than_the_container_may_use(tmp_path, monkeypatch, limit, expected):
    texts = {
        "MEMORY": f"MemTotal: 8388608 kB\nMemAvailable:   {6 * 2**20} kB\n",
        "MEMORY_LIMIT": f"{limit}\n",
        "MEMORY_STAT": f"anon {2**30}\nfile {5 * 2**30}\n",  # caches of files make room, so they do not count
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(machine, name, tmp_path / name)
    assert machine.available_memory() == expected


def test_memory_of_this_machine_is_known():
    assert 0 < machine.available_memory() < 2**50
