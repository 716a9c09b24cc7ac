"""The process that runs one program of a model, isolated: reads the job from standard input, writes one line of JSON.

Started as `python -S -m doubledraft.grading.program`, with an empty environment. Modules of MODULES are imported
before the process is isolated; others cannot be, since no file can be opened then. Standard output is a file that may
grow to REPLY_BYTES, and what the program prints is dropped.

The verdict carries a word that the parent made up, so a program that ends early, or prints what a verdict looks like,
has not passed. Program and tests share a process: a program that reaches into the interpreter, its frames or what
writes the verdict, could pass itself, and nobody else.
"""

import importlib
import io
import json
import os
import sys

from doubledraft.sandbox import UnconfinedError, isolate

REPLY_BYTES = 4096
LONGEST_REASON = 200  # characters
MODULES = """
__future__ _strptime abc array base64 binascii bisect calendar cmath collections collections.abc contextlib copy
dataclasses datetime decimal difflib enum fractions functools hashlib heapq hmac itertools json keyword math numbers
operator pprint queue random re secrets statistics string struct sys textwrap time types typing unicodedata uuid zlib
"""  # of the standard library, without those that are for files, networks and processes


class _Nowhere(io.TextIOBase):
    def write(self, text: str) -> int:
        return len(text)


def main() -> None:
    """Run the job of standard input, and write its verdict."""
    job = json.loads(sys.stdin.buffer.read())
    for module in MODULES.split():
        importlib.import_module(module)
    os.environ.clear()
    try:
        isolate(memory_bytes=job["memory_bytes"], cpu_seconds=job["cpu_seconds"], file_bytes=REPLY_BYTES)
    except UnconfinedError as error:
        return _reply({"unconfined": str(error)})
    sys.stdout = sys.stderr = _Nowhere()
    _reply({"word": job.pop("word"), "failure": _failure(job.pop("source"))})
    os._exit(0)  # no exit handler of the program


def _failure(source: str) -> str | None:
    """Return how a program failed, None where it ran to its end."""
    try:
        exec(compile(source, "<answer>", "exec"), {"__name__": "answer"})
    except BaseException as error:  # SystemExit, KeyboardInterrupt and what the program raises of its own
        return f"{type(error).__name__}: {error}"[:LONGEST_REASON]
    return None


def _reply(value: dict[str, object]) -> None:
    os.write(1, json.dumps(value).encode())


if __name__ == "__main__":
    main()
