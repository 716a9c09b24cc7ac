"""How an adapter was trained: `training.json` in its folder, with `draft_vocabulary.json` of a draft that has one."""

from dataclasses import dataclass, field

from doubledraft.summaries.provenance import Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """What decided the weights of an adapter."""

    base: str  # folder of the model, or its repository once the adapter is on the hub
    learning_rate: float
    epochs: int
    rank: int  # with update full: not used, the adapter's ranks are those of the differences
    alpha: int
    batch: int  # rows per forward pass
    accumulate: int  # forward passes per optimiser step
    max_length: int  # tokens; longer rows are dropped
    seed: int
    dtype: str  # of the study: weights on disk and in the engine
    computing_dtype: str  # asked for: auto, or a type
    load_in_4bit: bool
    update: str  # lora | full
    method: str  # sft | distill
    loss: str  # against the target's distribution, for distill
    weights: str  # of the tokens of an answer, for distill
    lmbda: float  # share of the batches that the draft answered itself, for distill
    start: str  # base, or merged: the trained target's layers
    held_out: int  # questions by which the checkpoint was chosen
    steps: int | None = None  # of the optimiser, where they were asked for in place of epochs
    report_to: str = "none"  # where losses were sent
    run_name: str | None = None  # under which name


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftEvaluation:
    """A draft at one checkpoint, on held-out training questions."""

    step: int  # of the optimiser
    tokens_per_step: float  # of greedy decoding by target and draft, the prompts' passes included
    overlap: float  # mean of sum min(p, q), 1 - TV: expected acceptance at temperature 1
    agreement: float  # share of the tokens that draft and target both think most likely
    simulated_tokens_per_step: float  # along the held-out answers, by the agreement


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyCorrelation:
    """Pearson's correlation over the checkpoints of a figure with the measured tokens per step."""

    overlap: float
    agreement: float
    simulated_tokens_per_step: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DtypeSeconds:
    """What a step of two layers of the model took on this machine, forward and backward, before training began."""

    bfloat16: float
    float32: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftVocabulary:
    """The tokens among which a draft learnt to choose: it should propose no others, since their logits mean nothing."""

    token_ids: list[int]  # ascending


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
    trained_parameters: int
    computed_in: str  # type of the products
    step_seconds: DtypeSeconds | None  # by which that type was chosen; null where it was asked for or there is a GPU
    draft_vocabulary: int | None = None  # tokens among which a draft learnt to choose; null for all
    evaluation_seconds: float | None = None  # of all evaluations since the last start; null without
    draft_length: int | None = None  # tokens drafted per step in the evaluations; null without
    best_step: int | None = None  # whose weights these are; null for the last
    evaluations: list[DraftEvaluation] = field(default_factory=list)
    correlation: ProxyCorrelation | None = None  # null without evaluations, or where a figure never changed
    settings: TrainingSettings
    provenance: Provenance
