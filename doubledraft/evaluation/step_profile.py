"""Where the time of a decoding step goes, beside the least time it could take.

A step that only read its weights once would take their bytes / the read bandwidth of the memory: that is the bound, for
a speculative step with the bytes of the target and of every draft pass. Parts are timed around the calls of the models.
The rest of the draft's time is choosing tokens and the host; the rest of the target's is the accept rule, copying
tokens to the host and trimming caches. Prefill is left out.

A trace by torch's profiler shows single kernels. Profiling slows steps down, so the trace is a run of its own, and
nothing is measured in it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from doubledraft.engine.backend import Backend
from doubledraft.engine.clock import now, seconds
from doubledraft.engine.decode import stream
from doubledraft.engine.decoding_metrics import Metrics
from doubledraft.engine.proposers import DraftModel
from doubledraft.evaluation.arms import Arm
from doubledraft.files import whole_path
from doubledraft.inference.bandwidth import read_bandwidth

if TYPE_CHECKING:
    import torch

FORWARD, HEAD = "forward passes", "heads"
WATCHED = {"forward": FORWARD, "logits": HEAD}  # methods of a backend, and the name of their part
DRAFT_REST = "draft: choosing tokens, host"
TARGET_REST = "target: accept, read back, trim"
TRACED_TOKENS = 8  # they already make some ten thousand events


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of work in the steps of a run."""

    calls: int
    seconds: float


@dataclass(slots=True)
class Stopwatch:
    """Times calls by part. On a GPU, where kernels run after the call returned, events of the device are the clock."""

    device: "torch.device"
    marks: list[tuple[str, object, object]] = field(default_factory=list)

    def timed(self, call: Callable, part: str) -> Callable:
        """Return the call, timed."""

        def measured(*arguments):
            began = now(self.device)
            result = call(*arguments)
            self.marks.append((part, began, now(self.device)))
            return result

        return measured

    def parts(self) -> dict[str, Part]:
        """Return the calls and seconds of every part so far."""
        return _together([{name: Part(1, seconds(began, ended))} for name, began, ended in self.marks])


def profile(target: Backend, arms: Sequence[Arm], prompts: Sequence[Sequence[int]], tokens: int, repeats: int) -> dict:
    """Time the parts of every arm's steps over `tokens` tokens a prompt, `repeats` times in turn after a warm-up."""
    bandwidth = read_bandwidth(target.device.type)
    runs: dict[str, list[tuple[Metrics, dict[str, Part]]]] = {arm.name: [] for arm in arms}
    for repeat in range(repeats + 1):
        for prompt in prompts:
            for arm in arms:
                measured = _measured(target, arm, prompt, tokens)
                if repeat:
                    runs[arm.name].append(measured)
    return {
        "read_bytes_per_second": bandwidth,
        "arms": {arm.name: _summary(target, arm, runs[arm.name], bandwidth) for arm in arms},
    }


def _measured(target: Backend, arm: Arm, prompt: Sequence[int], tokens: int) -> tuple[Metrics, dict[str, Part]]:
    watch = Stopwatch(target.device)
    with _watched(target, arm, watch.timed):
        steps = stream(target, arm.proposer, [prompt], tokens, draft_length=arm.draft_length)
        metrics = next(steps)
        watch.marks.clear()  # the prompt's pass
        for _ in steps:  # `metrics` grows
            pass
    return metrics, watch.parts()


@contextmanager
def _watched(target: Backend, arm: Arm, wrap: Callable[[Callable, str], Callable]) -> Iterator[None]:
    """Wrap the passes of both models while the block runs.

    On a GPU a whole draft is one CUDA graph, which has no parts; here its passes are launched one by one instead.
    """
    models = {"target": target} | ({"draft": draft} if (draft := _draft(arm)) else {})
    for role, model in models.items():
        model.greedy_draft = partial(Backend.greedy_draft, model)
        for method, part in WATCHED.items():
            setattr(model, method, wrap(getattr(model, method), f"{role}: {part}"))
    try:
        yield
    finally:
        for model in models.values():
            for method in ("greedy_draft", *WATCHED):
                delattr(model, method)  # uncovers that of the class


