"""How many tokens to draft before the target verifies them: a fixed number, or as many as pay for themselves.

The adaptive rule is that of Leviathan et al. 2023, arXiv:2211.17192, in its marginal form: one more drafted token pays
while alpha^(K+1) > c * S. alpha^(K+1) is the chance that the next token is reached and accepted; here it is the product
of the chances of the tokens drafted so far, each from the draft's own confidence, times the mean chance of one more.
c * S is the cost of the token in target steps times the tokens emitted per target step's time; the target step cancels,
so the rule compares the chance with seconds per drafted token x tokens per second, both measured during the run.

Confidences are calibrated: tokens of similar confidence are counted, and how many of them were accepted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from doubledraft.engine.decoding_metrics import DecodingStep, StepTime

if TYPE_CHECKING:
    import torch

LONGEST_DRAFT = 16  # largest K: in a study, on the command line, and in the search for the best K
BINS = 10  # of confidence, equally wide
PRIOR = 2  # pseudo-tokens in each bin, accepted at the rate of its middle
FADING = 0.99  # weight of a step's cost and yield against the next one's: about the last hundred steps count
RIDGE = 0.1  # tokens^2: while all drafts have one length, the slope of verification time is unknown and taken as 0


class DraftLength(Protocol):
    """Decides, token by token, whether a draft goes on."""

    longest: int

    def begin(self, active: Sequence[bool]) -> None:
        """Start a draft; `active` marks the rows whose answers are unfinished."""

    def goes_on(self, logits: "torch.Tensor", tokens: "torch.Tensor") -> bool:
        """Return whether to draft one more, after `tokens` [rows] chosen from logits [rows, vocabulary]."""

    def learn(self, steps: Sequence[DecodingStep | None], time: StepTime) -> None:
        """Learn from the finished step: that of each row, None for rows that had ended before it."""


@dataclass(slots=True)
class FixedLength:
    """Always `longest` tokens. A caller that times steps may lower it between two; at 0 a step is plain decoding."""

    longest: int

    def __post_init__(self) -> None:
        if self.longest < 1:
            raise ValueError(f"a draft has at least 1 token, found {self.longest}; `decode` is decoding without drafts")

    def begin(self, active: Sequence[bool]) -> None:
        """Do nothing: the length is known."""

    def goes_on(self, logits: "torch.Tensor", tokens: "torch.Tensor") -> bool:
        """Return True, without reading the tensors, which would wait for the device."""
        return True

    def learn(self, steps: Sequence[DecodingStep | None], time: StepTime) -> None:
        """Do nothing: the length stays."""


class AdaptiveLength:
    """One token, then as many as pay, at most `longest`; an object used in many calls learns from all of them."""

    def __init__(self, longest: int = LONGEST_DRAFT) -> None:
        self.longest = FixedLength(longest).longest
        self._accepted = [PRIOR * (index + 0.5) / BINS for index in range(BINS)]
        self._judged = [float(PRIOR)] * BINS
        self._sums = [0.0] * 7  # over steps, see `price`
        self.begin([])

    def begin(self, active: Sequence[bool]) -> None:
        """Start a draft; `active` marks the rows whose answers are unfinished."""
        self._price = self.price()
        self._reached = [float(row) for row in active]  # chance that every token so far is accepted
        self._bins: list[list[int]] = []  # [token][row]

    def goes_on(self, logits: "torch.Tensor", tokens: "torch.Tensor") -> bool:
        """Return whether one more position yields more tokens, all rows together, than it costs."""
        confidence = logits.float().softmax(-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1).nan_to_num(0).tolist()
        bins = [min(int(value * BINS), BINS - 1) for value in confidence]
        self._bins.append(bins)
        chances = (self._accepted[index] / self._judged[index] for index in bins)
        self._reached = [reached * chance for reached, chance in zip(self._reached, chances, strict=True)]
        return sum(self._reached) * sum(self._accepted) / sum(self._judged) > self._price

    def price(self) -> float:
        """Return the tokens that would be emitted, at the speed so far, in the time of one more drafted token.

        That time is the draft's own and the longer verification, whose slope is fitted by least squares over the steps.
        """
        steps, drafted, squares, drafting, verifying, products, emitted = self._sums
        if not drafted:
            return 0.0
        spread = squares / steps - (drafted / steps) ** 2
        slope = (products / steps - drafted * verifying / steps**2) / (spread + RIDGE)
        return (drafting / drafted + max(0.0, slope)) * emitted / (drafting + verifying)

    def learn(self, steps: Sequence[DecodingStep | None], time: StepTime) -> None:
        """Count which confidences were accepted, and add the step's cost."""
        length, drafting, verifying = time.drafted, time.draft_seconds, time.verify_seconds
        emitted = sum(step.emitted for step in steps if step)
        new = (1, length, length**2, drafting, verifying, length * verifying, emitted)
        self._sums = [FADING * old + value for old, value in zip(self._sums, new, strict=True)]
        for row, step in enumerate(steps):
            if step:
                self._judge(row, step)

    def _judge(self, row: int, step: DecodingStep) -> None:
        """Count the tokens up to the first rejected one; those beyond it were not tested."""
        for position in range(min(step.accepted + 1, len(step.drafted), len(self._bins))):  # n-grams have no bins
            index = self._bins[position][row]
            self._judged[index] += 1
            self._accepted[index] += position < step.accepted


def by_setting(length: int | str) -> DraftLength:
    """Return the rule for a setting: a number of tokens, or `adaptive`."""
    return AdaptiveLength() if length == "adaptive" else FixedLength(length)
