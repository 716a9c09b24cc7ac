"""What the runs of a cell were worth: `metrics.json`.

A quantity with an interval is an `Interval`; what cannot be known is null. "The run" of a trained cell is its baseline
(the target alone) or its speculative run (with the draft); of an untrained cell, one way of asking.
"""

from dataclasses import dataclass

from doubledraft.stats import Interval, Percentiles
from doubledraft.summaries.draft_audit import DraftAudit
from doubledraft.summaries.provenance import CellProvenance

PLURALS = {"block": "blocks", "batch": "batches"}  # of the units of a speedup


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionCounts:
    """Questions of one split."""

    asked: int  # by the config
    got: int  # fewer where the source has no more


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupAccuracy:
    """Share of right answers, unfinished ones included; null where there is no question."""

    strict: Interval | None  # the answer stands in the asked-for format and equals the gold answer
    lenient: Interval | None  # any recognisable final answer equals the gold answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy(GroupAccuracy):
    """Share of right answers, of all and of those that did not reach the token cap."""

    strict_finished: Interval | None
    lenient_finished: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerTokens:
    """Emitted tokens per answer."""

    mean: Interval | None
    median: float
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleMetrics:
    """One answer to every question, of several that were drawn; together they show how much chance decides."""

    strict: float | None  # share that is right
    lenient: float | None
    tokens: float  # per answer
    tokens_per_step: float | None  # null where the engine does not count steps
    acceptance_rate: float | None  # null where nothing was drafted


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMetrics:
    """Answers of one run: how good, how long, how fast."""

    n: int  # answers
    samples: int  # answers to each question; the unit of every interval is the question
    temperature: float  # of sampling; 0 is greedy
    by_sample: list[SampleMetrics] | None  # of the first answer to every question, of the second and so on; null of one
    accuracy: Accuracy
    accuracy_by: dict[str, dict[str, GroupAccuracy]]  # level and subject, then their values
    undecided: int  # answers with a verdict that the grader could not reach
    unparsable: int  # answers without anything in the asked-for format
    truncated: Interval  # share of answers that reached the token cap
    truncation_warning: bool  # true where they are so many that the accuracy tells of the cap, not of the model
    unclosed_think: int  # answers that end inside a think block
    tokens: AnswerTokens
    latency: Percentiles | None  # seconds per answer without queue time; null where the engine does not tell
    time_to_first_token: Percentiles | None  # seconds, without queue time
    time_per_token: Percentiles | None  # seconds, after the first token
    wall_seconds: float  # of all batches
    tokens_per_second: float  # emitted, over the wall time
    bound_tokens_per_second: float | None  # if a step cost no more than reading its weights at the read bandwidth
    share_of_bound: float | None  # tokens_per_second / bound_tokens_per_second
    concurrency: int  # requests in flight
    compliance: Interval | None  # share of answers that keep the draft rule; null where the type has none
    steps_per_answer: Interval | None  # lines of reasoning
    words_per_step: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedTokens:
    """Tokens that a step with K drafted tokens emits on average, its bonus token included."""

    from_counters: float  # 1 + K * acceptance rate
    from_alpha: float  # (1 - alpha^(K + 1)) / (1 - alpha)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenClass:
    """Both acceptances of the drafted tokens of one class; the intervals take tokens as independent."""

    drafted: int
    acceptance_rate: Interval | None
    order_independent_agreement: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterCheck:
    """Whether the engine's counters fit the tokens; a cell in which 0 <= excess <= trimmable fails is not scored."""

    accepted_plus_steps: int  # a step emits its accepted tokens and one more
    emitted: int
    excess: int  # of the first over the second
    trimmable: int  # accepted tokens that the end of an answer, or the token cap, may have cut off


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeculationMetrics:
    """What the draft did, from the counters of the speculative run."""

    engine: str  # name and version
    method: str  # draft_model | ngram
    draft_length: int  # K, tokens drafted per step; the longest where the length varies
    adaptive: bool  # whether the length of each draft was chosen while decoding
    draft_vocabulary: int | None  # tokens that the draft model may propose; null for all
    draft_dtype: str | None  # of the draft model's weights as passes read them; null without a draft model
    mean_draft_length: float | None  # tokens per step that drafted; null where none did
    concurrency: int  # requests in flight
    emitted: int
    steps: int  # forward passes of the target, one per prompt included
    drafted: int
    accepted: int
    tokens_per_step: Interval | None  # emitted / steps
    acceptance_rate: Interval | None  # accepted / drafted, counted up to the first rejection of each step
    acceptance_definition: str
    per_position_acceptance: list[Interval | None]  # share of drafting steps that accepted i tokens or more
    per_token_acceptance: float | None  # alpha: chance that a token is accepted, given that those before it were
    expected_tokens_per_step: ExpectedTokens | None
    reason: str | None  # why alpha, expected tokens, predicted speedup and best K are null, which assume K in each step
    order_independent_agreement: Interval | None  # agreed / drafted, counted past the first rejection too
    agreement_definition: str | None  # null, like the rate, where the engine does not tell which tokens it drafted
    token_classes: dict[str, TokenClass] | None
    self_check: CounterCheck | None  # null where steps were inferred from what the check would compare


