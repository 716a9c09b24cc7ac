"""vLLM as one arm of a benchmark: a process that stays alive and answers prompts whenever its turn comes."""

import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from doubledraft import runtime
from doubledraft.generate import Asked
from doubledraft.job import Job
from doubledraft.vllm_engine import VllmEngine

KV_CACHE_GIB = 1
START_SECONDS = 600  # to import, load and, with --vllm-compiled, compile


class VllmArm:
    """vLLM in a process of its own, one request at a time, greedy."""

    def __init__(self, *, target: str, draft: str, draft_length: int, dtype: str, max_tokens: int, eager: bool) -> None:
        """Start it, and wait until it can answer; `draft_length` 0 is plain decoding."""
        job = Job(
            mode="speculative" if draft_length else "baseline",
            method="draft_model" if draft_length else "none",
            model=target,
            draft=draft if draft_length else "",
            draft_length=draft_length,
            dtype=dtype,
            max_tokens=max_tokens,
            max_model_len=1024,
            concurrency=1,
            enforce_eager=eager,
            seed=0,
            kv_cache_gib=KV_CACHE_GIB,
            gpu_memory_utilization=0.3,
            tensor_parallel=1,
            **dict.fromkeys(("questions", "prompt", "out", "run_out"), ""),  # prompts come through the pipe
        )
        here, there = multiprocessing.Pipe()
        self._pipe = here
        with _environment(runtime.engine_environment(KV_CACHE_GIB)):
            self._process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there, job), daemon=True)
            self._process.start()
        there.close()
        if not here.poll(START_SECONDS) or here.recv() != "ready":
            raise RuntimeError("vLLM did not start; the reason stands above")

    def __call__(self, prompts: list[list[int]]) -> list[list[int]]:
        """Answer prompts, one after another."""
        self._pipe.send(prompts)
        return self._pipe.recv()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()


def _serve(pipe, job: Job) -> None:
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
