"""Counters of energy are read as they are written, over their wrap; a machine without says why.

The files of RAPL are made up: most machines of tests have none, or keep them to root.
"""

from pathlib import Path

from doubledraft.inference import energy


def package(folder: Path, zone: str, microjoules: int, most: int = 10_000_000) -> Path:
    (folder / zone).mkdir(parents=True)
    (folder / zone / "name").write_text(f"{zone}\n")
    (folder / zone / "max_energy_range_uj").write_text(f"{most}\n")
    file = folder / zone / "energy_uj"
    file.write_text(f"{microjoules}\n")
    return file


def test_joules_are_of_all_packages_since_the_meter_was_opened_and_over_a_wrap(tmp_path):
    first, second = (package(tmp_path, f"intel-rapl:{at}", 9_000_000) for at in (0, 1))
    package(tmp_path, "intel-rapl:0:0", 5)  # a part of the first package, which it counts already
    meter = energy.open_meter(tmp_path)
    assert meter.source.startswith("RAPL intel-rapl:0, RAPL intel-rapl:1") and meter.reason is None
    assert meter.joules() == 0
    first.write_text("9500000")
    second.write_text("500000")  # 1 J to its end, 0.5 J after it
    assert meter.joules() == 2.0
    assert meter.joules() == 2.0, "nothing was used since"


def test_a_machine_without_counters_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(energy, "_nvml", lambda: ([], "no GPU"))
    meter = energy.open_meter(tmp_path)
    assert (meter.joules(), meter.source) == (None, None)
    assert meter.reason == f"RAPL: no counter in {tmp_path}; NVML: no GPU"


def test_gpus_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert energy._visible(2) == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,GPU-abc")
    assert energy._visible(4) == ["1", "GPU-abc"]
