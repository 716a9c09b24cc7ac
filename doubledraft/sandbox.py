"""Confines a process that handles what a model wrote: `confine` where text is parsed, `isolate` where a program runs.

Text is never run as code; the limits of `confine` hold if that ever fails, and stop text that takes too long to parse.

A program is run only behind `isolate`, which leaves the process the system calls of SYSTEM_CALLS and refuses all
others: it can compute, and read and write what is open already. It cannot open a file or socket, start a process or a
thread, signal another process, or look into one. The filter is the kernel's (seccomp), needs no privileges, and cannot
be taken back. Memory, processor time and the size of files are limited beside it.
"""

import ctypes
import os
import platform
import re
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path

REFUSED = re.compile(  # audit events, see https://docs.python.org/3.11/library/audit_events.html
    r"os\.(?:system|exec|posix_spawn|fork|forkpty|kill|remove|rename|rmdir|mkdir|chmod|link|symlink|truncate)"
    r"|subprocess\.Popen|socket\..*|ctypes\.dlopen"
)
SYSTEM_CALLS = {  # that an isolated process may make, by their numbers on x86-64 (arch/x86/entry/syscalls)
    "read": 0,
    "write": 1,
    "close": 3,
    "fstat": 5,
    "lseek": 8,
    "mmap": 9,
    "mprotect": 10,
    "munmap": 11,
    "brk": 12,
    "rt_sigaction": 13,
    "rt_sigprocmask": 14,
    "rt_sigreturn": 15,
    "sched_yield": 24,
    "mremap": 25,
    "madvise": 28,
    "nanosleep": 35,
    "getpid": 39,
    "exit": 60,
    "gettimeofday": 96,
    "sigaltstack": 131,
    "futex": 202,
    "restart_syscall": 219,
    "clock_gettime": 228,
    "clock_getres": 229,
    "clock_nanosleep": 230,
    "exit_group": 231,
    "getrandom": 318,
}
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 22, 38  # linux/prctl.h
SECCOMP_MODE_FILTER, AUDIT_ARCH_X86_64 = 2, 0xC000003E
ALLOW, REFUSE, KILL = 0x7FFF0000, 0x00050001, 0x80000000  # linux/seccomp.h; REFUSE makes the call fail with EPERM
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h


class UnconfinedError(RuntimeError):
    """This machine cannot isolate a process, so no program of a model is run; the message says what is missing."""


def confine(*, memory_bytes: int, cpu_seconds: int | None = None) -> None:
    """Limit this process for good: its address space, its CPU time from now on, and the operations it may perform."""
    _limit(memory_bytes, cpu_seconds)
    sys.addaudithook(_refuse)


def isolate(*, memory_bytes: int, cpu_seconds: int, file_bytes: int) -> None:
    """Leave this process nothing but SYSTEM_CALLS, for good; raise UnconfinedError where that cannot be done.

    The process ends with its parent. A file that is open may grow to `file_bytes`; beyond `cpu_seconds` the process is
    killed by SIGXCPU. Whatever it imports later must have been imported before.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise UnconfinedError(
            f"programs are run on Linux on x86-64 only, and this is {sys.platform} on {platform.machine()}"
        )
    _limit(memory_bytes, cpu_seconds)
    for limit, value in ((resource.RLIMIT_FSIZE, file_bytes), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(limit, (value, value))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    rules, count = _filter()
    program = struct.pack("HxxxxxxP", count, ctypes.addressof(rules))  # struct sock_fprog
    _call(prctl, PR_SET_PDEATHSIG, signal.SIGKILL)
    _call(prctl, PR_SET_NO_NEW_PRIVS, 1)
    _call(prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.c_char_p(program))
    _check_isolated()


def _limit(memory_bytes: int, cpu_seconds: int | None) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    if cpu_seconds is not None:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        end = int(usage.ru_utime + usage.ru_stime) + cpu_seconds
        resource.setrlimit(resource.RLIMIT_CPU, (end, end + 1))  # SIGXCPU, and a second later SIGKILL


def _filter() -> tuple[ctypes.Array, int]:
    """Return the filter as instructions of the kernel's classic BPF, and their number."""
    numbers = sorted(SYSTEM_CALLS.values())
    rules = [(LOAD, 0, 0, 4), (JUMP_IF_EQUAL, 1, 0, AUDIT_ARCH_X86_64), (RETURN, 0, 0, KILL), (LOAD, 0, 0, 0)]
    rules += [(JUMP_IF_EQUAL, len(numbers) - at, 0, number) for at, number in enumerate(numbers)]
    rules += [(RETURN, 0, 0, REFUSE), (RETURN, 0, 0, ALLOW)]
    return ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *rule) for rule in rules)), len(rules)


def _call(prctl: Callable, option: int, *arguments: object) -> None:
    padded = [*arguments, *[0] * (4 - len(arguments))]
    if prctl(option, *(value if isinstance(value, ctypes.c_char_p) else ctypes.c_ulong(value) for value in padded)):
        reason = os.strerror(ctypes.get_errno())
        raise UnconfinedError(f"the kernel refuses prctl({option}), by which a process is isolated: {reason}")


def _check_isolated() -> None:
    """Raise UnconfinedError where something succeeds that the filter refuses; nothing here does harm if it does."""
    for name, attempt in (
        ("open a file", lambda: os.open("/", os.O_RDONLY)),
        ("open a socket", lambda: socket.socket()),
        ("signal its parent", lambda: os.kill(os.getpid(), 0)),
    ):
        try:
            attempt()
        except PermissionError:
            continue
        raise UnconfinedError(f"the kernel took the filter of system calls, and the process can still {name}")


def address_space() -> int:
    """Return the bytes of address space that this process has mapped."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes or REFUSED.fullmatch(event):
        raise PermissionError(f"refused in the sandbox for untrusted text: {event}")
