"""How long every block of questions took each arm of a cell: `timing.json`."""

from dataclasses import dataclass

from doubledraft.summaries.provenance import Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One arm's answers to one block of questions."""

    block: int  # from 0, in the order of the questions
    arm: str  # baseline | speculative | control, which is the baseline once more
    seconds: list[float]  # wall time of each batch of requests in flight together
    tokens: list[int]  # emitted by each batch
    joules: float | None = None  # that the machine used meanwhile; null where it has no counter that can be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """All questions answered once by each arm."""

    turns: list[Turn]  # in the order in which they were taken


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingFile:
    """Every attempt to time the arms of a cell; the last one counts."""

    residency: str  # how the engines shared the machine: both | sleep | restart
    peak_memory_gib: float  # of the engines that were loaded at the same time, together
    attempts: list[Attempt]
    provenance: Provenance
    energy_source: str | None = None  # counters of the joules
    energy_reason: str | None = None  # why there are none
