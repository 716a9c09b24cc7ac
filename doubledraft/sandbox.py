"""What a process gives up before it works on text from elsewhere: writing files, sockets, processes, memory, time.

Nothing of that text should ever run as code; this is for the day it does, and for text that merely takes for ever.
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
    """Limit this process for the rest of its life: address space in all, CPU time from now on, and what it may do."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    if cpu_seconds is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        end = int(used.ru_utime + used.ru_stime) + cpu_seconds
        resource.setrlimit(resource.RLIMIT_CPU, (end, end))
    sys.addaudithook(_refuse)


def address_space() -> int:
    """Give the bytes of address space that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes or REFUSED.fullmatch(event):
        raise PermissionError(f"text from elsewhere asked for {event}")
