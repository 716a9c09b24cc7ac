"""C++ sources, compiled once for this processor; every failure is a warning, since torch can do the same slower."""

import logging
from pathlib import Path

import pytest

from doubledraft.engine import compiler


@pytest.fixture
def fresh(tmp_path, monkeypatch, caplog) -> Path:
    """Return the folder that libraries go to, not made yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(logging.getLogger("doubledraft"), "propagate", True)
    caplog.set_level(logging.INFO, logger="doubledraft")
    return tmp_path / "doubledraft"


@pytest.fixture
def source(tmp_path) -> Path:
    """Return a C++ source of one function."""
    path = tmp_path / "sum.cpp"
    path.write_text('extern "C" int sum(int one, int other) { return one + other; }\n')
    return path


def test_a_source_is_compiled_once_and_the_time_is_logged(fresh, source, caplog):
    assert compiler.load(source).sum(2, 3) == 5
    assert "compiled sum.cpp in" in caplog.text
    (kept,) = fresh.iterdir()
    written = kept.stat().st_mtime_ns
    assert compiler.load(source) is not None
    assert [path.stat().st_mtime_ns for path in fresh.iterdir()] == [written]


def test_without_a_compiler_there_is_a_warning_and_no_library(fresh, source, monkeypatch, caplog):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert compiler.load(source) is None
    assert "install g++ or set CXX" in caplog.text


def test_a_compiler_that_fails_is_quoted_and_leaves_nothing_behind(fresh, tmp_path, caplog):
    broken = tmp_path / "broken.cpp"
    broken.write_text("this is no C++\n")
    assert compiler.load(broken) is None
    assert "broken.cpp:1:1: error" in caplog.text
    assert list(fresh.iterdir()) == []


def test_a_cache_folder_that_cannot_be_made_is_a_warning_and_no_library(fresh, source, caplog):
    fresh.write_text("a file where the folder should be")
    assert compiler.load(source) is None
    assert "torch runs instead of sum.cpp, and slower" in caplog.text and str(fresh) in caplog.text


def test_a_home_folder_that_is_not_known_is_a_warning_and_no_library(fresh, source, monkeypatch, caplog):
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(compiler.Path, "home", unknown)
    assert compiler.load(source) is None
    assert "torch runs instead of sum.cpp, and slower" in caplog.text and "home directory" in caplog.text


def test_a_library_that_cannot_be_loaded_is_a_warning_and_no_library(fresh, source, tmp_path, monkeypatch, caplog):
    kept = tmp_path / "kept.so"
    kept.write_text("this is no library\n")
    monkeypatch.setattr(compiler, "_cached", lambda source, command: kept)
    assert compiler.load(source) is None
    assert "torch runs instead of sum.cpp, and slower" in caplog.text and "kept.so" in caplog.text


@pytest.mark.parametrize("line", ["flags\t\t: fpu avx512f amx_tile", "Features\t: fp asimd sve"])
def test_a_library_is_kept_under_what_the_processor_can_do(line: str, tmp_path, monkeypatch):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\n{line}\n\nprocessor\t: 1\n{line}\n")
    monkeypatch.setattr(compiler, "CPUINFO", cpuinfo)
    monkeypatch.setattr(compiler.platform, "machine", lambda: "")
    assert compiler._processor() == line
