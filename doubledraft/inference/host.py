"""An engine in a process of its own, kept alive between calls.

Both engines load their models in a child process: vLLM needs its environment set before Python starts, and two engines
that take turns must not share threads or memory pools. While nobody calls it, the child waits on its pipe and uses no
core. A call is timed in the child, so that the transfer of token ids is not part of it.

The child runs the engine's own module, `python -m doubledraft.inference.{vllm,native}_engine`, which this module names
and does not import: an edit of one engine leaves the answers of the other as they are.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, Self

from doubledraft import process
from doubledraft.inference import environment
from doubledraft.inference.job import EncodedQuestion, Job
from doubledraft.log import error_text, log
from doubledraft.records import Generation


class Engine(Protocol):
    """Answers prompts, greedily or by draws, as its job says."""

    def __init__(self, job: Job) -> None:
        """Load the models of a job."""

    def read_beginning(self, ids: Sequence[int]) -> int:
        """Read once the tokens that all prompts begin with; return how many of them later passes over prompts skip."""

    def answer(self, questions: Sequence[EncodedQuestion]) -> list[Generation]:
        """Answer prompts together, in order; `text`, `batch` and `batch_seconds` are left to the caller."""

    def kernel(self) -> str:
        """Return what runs a pass of the target: a speedup between two kernels would mean nothing."""

    def draft_vocabulary(self) -> int | None:
        """Return how many tokens the draft model may propose; None for all."""

    def draft_dtype(self) -> str | None:
        """Return the type of the draft model's weights, in which passes read them; None without a draft model."""

    def step_seconds(self, batches: Sequence[Sequence[EncodedQuestion]]) -> dict[str, float | None]:
        """Answer batches again and return the median seconds of a target step, a drafted token and a verify step.

        None stands for a kind of step that did not occur.
        """

    def top2_gaps(self, prefixes: Sequence[list[int]]) -> list[float]:
        """Return the log-probability gap of the target's two best next tokens after every prefix."""

    def token_classes(self, rows: Sequence[Generation]) -> dict[str, dict[str, int]] | None:
        """Count drafted, accepted and agreed tokens by class; None where the engine does not report its drafts."""


class Local:
    """An engine in this process, called as `Host` calls one in a child."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def call(self, method: str, *arguments) -> tuple[object, float]:
        """Return what a method of the engine returns, and the wall seconds that it took."""
        began = time.perf_counter()
        value = getattr(self._engine, method)(*arguments)
        return value, time.perf_counter() - began

    @property
    def peak_memory_gib(self) -> float:
        """Largest resident size of the process so far."""
        return _peak_memory_gib("self")


class Host:
    """A job's engine in a child process, which a `with` block ends; it loads its models meanwhile."""

    def __init__(self, job: Job) -> None:
        """Start the process, without waiting for it."""
        log.info("starting %s_engine for %s", job.engine, vars(job))
        switches = environment.engine_environment(job.kv_cache_gib)
        self._child = process.Child(f"{__package__}.{job.engine}_engine", switches)
        self._child.send(job)

    def call(self, method: str, *arguments) -> tuple[object, float]:
        """Return what a method of the engine returns, and the wall seconds that it took in the child.

        Raises RuntimeError with the engine's last message where it ends instead.
        """
        self._child.send((method, *arguments))
        return self._child.receive()

    @property
    def peak_memory_gib(self) -> float:
        """Largest resident size of the child so far."""
        return _peak_memory_gib(self.pid)

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._child.pid

    def close(self) -> None:
        """End the child and the processes that it started."""
        self._child.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def _peak_memory_gib(pid: int | str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 2**20  # KiB


def serve(kind: type[Engine]) -> None:
    """In the child: load the job's models, then answer calls until the parent closes the pipe."""
    parent = process.Parent()
    requests = parent.requests()
    try:
        engine = Local(kind(next(requests)))
        for method, *arguments in requests:
            parent.reply(engine.call(method, *arguments))
    except Exception as error:
        log.error("%s", error_text(error))
        raise
