"""Defence in depth for a process that parses untrusted text: limits on files, sockets, processes, memory and CPU time.

Untrusted text is never run as code. These limits hold if that ever fails, and stop text that takes too long to parse.
"""

import os
import re
import resource
import sys
from pathlib import Path

REFUSED = re.compile(  # audit events, see https://docs.python.org/3.11/library/audit_events.html
    r"os\.(?:system|exec|posix_spawn|fork|forkpty|kill|remove|rename|rmdir|mkdir|chmod|link|symlink|truncate)"
    r"|subprocess\.Popen|socket\..*|ctypes\.dlopen"
)


def confine(*, memory_bytes: int, cpu_seconds: int | None = None) -> None:
    """Limit this process for good: its address space, its CPU time from now on, and the operations it may perform."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    if cpu_seconds is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        end = int(used.ru_utime + used.ru_stime) + cpu_seconds
        resource.setrlimit(resource.RLIMIT_CPU, (end, end))
    sys.addaudithook(_refuse)


def address_space() -> int:
    """Return the bytes of address space that this process has mapped."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes or REFUSED.fullmatch(event):
        raise PermissionError(f"refused in the sandbox for untrusted text: {event}")
