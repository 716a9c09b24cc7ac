"""What a decoding run did, token by token, and the figures that follow from it.

The trace is the source: of every row and every step, which tokens were drafted, how many were kept, which would have
passed by themselves. Figures are sums over it, and definitions that vLLM's counters share are those of `speculation`:
steps are target passes with the one for the prompt, accepted tokens are counted before an end of answer cuts them off.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from statistics import median

from doubledraft.records import Generation

OPERATORS = set("+-*/=^<>()[]{}%.,$\\_")  # what stands between digits in worked steps
MARKER = {"#"}  # answers end with "#### answer"


@dataclass(frozen=True, slots=True)
class Step:
    """One verification of one row."""

    drafted: list[int]
    agreed: list[bool]  # of each drafted token, whether it would have passed by itself
    accepted: int  # drafted tokens before the first refused one
    emitted: int  # tokens that the answer grew by


@dataclass(frozen=True, slots=True)
class StepTime:
    """What one step of the whole batch cost."""

    drafted: int  # tokens of the longest draft
    draft_seconds: float
    verify_seconds: float  # the target's pass and all that follows until the host knows the tokens


@dataclass(slots=True)
class Answer:
    """One row: what was emitted, and the steps that did it, the prompt's pass not among them."""

    prompt_tokens: int
    token_ids: list[int] = field(default_factory=list)
    finish_reason: str = "length"  # "stop" once a stop token was emitted
    steps: list[Step] = field(default_factory=list)

    def as_generation(self, id: str, *, batch: int = 0, batch_seconds: float = 0.0, text: str = "") -> Generation:
        """Give the row as the record that every engine of the study writes."""
        drafting = [step for step in self.steps if step.drafted]
        return Generation(
            id=id,
            prompt_tokens=self.prompt_tokens,
            token_ids=self.token_ids,
            text=text,
            finish_reason=self.finish_reason,
            batch=batch,
            batch_seconds=batch_seconds,
            steps=1 + len(self.steps),
            drafted=sum(len(step.drafted) for step in drafting),
            accepted=sum(step.accepted for step in drafting),
            accepted_per_step=[step.accepted for step in drafting],
            drafts=[step.drafted for step in drafting],
            agreed=[step.agreed for step in drafting],
        )


@dataclass(frozen=True, slots=True)
class Metrics:
    """A run of one batch: the trace of every row, and the times."""

    answers: list[Answer]
    prefill_seconds: float  # target and draft
    times: list[StepTime]

    @property
    def seconds(self) -> float:
        """Wall time of the run, from the prompts to the last token."""
        return self.elapsed()[-1]

    def elapsed(self) -> list[float]:
        """Give the seconds from the start to the end of the prompts' pass, and to the end of each step."""
        steps = (time.draft_seconds + time.verify_seconds for time in self.times)
        return list(accumulate([self.prefill_seconds, *steps]))

    def step_seconds(self) -> dict[str, float | None]:
        """Medians: a step without a draft, one drafted token, a verification of the longest draft; None without any."""
        longest = max((time.drafted for time in self.times), default=0)
        target = [time.verify_seconds for time in self.times if not time.drafted]
        draft = [time.draft_seconds / time.drafted for time in self.times if time.drafted]
        verify = [time.verify_seconds for time in self.times if time.drafted == longest > 0]
        found = {"target": target, "draft": draft, "verify": verify}
        return {name: median(values) if values else None for name, values in found.items()}


def together(runs: Sequence[Metrics]) -> Metrics:
    """Give the runs of several batches as one."""
    return Metrics(
        [answer for run in runs for answer in run.answers],
        sum(run.prefill_seconds for run in runs),
        [time for run in runs for time in run.times],
    )


def by_token_class(
    steps: Iterable[Step], decode: Callable[[int], str], stop_ids: Collection[int]
) -> dict[str, dict[str, int]]:
    """Count drafted, accepted and agreed tokens by what they are; `decode` gives the text of one token id."""
    counts: dict[str, Counter] = {}
    for step in steps:
        for position, (token, agreed) in enumerate(zip(step.drafted, step.agreed, strict=True)):
            name = "end of answer" if token in stop_ids else token_class(decode(token))
            kept = position < step.accepted
            counts.setdefault(name, Counter()).update(drafted=1, accepted=int(kept), agreed=int(agreed))
    return {name: dict(count) for name, count in counts.items()}


def token_class(text: str) -> str:
    """Tell what a token is: answer marker, words, digits and operators, or space and punctuation."""
    characters = set(text.strip())
    if characters and characters <= MARKER:
        return "answer marker"
    if any(character.isalpha() for character in characters):
        return "words"
    if any(character.isdigit() or character in OPERATORS - set(".,") for character in characters):
        return "digits and operators"
    return "space and punctuation"