@dataclass(frozen=True, slots=True, kw_only=True)
class Speedup(Interval):
    """Total wall time of the baseline / of the speculative run, beside what the cost model predicts."""

    unit: str  # what `n` counts and the bootstrap resamples: block | batch, of requests in flight together
    baseline_seconds: float
    speculative_seconds: float
    predicted: float | None  # E / (v + K c) with the measured tokens per step as E; null where a time is, or K varies
    predicted_from_alpha: float | None  # the same, with E from alpha
    draft_cost: float | None  # c: time of a drafted token / of a plain target step
    verify_cost: float | None  # v: time of a verification / of a plain target step
    best_draft_length: int | None  # K of the largest predicted speedup; 0 where drafting never pays

    @property
    def units(self) -> str:
        """The plural of the unit; a unit that is not known stands as it is."""
        return PLURALS.get(self.unit, self.unit)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptMetrics:
    """What the times of the blocks tell, in one attempt to time the arms in turns."""

    blocks: int
    order: list[list[str]]  # arms of each block, as they took turns
    per_token: bool  # whether times below are per emitted token, as drawn answers differ in length
    speedup: Interval | None  # total time of the baseline / of the speculative arm; null where there is one arm
    block_speedups: list[float] | None  # the same of each block
    sign_test: float | None  # exact two-sided p-value that blocks are as often slower with the draft as faster
    control: Interval | None  # A/A: total time of the baseline / of the baseline once more, which should be 1
    drift: float | None  # Spearman's correlation of block number and time per token, all arms alike
    autocorrelation: float | None  # lag 1, of the log ratios of blocks, which the interval takes as independent
    steady: bool | None  # true only if the control's interval holds 1 and is narrow; null where there is one arm


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingMetrics(AttemptMetrics):
    """What the times of the blocks tell, in the last attempt, whose answers and times are those of the cell."""

    residency: str  # how the engines shared the machine: both | sleep | restart
    peak_memory_gib: float  # of the engines that were loaded at the same time, together
    earlier: list[AttemptMetrics]  # attempts that were not steady and were timed again


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReading:
    """How fast one kind of step read the weights."""

    bytes: int  # of weights
    seconds: float  # of a step
    bytes_per_second: float
    share: float  # of the read bandwidth of the machine; above 1 where a model fits into a cache


@dataclass(frozen=True, slots=True, kw_only=True)
class BandwidthMetrics:
    """Bytes of weights per second of each kind of step; null where a step was not timed."""

    read_bytes_per_second: float | None  # at which the machine reads memory
    target: StepReading | None  # a plain step
    draft: StepReading | None  # a pass of the draft
    verify: StepReading | None  # a verification


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstDifference:
    """Where answers with and without the draft first differ: token positions from 0."""

    median: float
    min: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GapAtDifference:
    """Log-probability gap of the target's two best tokens at the first difference; near 0, rounding decided."""

    median: float
    max: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictChanges:
    """Answers that are right in one run only."""

    lost: int  # right only without the draft
    gained: int  # right only with the draft
    p_value: float | None  # of McNemar's exact test; null where no verdict changed
    difference: Interval  # strict accuracy with the draft - without it, paired by question


@dataclass(frozen=True, slots=True, kw_only=True)
class LosslessMetrics:
    """How far the answers with and without the draft are the same, token for token."""

    dtype: str  # only in float32 is every difference a fault
    identical_rate: Interval | None = None
    different: int | None = None  # answers
    first_difference: FirstDifference | None = None
    top2_gap: GapAtDifference | None = None
    tie_gap: float  # largest gap that the rounding of this dtype explains
    ties: int | None = None  # answers that first differ at a gap of at most that
    bugs: int | None = None  # answers that first differ at a larger gap, which points to a fault
    verdicts: VerdictChanges
    reason: str | None = None  # why all but the verdicts are null


@dataclass(frozen=True, slots=True, kw_only=True)
class CostPerCorrect:
    """What all answers of a run took, over those that are right by the strict reading; null where none is."""

    correct: int  # answers
    tokens: Interval | None  # emitted
    seconds: Interval | None  # wall time
    joules: float | None  # of the whole machine, as it counts them; null where it does not
    energy_source: str | None  # counters of the joules
    energy_reason: str | None  # why there are none


@dataclass(frozen=True, slots=True, kw_only=True)
class CellMetrics:
    """Metrics of a cell of a study, or of a data set that `doubledraft evaluate` was given."""

    cell: str  # {type}_{scenario}, or the name of the data set
    type: str | None  # null outside a study, like scenario, questions and questions_hash
    scenario: str | None
    n: int  # questions
    questions: dict[str, QuestionCounts] | None  # by split
    questions_hash: str | None  # equal where two cells answered the same questions
    baseline: RunMetrics | None = None  # of the target alone; null in an untrained cell
    speculative: RunMetrics | None = None  # with the draft; null, like what follows, where nothing was drafted
    speculation: SpeculationMetrics | None = None
    speedup: Speedup | None = None
    draft_audit: DraftAudit | None = None  # acceptance without an engine; null where no draft model was timed
    timing: TimingMetrics | None = None  # of the arms' turns; null where the arms took turns at each question
    bandwidth: BandwidthMetrics | None = None
    lossless: LosslessMetrics | None = None
    acceptance_by: dict[str, dict[str, Interval | None]] | None = None  # acceptance rate by level and subject
    cost: dict[str, CostPerCorrect] | None = None  # by run: baseline, speculative, or how an untrained cell was asked
    prompts: dict[str, RunMetrics] | None = None  # of an untrained cell, by how it was asked
    provenance: CellProvenance
    options: dict[str, object] | None = None  # of `doubledraft evaluate`
