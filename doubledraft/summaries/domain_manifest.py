"""What the prompts of a domain are and where they come from: `manifest.json` beside them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitCounts:
    """One split of a domain."""

    prompts: int
    groups: int  # that the prompts come from; none of them is in another split


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainManifest:
    """Source, licence and counts of a domain's prompts."""

    domain: str
    source: str  # stdlib | self_prompted | generated | jsonl | hub
    licence: str  # of the prompts
    origin: list[dict[str, object]]  # files with their digest, data sets with their commit, or the version of Python
    seed: int
    found: int  # prompts that the source gave
    left_out: dict[str, int]  # of them, by reason
    groups: int  # of prompts that share a template or a module, or nearly repeat each other
    splits: dict[str, SplitCounts]  # train, validation and test
