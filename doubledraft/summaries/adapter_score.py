"""Adapters of one draft in the place of a draft for every domain: `adapters.json` of a study's routing."""

from dataclasses import dataclass

from doubledraft.stats import Interval
from doubledraft.summaries.provenance import Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptedDomain:
    """One way to draft for the test prompts of one domain."""

    domain: str
    draft: str  # "own draft", "generic draft", or "adapter, rank 8"
    tokens_per_step: Interval  # tokens / target passes; over groups of prompts
    tokens_per_second: Interval  # with the switch to the adapter before every answer
    speedup: Interval  # over the target alone on the same prompts
    against_own: Interval  # tokens per step over those of the domain's own draft, paired; 0.98 is 2 % fewer


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSize:
    """What drafts for all domains take, in one of the ways."""

    draft: str
    file_bytes: int  # of a domain: its weights on disk
    memory_bytes: int  # of all domains together, weights alone
    switch_milliseconds: float | None  # median time to put another domain's adapter in; None where nothing is switched
    slowest_switch: float | None  # milliseconds
    switches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterScore:
    """Adapters of the generic draft against a draft for every domain."""

    domains: list[AdaptedDomain]
    sizes: list[AdapterSize]
    test_prompts: int
    draft_length: int
    turns: int
    provenance: Provenance
