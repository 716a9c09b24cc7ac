"""What a decoding run did, token by token.

For every row and step: which tokens were drafted, how many were accepted, and which would have been accepted on their
own. Metrics are sums over these records. Steps count target passes, the prompt's included, and accepted tokens are
counted before the end of an answer cuts them off, as vLLM's counters do.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from statistics import median

from doubledraft.records import Generation

OPERATORS = set("+-*/=^<>()[]{}%.,$\\_")  # between the digits of worked steps
MARKER = {"#"}  # answers end with "#### answer"


@dataclass(frozen=True, slots=True)
class DecodingStep:
    """One verification of one row."""

    drafted: list[int]
    agreed: list[bool]  # of each drafted token, whether it would have been accepted on its own
    accepted: int  # drafted tokens before the first rejected one
    emitted: int  # tokens that the answer grew by


@dataclass(frozen=True, slots=True)
class StepTime:
    """What one step of the whole batch cost."""

    drafted: int  # tokens of the longest draft
    draft_seconds: float
    verify_seconds: float  # the target's pass, and all until the host has the tokens


@dataclass(slots=True)
class Answer:
    """One row: the emitted tokens, and the steps that emitted them, without the prompt's pass."""

    prompt_tokens: int
    token_ids: list[int] = field(default_factory=list)
    finish_reason: str = "length"  # "stop" once a stop token was emitted
    steps: list[DecodingStep] = field(default_factory=list)

    def as_generation(self, id: str, *, batch: int = 0, batch_seconds: float = 0.0, text: str = "") -> Generation:
        """Return the row as the record that every engine of the study writes."""
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
    """A run of one batch: the steps of every row, and the times."""

    answers: list[Answer]
    prefill_seconds: float  # target and draft
    times: list[StepTime]

    @property
    def emitted(self) -> int:
        """Emitted tokens of all rows."""
        return sum(len(answer.token_ids) for answer in self.answers)

    @property
    def drafted(self) -> int:
        """Drafted tokens of all rows."""
        return sum(len(step.drafted) for answer in self.answers for step in answer.steps)

    @property
    def accepted(self) -> int:
        """Accepted tokens of all rows, those included that the end of an answer cut off."""
        return sum(step.accepted for answer in self.answers for step in answer.steps)

    @property
    def agreed(self) -> int:
        """Drafted tokens of all rows that would have been accepted on their own."""
        return sum(sum(step.agreed) for answer in self.answers for step in answer.steps)

    @property
    def passes(self) -> int:
        """Target passes over all rows, the prompt's of each included."""
        return sum(1 + len(answer.steps) for answer in self.answers)

    @property
    def acceptance_rate(self) -> float | None:
        """Accepted / drafted tokens, a prefix count; None where nothing was drafted."""
        return self.accepted / self.drafted if self.drafted else None

    @property
    def tokens_per_step(self) -> float:
        """Emitted tokens / target passes, the prompt's pass included."""
        return self.emitted / self.passes

    @property
    def tokens_per_second(self) -> float:
        """Emitted tokens / wall seconds."""
        return self.emitted / self.seconds

    @property
    def seconds(self) -> float:
        """Wall time of the run, from the prompts to the last token."""
        return self.elapsed()[-1]

    def step_times(self) -> list[float]:
        """Return the seconds of the prompts' pass and of each step."""
        return [self.prefill_seconds, *(time.draft_seconds + time.verify_seconds for time in self.times)]

    def elapsed(self) -> list[float]:
        """Return the seconds from the start to the end of the prompts' pass, and to the end of each step."""
        return list(accumulate(self.step_times()))

    def step_seconds(self) -> dict[str, float | None]:
        """Return medians of a step without a draft, a drafted token, and a verification of the longest draft."""
        longest = max((time.drafted for time in self.times), default=0)
        target = [time.verify_seconds for time in self.times if not time.drafted]
        draft = [time.draft_seconds / time.drafted for time in self.times if time.drafted]
        verify = [time.verify_seconds for time in self.times if time.drafted == longest > 0]
        seconds = {"target": target, "draft": draft, "verify": verify}
        return {name: median(values) if values else None for name, values in seconds.items()}


def together(runs: Sequence[Metrics]) -> Metrics:
    """Return the runs of several batches as one."""
    return Metrics(
        [answer for run in runs for answer in run.answers],
        sum(run.prefill_seconds for run in runs),
        [time for run in runs for time in run.times],
    )


def by_token_class(
    steps: Iterable[DecodingStep], decode: Callable[[int], str], stop_ids: Collection[int]
) -> dict[str, dict[str, int]]:
    """Count drafted, accepted and agreed tokens by class; `decode` returns the text of one token id."""
    counts: dict[str, Counter] = {}
    for step in steps:
        for position, (token, agreed) in enumerate(zip(step.drafted, step.agreed, strict=True)):
            name = "end of answer" if token in stop_ids else token_class(decode(token))
            kept = position < step.accepted
            counts.setdefault(name, Counter()).update(drafted=1, accepted=int(kept), agreed=int(agreed))
    return {name: dict(count) for name, count in counts.items()}


def token_class(text: str) -> str:
    """Return the class of a token: answer marker, words, digits and operators, or space and punctuation."""
    characters = set(text.strip())
    if characters and characters <= MARKER:
        return "answer marker"
    if any(character.isalpha() for character in characters):
        return "words"
    if any(character.isdigit() or character in OPERATORS - set(".,") for character in characters):
        return "digits and operators"
    return "space and punctuation"
