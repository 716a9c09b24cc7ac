"""How an adapter was trained: `training.json` in its folder."""

from dataclasses import dataclass

from doubledraft.summaries.provenance import Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """What decided the weights of an adapter."""

    base: str  # folder of the model, or its repository once the adapter is on the hub
    learning_rate: float
    epochs: int
    rank: int
    alpha: int
    batch: int  # rows per forward pass
    accumulate: int  # forward passes per optimiser step
    max_length: int  # tokens; longer rows are dropped
    seed: int
    dtype: str
    load_in_4bit: bool
    report_to: str = "none"  # where losses were sent
    run_name: str | None = None  # under which name


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSummary:
    """What an adapter was trained on, how, and with what loss."""

    rows: int  # trained on
    rows_too_long: int  # dropped
    tokens: int  # of the rows trained on
    completion_tokens: int  # of those, the ones that count in the loss
    longest_row: int  # tokens, of all rows
    seconds: float  # of the training alone
    steps: int  # of the optimiser
    final_loss: float  # of the last step
    settings: TrainingSettings
    provenance: Provenance
