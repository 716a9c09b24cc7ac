"""vLLM as one arm of a benchmark: a process that stays alive and answers prompts whenever its turn comes."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from doubledraft.inference import environment
from doubledraft.inference.generate import Asked
from doubledraft.inference.job import Job
from doubledraft.inference.vllm_engine import VllmEngine

KV_CACHE_GIB = 1
START_SECONDS = 600  # to import, load and, with --vllm-compiled, compile


class VllmArm:
    """vLLM in a process of its own, one request at a time, greedy."""

    def __init__(
        self,
        *,
        target: str,
        draft: str,
        draft_length: int,
        dtype: str,
        max_tokens: int,
        max_model_len: int,
        memory: float,
        eager: bool,
    ) -> None:
        """Start it, and wait until it can answer; raises RuntimeError where it cannot.

        `draft_length` 0 is plain decoding; `memory` is its share of the GPU's.
        """
        job = Job(
            mode="speculative" if draft_length else "baseline",
            method="draft_model" if draft_length else "none",
            model=target,
            draft=draft if draft_length else "",
            draft_length=draft_length,
            dtype=dtype,
            max_tokens=max_tokens,
            max_model_len=max_model_len,
            concurrency=1,
            enforce_eager=eager,
            seed=0,
            kv_cache_gib=KV_CACHE_GIB,
            gpu_memory_utilization=memory,
            tensor_parallel=1,
            **dict.fromkeys(("questions", "prompt", "out", "run_out"), ""),  # prompts come through the pipe
        )
        self._pipe, there = multiprocessing.Pipe()
        with _environment(environment.engine_environment(KV_CACHE_GIB)):
            # No daemon: vLLM starts a process of its own on a GPU, which a daemon may not.
            self._process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there, job))
            self._process.start()
        there.close()
        try:
            self._wait()
        except BaseException:  # an interrupt too: Python would wait for the process, and it for prompts
            self.close()
            raise

    def __call__(self, prompts: list[list[int]]) -> list[list[int]]:
        """Answer prompts, one after another."""
        self._pipe.send(prompts)
        return self._pipe.recv()

    def close(self) -> None:
        """End the process and those that it started."""
        with suppress(ProcessLookupError):  # it has no group of its own yet, or nobody is left in it
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()

    def _wait(self) -> None:
        try:
            ready = self._pipe.poll(START_SECONDS) and self._pipe.recv() == "ready"
        except EOFError:  # it has ended
            ready = False
        if not ready:
            raise RuntimeError("vLLM did not start; the reason stands above")


def _serve(pipe, job: Job) -> None:
    os.setsid()  # a group that can be killed as a whole
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what vLLM prints is no part of the benchmark's table
    engine = VllmEngine(job)
    pipe.send("ready")
    while True:
        pipe.send([engine.answer([Asked("", ids)])[0].token_ids for ids in pipe.recv()])


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set environment variables for the processes that start meanwhile."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
