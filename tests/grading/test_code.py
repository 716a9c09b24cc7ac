"""Programs are judged by running their tests, and one that means harm costs its own row only."""

import os
import sys
import time

import pytest

from doubledraft.grading.code import CodeTask, run, score, source_of
from doubledraft.records import Generation
from doubledraft.sandbox import UnconfinedError

TASK = CodeTask(
    prompt='from typing import List\n\n\ndef total(values: List[int]) -> int:\n    """Return the sum."""\n',
    entry_point="total",
    test="def check(candidate):\n    assert candidate([1, 2, 3]) == 6\n    assert candidate([]) == 0\n",
)
HOSTILE = {  # what a program tries, and how its row ends
    "fork bomb": ("import os\nwhile True:\n    os.fork()", "PermissionError"),
    "threads": ("import _thread\nwhile True:\n    _thread.start_new_thread(print, ())", "can't start new thread"),
    "endless loop": ("while True:\n    pass", "it used up 1 s of processor time"),
    "endless sleep": ("import time\ntime.sleep(1e6)", "it did not end within 2 s"),
    "memory": ("kept = []\nwhile True:\n    kept.append(bytearray(1 << 24))", "MemoryError"),
    "disk": ("open('{folder}/filled', 'w').write('x' * (1 << 30))", "PermissionError"),
    "disk by its output": ("import os\nwhile True:\n    os.write(1, b'x' * (1 << 20))", "before the tests had"),
    "socket": ("import _socket\n_socket.socket()", "PermissionError"),
    "a user's file": ("open('{folder}/secret').read()", "PermissionError"),
    "a user's folder": ("import os\nos.listdir('{folder}')", "PermissionError"),
    "environment": ("import os\nassert 'HOME' not in os.environ\nopen('/proc/self/environ').read()", "PermissionError"),
    "environment of the parent": ("import os\nopen(f'/proc/{os.getppid()}/environ').read()", "PermissionError"),
    "killing the parent": ("import os\nos.kill({parent}, 9)", "PermissionError"),
    "killing the parent's group": ("import os\nos.killpg(os.getpgid({parent}), 9)", "PermissionError"),
    "a session of its own": ("import os\nos.setsid()", "PermissionError"),
    "a link out": ("import os\nos.symlink('{folder}/secret', '{folder}/link')", "PermissionError"),
    "another program": ("import os\nos.execv('/bin/sh', ['sh'])", "PermissionError"),
    "system calls by number": (
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nassert libc.syscall(57) == -1\n"
        "raise OSError(ctypes.get_errno(), 'fork')",
        "PermissionError",
    ),
    "crash": ("import ctypes\nctypes.string_at(0)", "SIGSEGV"),
    "recursion": ("def f():\n    f()\nf()", "RecursionError"),
    "leaving early": ("import os\nos._exit(0)", "exit status 0 before the tests had"),
    "leaving politely": ("raise SystemExit(0)", "SystemExit"),
    "a verdict of its own": (
        'import os\nos.write(1, b\'{"word": "", "failure": null}\')\nos._exit(0)',
        "before the tests had",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_program_costs_its_own_row_only(name, tmp_path):
    (tmp_path / "secret").write_text("mine")
    source, ending = HOSTILE[name]
    source = source.replace("{folder}", str(tmp_path)).replace("{parent}", str(os.getpid()))
    began = time.monotonic()
    cpu_seconds = 10 if name == "memory" else 1  # memory is filled at the machine's speed
    assert ending in run(source, cpu_seconds=cpu_seconds, wall_seconds=2 if "sleep" in name else 20)
    assert time.monotonic() - began < 25
    assert sorted(file.name for file in tmp_path.iterdir()) == ["secret"]


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("    return sum(values)\n", True),
        ("    return sum(values)\n\nprint(total([1]))\nassert False\n", True),  # a body ends at the margin
        ("Here it is:\n```python\ndef total(values: List[int]) -> int:\n    return sum(values)\n```\nDone.", True),
        ("```\n    return sum(values)\n```", True),
        ("def total(values):\n    return sum(values)", True),
        ("    return sum(values) + 1\n", False),
        ("    return 6\n", False),
        ("I cannot do that.", False),
        ("", False),
    ],
)
def test_an_answer_is_right_if_its_program_passes_the_tests(answer, right):
    [row] = score([generation(answer)], {"t": TASK})
    assert (row.strict_verdict == "equal") == right, row
    assert (row.reason is None) == right


def test_a_program_has_what_stands_in_the_prompt_before_its_function():
    before = "from math import (\n    isqrt,\n)\n\n\ndef twice(x):\n    return 2 * x\n\n\n"
    test = "def check(candidate):\n    assert candidate(twice(8)) == 4\n"
    task = CodeTask(f"{before}def root(x):\n", "root", test)
    answer = "from __future__ import annotations\nimport os\n\ndef root(x: int) -> int:\n    return isqrt(x)\n"
    for said in (answer, f"```python\n{answer}```", "    return isqrt(x)\n"):
        assert run(f"{source_of(task, said)}\n{test}\ncheck(root)") is None


def test_a_module_that_a_date_needs_is_there_and_one_of_the_folder_is_not_taken(tmp_path, monkeypatch):
    (tmp_path / "random.py").write_text("raise SystemExit('not ours')")
    monkeypatch.chdir(tmp_path)
    assert run("import random, datetime\nassert datetime.datetime.strptime('3 5 2000', '%d %m %Y').month == 5") is None


@pytest.mark.parametrize(
    ("sabotage", "reason"),
    [
        ("platform.machine = lambda: 'riscv64'", "on Linux on x86-64 only, and this is linux on riscv64"),
        ("sandbox.SECCOMP_MODE_FILTER = 99", r"the kernel refuses prctl\(22\)"),
        ("sandbox.REFUSE = sandbox.ALLOW", "the process can still open a file"),
    ],
)
def test_where_a_process_cannot_be_isolated_no_program_is_run(sabotage, reason, tmp_path, monkeypatch):
    command = "import platform; from doubledraft import sandbox; from doubledraft.grading import program"
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S -c "{command}; {sabotage}; program.main()"\n')
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(UnconfinedError, match=f"no program was run: .*{reason}"):
        run("open('/dev/null')")


def generation(text: str) -> Generation:
    return Generation(
        id="t", prompt_tokens=1, token_ids=[1], text=text, finish_reason="stop", batch=0, batch_seconds=1.0
    )
