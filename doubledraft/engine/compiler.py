"""C++ sources of the package, compiled once for the processor that they run on.

A library is kept in the user's cache folder under a hash of the source, the compiler and the processor. No header of
torch is needed, so compiling takes seconds.
"""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import time
from pathlib import Path

from doubledraft.log import log

CPUINFO = Path("/proc/cpuinfo")
FLAGS = ("-std=gnu++17", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")


def find() -> list[str] | None:
    """Return the command of this machine's C++ compiler, the one that CXX names first; None where there is none."""
    named = shlex.split(os.environ.get("CXX", ""))
    if named and shutil.which(named[0]):
        return named
    return next(([name] for name in ("c++", "g++", "clang++") if shutil.which(name)), None)


def load(source: Path) -> ctypes.CDLL | None:
    """Return the library of a C++ source, compiled first where the cache has none for this processor.

    None, after a warning, where it cannot be compiled or loaded: callers then use torch, which is slower.
    """
    command = find()
    if command is None:
        log.warning("torch runs instead of %s, and slower: no C++ compiler found; install g++ or set CXX", source.name)
        return None
    try:
        return _loaded(source, [*command, *FLAGS])
    except (OSError, RuntimeError) as error:  # the home folder: read-only, noexec, unknown; no libgomp
        log.warning("torch runs instead of %s, and slower: %s", source.name, error)
        return None


def _loaded(source: Path, command: list[str]) -> ctypes.CDLL | None:
    path = _cached(source, command)
    if not path.exists():
        began = time.perf_counter()
        problem = _compile(source, command, path)
        if problem:
            invocation = shlex.join(command)
            log.warning("torch runs instead of %s, and slower: %s failed:\n%s", source.name, invocation, problem)
            return None
        log.info("compiled %s in %.1f s, once for this processor", source.name, time.perf_counter() - began)
    return ctypes.CDLL(str(path))


def _cached(source: Path, command: list[str]) -> Path:
    """Return the path of the library for this source, compiler and processor: machines may share a home folder."""
    version = subprocess.run([command[0], "--version"], capture_output=True, text=True, check=False).stdout
    key = hashlib.sha256("\n".join([source.read_text(), *command, version, _processor()]).encode()).hexdigest()[:16]
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "doubledraft" / f"{source.stem}-{key}.so"


def _compile(source: Path, command: list[str], path: Path) -> str | None:
    """Compile to `path`, renamed there when complete; return the compiler's messages if it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")  # two processes may compile at a time
    try:
        run = subprocess.run([*command, str(source), "-o", str(partial)], capture_output=True, text=True, check=False)
        if run.returncode:
            return run.stderr or f"exit status {run.returncode}"
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _processor() -> str:
    lines = CPUINFO.read_text().split("\n") if CPUINFO.exists() else []
    abilities = ("flags", "Features")  # as Linux calls them on x86 and on ARM
    return next((line for line in lines if line.startswith(abilities)), "") + platform.machine()
