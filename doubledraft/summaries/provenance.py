"""What made a result, as the result files hold it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from doubledraft import provenance
from doubledraft.records import from_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """The machine that a result was made on."""

    processor: str | None
    cores: int | None
    gpu: str | None

    def __str__(self) -> str:
        """Return the machine in a line, for people."""
        return f"{self.processor}, {self.cores} cores, {self.gpu or 'no GPU'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Code, libraries, hardware and time of a result, and the settings of a study that it depends on."""

    doubledraft: str  # version
    commit: str | None
    python: str  # version
    libraries: dict[str, str]  # name and version
    hardware: Hardware
    time: str  # ISO 8601, UTC
    seed: int | None = None  # null, like the next two, in what a study did not make
    config_hash: str | None = None  # of `settings`
    settings: dict[str, object] | None = None  # the part of the config that the result depends on


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProvenance:
    """One of the runs that a cell's metrics were computed from."""

    engine: str  # name and version
    mode: str
    method: str  # how tokens are drafted: none | draft_model | ngram
    kernel: str | None
    dtype: str
    environment: dict[str, str | None]  # variables that the engine ran with
    provenance: Provenance
    draft_adapter: str | None = None  # sha256 of the adapter that was merged into the draft model


@dataclass(frozen=True, slots=True, kw_only=True)
class CellProvenance(Provenance):
    """What made the metrics of a cell: the process that measured its first run, and what scored it."""

    scored: Provenance | None = None  # the process that graded the answers
    runs: list[RunProvenance] | None = None


def recorded(settings: Mapping[str, object] | None = None) -> Provenance:
    """Return the provenance of what this process makes now; `settings` are those of a study, its seed among them."""
    return from_json(provenance.provenance(settings), Provenance, "provenance")


def of_cell(measured: Provenance, **more: object) -> CellProvenance:
    """Return the provenance of a cell: that of its first run, `measured`, with fields added or replaced by `more`."""
    return CellProvenance(**{field.name: getattr(measured, field.name) for field in fields(Provenance)} | more)
