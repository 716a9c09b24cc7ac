"""The code of `cpu_pass.cpp`: compiled once for the processor that it runs on, loaded, and declared to ctypes.

The library is kept in the user's cache folder under a hash of the source, the compiler and the processor. No header of
torch is needed, so compiling takes seconds; without a compiler there is a warning, and models run with torch.
"""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import time
from functools import cache
from pathlib import Path

from doubledraft.log import log

SOURCE = Path(__file__).with_suffix(".cpp")
CPUINFO = Path("/proc/cpuinfo")
FLAGS = ("-std=gnu++17", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")


class Matrix(ctypes.Structure):
    """`Matrix` of cpu_pass.cpp."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("weight", "scale", "bias")),
        *((name, ctypes.c_int64) for name in ("rows", "columns")),
    ]


class Block(ctypes.Structure):
    """`Block` of cpu_pass.cpp."""

    _fields_ = [
        ("attention_norm", ctypes.c_void_p),
        ("query_key_value", Matrix),
        ("head_norm", ctypes.c_void_p),
        ("attention_out", Matrix),
        ("mlp_norm", ctypes.c_void_p),
        ("gate_up", Matrix),
        ("down", Matrix),
    ]


class Model(ctypes.Structure):
    """`Model` of cpu_pass.cpp."""

    _fields_ = [
        ("blocks", ctypes.POINTER(Block)),
        *((name, ctypes.c_int64) for name in ("layers", "vocabulary", "size", "heads", "key_heads", "head_dim")),
        *((name, ctypes.c_float) for name in ("epsilon", "rotary_scale")),
        *((name, ctypes.c_void_p) for name in ("frequencies", "embedding", "norm")),
    ]


class Pass(ctypes.Structure):
    """`Pass` of cpu_pass.cpp."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("ids", "lengths")),
        *((name, ctypes.c_int64) for name in ("rows", "tokens", "capacity")),
        *((name, ctypes.c_void_p) for name in ("keys", "values", "out")),
    ]


@cache
def library() -> ctypes.CDLL | None:
    """Load the compiled pass, compiling it where this processor has none yet; None, with a warning, where it cannot."""
    command = _compiler()
    if command is None:
        log.warning("no C++ compiler was found, so models run with torch and slower on CPU: install g++ or set CXX")
        return None
    try:
        return _loaded(command)
    except (OSError, RuntimeError) as error:  # the home folder: read-only, noexec, unknown; no libgomp
        log.warning("models run with torch and slower on CPU, since the compiled pass cannot be had: %s", error)
        return None


def _loaded(command: list[str]) -> ctypes.CDLL | None:
    path = _kept(command)
    if not path.exists():
        began = time.perf_counter()
        problem = _compile(command, path)
        if problem:
            log.warning("models run with torch and slower on CPU, since %s failed:\n%s", shlex.join(command), problem)
            return None
        log.info("compiled %s in %.1f s, once for this processor", SOURCE.name, time.perf_counter() - began)
    return _declared(ctypes.CDLL(str(path)))


def _compiler() -> list[str] | None:
    named = shlex.split(os.environ.get("CXX", ""))
    found = named if named and shutil.which(named[0]) else list(filter(shutil.which, ("c++", "g++", "clang++")))[:1]
    return [*found, *FLAGS] if found else None


def _kept(command: list[str]) -> Path:
    """Say where the library of this source, compiler and processor is kept: a home folder may be shared by machines."""
    version = subprocess.run([command[0], "--version"], capture_output=True, text=True, check=False).stdout
    key = hashlib.sha256("\n".join([SOURCE.read_text(), *command, version, _processor()]).encode()).hexdigest()[:16]
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "doubledraft" / f"pass-{key}.so"


def _compile(command: list[str], path: Path) -> str | None:
    """Compile to a file that is there only when it is whole; gives what the compiler has to say where it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")  # two processes may compile at a time
    try:
        run = subprocess.run([*command, str(SOURCE), "-o", str(partial)], capture_output=True, text=True, check=False)
        if run.returncode:
            return run.stderr or f"exit status {run.returncode}"
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _processor() -> str:
    lines = CPUINFO.read_text().split("\n") if CPUINFO.exists() else []
    abilities = ("flags", "Features")  # as Linux calls them on x86 and on ARM
    return next((line for line in lines if line.startswith(abilities)), "") + platform.machine()


def _declared(code: ctypes.CDLL) -> ctypes.CDLL:
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    for run in (code.pass_float32, code.pass_bfloat16, code.pass_int8_float32, code.pass_int8_bfloat16):
        run.argtypes, run.restype = [ctypes.POINTER(Model), ctypes.POINTER(Pass), number], number
    for project in (code.project_float32, code.project_bfloat16, code.project_int8):
        project.argtypes, project.restype = [ctypes.POINTER(Matrix), pointer, number, pointer, number], None
    code.sum_of.argtypes, code.sum_of.restype = [pointer, number, number], number
    return code
