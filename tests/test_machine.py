"""The cores that a process may use."""

import pytest

from doubledraft import machine


@pytest.mark.parametrize(("quota", "most"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None)])
def test_cores_are_no_more_than_the_container_may_use(tmp_path, monkeypatch, quota, most):
    (tmp_path / "cpu.max").write_text(quota + "\n")
    monkeypatch.setattr(machine, "CPU_QUOTA", tmp_path / "missing")
    every = machine.own_cores()
    monkeypatch.setattr(machine, "CPU_QUOTA", tmp_path / "cpu.max")
    assert machine.own_cores() == every[:most]
