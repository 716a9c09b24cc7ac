"""What one decoding step costs inside vLLM.

vLLM mixes `StepClock` into its worker (`worker_extension_cls`), so the same clock runs whether the worker shares our
process, as on CPU, or has its own. A step lasts from the start of a target pass to the start of the next one:
scheduling and sampling belong to it, since a user waits for them too. Only steps in which every request of the batch
decodes count, not those that read a prompt. Drafting is timed around the engine's `propose_draft_token_ids`,
input preparation included.

    target   a step without drafted tokens
    draft    drafting, divided by the tokens it drafts (K passes of the draft model)
    verify   a step over K drafted tokens and the last accepted one, without its drafting
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median


@dataclass(slots=True)
class ClockedStep:
    """One pass of the target."""

    start: float  # seconds of a steady clock
    requests: tuple[str, ...]
    decodes: bool  # no request reads its prompt
    drafted: int  # tokens to verify, all requests together
    drafting: float = 0.0  # seconds spent after it on the drafts of the next step


class StepClock:
    """Methods that vLLM adds to its worker: `collective_rpc("start_step_clock")`, then `"stop_step_clock"`."""

    def start_step_clock(self) -> None:
        """Time every step from now on; on GPU this waits for the device at each reading."""
        runner, steps = self.model_runner, []
        self.clocked_steps = steps
        execute, propose = runner.execute_model, getattr(runner, "propose_draft_token_ids", None)

        def timed_execute(scheduled, *args, **kwargs):
            steps.append(_step(self._now(), scheduled))
            return execute(scheduled, *args, **kwargs)

        def timed_propose(*args, **kwargs):
            start = self._now()
            drafts = propose(*args, **kwargs)
            steps[-1].drafting = self._now() - start
            return drafts

        runner.execute_model = timed_execute
        if propose:
            runner.propose_draft_token_ids = timed_propose

    def stop_step_clock(self, draft_length: int) -> dict[str, float | None]:
        """Stop timing, and return the medians of `step_seconds`."""
        for name in ("execute_model", "propose_draft_token_ids"):
            vars(self.model_runner).pop(name, None)  # the class's own method shows again
        return step_seconds(self.clocked_steps, draft_length)

    def _now(self) -> float:
        if self.device.type != "cpu":
            import torch

            torch.accelerator.synchronize()
        return time.perf_counter()


def _step(start: float, scheduled) -> ClockedStep:
    """Return the step of a SchedulerOutput of vLLM."""
    drafted = sum(map(len, scheduled.scheduled_spec_decode_tokens.values()))
    requests = tuple(sorted(scheduled.num_scheduled_tokens))
    decodes = not scheduled.scheduled_new_reqs and scheduled.total_num_scheduled_tokens == len(requests) + drafted
    return ClockedStep(start, requests, decodes, drafted)


def step_seconds(steps: Sequence[ClockedStep], draft_length: int) -> dict[str, float | None]:
    """Return the median seconds of a target step, of one drafted token and of a verify step; None where there was none.

    With several requests in flight only steps with the whole batch count, and a drafted token is one position of all.
    """
    full = max((len(step.requests) for step in steps), default=0)
    target, draft, verify = [], [], []
    for step, following in pairwise(steps):
        if not (step.decodes and following.decodes and len(step.requests) == full == len(following.requests)):
            continue
        if step.requests != following.requests:
            continue
        seconds = following.start - step.start
        if not step.drafted:
            target.append(seconds)
        elif step.drafted == draft_length * full:
            draft.append(step.drafting / draft_length)
            verify.append(seconds - step.drafting)
    return {
        name: median(values) if values else None
        for name, values in (("target", target), ("draft", draft), ("verify", verify))
    }