def _summary(target: Backend, arm: Arm, runs: Sequence[tuple[Metrics, dict[str, Part]]], bandwidth: float) -> dict:
    """Return the parts of a step, and its share of the bound."""
    times = [step for metrics, _ in runs for step in metrics.times]
    emitted = sum(len(metrics.answers[0].token_ids) - 1 for metrics, _ in runs)  # the first is the prompt's
    total = sum(time.draft_seconds + time.verify_seconds for time in times)
    drafting = sum(time.draft_seconds for time in times) if any(time.drafted for time in times) else 0.0
    parts = _together([run_parts for _, run_parts in runs])
    parts |= _rests(parts, drafting, total - drafting)
    sizes = {"target": _bytes(target)} | ({"draft": _bytes(draft)} if (draft := _draft(arm)) else {})
    rows = []
    for name, part in sorted(parts.items()):
        role, _, kind = name.partition(": ")
        size = sizes.get(role, {}).get(kind)
        rows.append(
            {
                "part": name,
                "calls_per_step": part.calls / len(times),
                "seconds_per_step": part.seconds / len(times),
                "share": part.seconds / total,
                "bytes_per_call": size,
                "share_of_bandwidth": size * part.calls / part.seconds / bandwidth if size else None,
            }
        )
    step = total / len(times)
    bound = sum(row["calls_per_step"] * (row["bytes_per_call"] or 0) for row in rows) / bandwidth
    return {
        "steps": len(times),
        "step_seconds": step,
        "tokens_per_step": emitted / len(times),
        "tokens_per_second": emitted / total,
        "bound_seconds": bound,
        "share_of_bound": bound / step,
        "parts": rows,
    }


def _together(runs: Sequence[dict[str, Part]]) -> dict[str, Part]:
    parts: dict[str, Part] = {}
    for run in runs:
        for name, part in run.items():
            before = parts.get(name, Part(0, 0.0))
            parts[name] = Part(before.calls + part.calls, before.seconds + part.seconds)
    return parts


def _rests(parts: Mapping[str, Part], drafting: float, verifying: float) -> dict[str, Part]:
    """Return what the engine spent outside the models' passes, on drafting (if it drafted) and on the target."""

    def rest(role: str, seconds: float) -> Part:
        passes = sum(part.seconds for name, part in parts.items() if name.startswith(role))
        return Part(parts[f"target: {FORWARD}"].calls, seconds - passes)

    drafts = {DRAFT_REST: rest("draft", drafting)} if drafting else {}
    return drafts | {TARGET_REST: rest("target", verifying)}


def _bytes(model: Backend) -> dict[str, int]:
    """Return the bytes of weights that one call of each method reads."""
    rows = model.vocabulary if model.allowed_tokens is None else len(model.allowed_tokens)
    head = rows * model.size * model.item_bytes
    return {FORWARD: model.bytes_per_pass - head, HEAD: head}


def _draft(arm: Arm) -> Backend | None:
    return arm.proposer.draft if isinstance(arm.proposer, DraftModel) else None


def trace(target: Backend, arm: Arm, prompt: Sequence[int], path: str | Path) -> None:
    """Write a trace of a few steps, for chrome://tracing and ui.perfetto.dev."""
    from torch import profiler

    def labelled(call: Callable, part: str) -> Callable:
        def recorded(*arguments):
            with profiler.record_function(part):
                return call(*arguments)

        return recorded

    kinds = profiler.ProfilerActivity
    activities = [kinds.CPU, *([kinds.CUDA] if target.device.type == "cuda" else [])]
    with _watched(target, arm, labelled):
        steps = stream(target, arm.proposer, [prompt], TRACED_TOKENS, draft_length=arm.draft_length)
        next(steps)  # the prompt's pass
        with profiler.profile(activities=activities) as recording:
            while True:
                with profiler.record_function("step"):
                    if next(steps, None) is None:
                        break
    with whole_path(path) as partial:
        recording.export_chrome_trace(str(partial))
