"""Metrics of a cell from the generations of its runs; what compares cells is in `report.comparisons`.

Reads records and run files and never runs a model. Totals are compared, not means of ratios, and every share has its n.
What is undefined is None. The unit that is resampled is the question, and for wall time the batch: questions in flight
together share one clock.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from doubledraft.evaluation import interleave, samples, speculation
from doubledraft.evaluation.cost import costs
from doubledraft.evaluation.grade import by_value, grade, share
from doubledraft.evaluation.interleave import BASELINE, SPECULATIVE
from doubledraft.evaluation.runs import Graded, Run, check_comparable, load
from doubledraft.evaluation.significance import mcnemar, paired_difference
from doubledraft.log import log
from doubledraft.provenance import config_hash
from doubledraft.records import Question, Score, first_difference, read_records, repeated
from doubledraft.stats import Interval, ratio_interval
from doubledraft.summaries import json_file
from doubledraft.summaries.cell_metrics import (
    CellMetrics,
    FirstDifference,
    GapAtDifference,
    LosslessMetrics,
    QuestionCounts,
    TimingMetrics,
    VerdictChanges,
)
from doubledraft.summaries.draft_audit import DraftAudit
from doubledraft.summaries.provenance import CellProvenance, RunProvenance, of_cell, recorded
from doubledraft.summaries.timing_file import TimingFile

# Log-probability gaps that rounding explains: two units in the last place of logits between 16 and 32, as a pass over
# several tokens rounds differently; in float32 the order of long sums decides, as in `cross_check`.
TIE_GAPS = {"bfloat16": 2 * 2**-3, "float16": 2 * 2**-6, "float32": 1e-3}
SAMPLED = "answers are drawn: with and without the draft they have one distribution, and not the same tokens"


def score_cell(
    *,
    type: str,
    scenario: str,
    questions: str,
    manifest: str,
    samples: int,
    generations: Sequence[str],
    runs: Sequence[str],
    timing: str,
    audit: str,
    rule: Mapping[str, int] | None,
    limit: int | None,
    settings: Mapping[str, object],
    out_metrics: str,
    out_samples: str,
    out_comparison: str,
) -> None:
    """Score a trained cell on the first `limit` questions: metrics, samples and the page that compares its runs.

    `generations` and `runs` are of the baseline and, where it was timed, of the speculative run, each with `samples`
    answers to every question; `timing` is the file of their turns, and `audit` that of the draft, or empty where no
    draft model was timed. `manifest` is of the scenario's questions: how many were asked for and how many there were.
    `settings`, the part of the config that the cell depends on, hold the seed of the bootstrap. Raise ComparisonError
    where the runs may not be compared, CounterError where the counters cannot be true.
    """
    cell, seed = f"{type}_{scenario}", settings["seed"]
    records = read_records(questions, Question)[:limit]
    requests = repeated(records, samples)
    loaded = _comparable(generations, runs, requests, questions)
    modes = {run.info.mode: grade(run, requests, rule, seed) for run in loaded}
    turns = json_file.read(timing, TimingFile)
    timed = interleave.timing_metrics(turns, seed, per_token=loaded[0].info.temperature > 0)
    metrics = CellMetrics(
        cell=cell,
        type=type,
        scenario=scenario,
        n=len(records),
        questions=_asked_and_got(manifest),
        questions_hash=_questions_hash(records),
        **(compare(*modes.values(), seed, timed) if SPECULATIVE in modes else {BASELINE: modes[BASELINE].metrics}),
        acceptance_by=_acceptance_by(requests, modes[SPECULATIVE].run, seed) if SPECULATIVE in modes else None,
        draft_audit=json_file.read(audit, DraftAudit) if audit else None,
        timing=timed,
        cost=costs(modes, seed, turns),
        provenance=_provenance([mode.run for mode in modes.values()], settings),
    )
    _write(metrics, requests, modes, out_metrics, out_samples, out_comparison)
    if timed.steady is False:
        log.warning("%s: the machine was not steady; its speedup may be off by more than its interval", cell)


def _comparable(
    generations: Sequence[str], runs: Sequence[str], requests: Sequence[Question], questions: str
) -> list[Run]:
    """Return the one or two runs of a cell; raise ComparisonError where two may not be compared."""
    loaded = [load(path, run_path, requests, questions) for path, run_path in zip(generations, runs, strict=True)]
    if len(loaded) > 1:
        check_comparable(*loaded)
    return loaded


def score_untrained(
    *,
    scenario: str,
    questions: str,
    manifest: str,
    generations: Sequence[str],
    runs: Sequence[str],
    rules: Mapping[str, Mapping[str, int] | None],
    limit: int | None,
    settings: Mapping[str, object],
    out_metrics: str,
    out_samples: str,
    out_comparison: str,
) -> None:
    """Score the base model on the first `limit` questions: one run for each way of asking it.

    `rules` maps the name of a way of asking (a type, followed by `_thinking_...` where the chat template was told to
    think or not to) to the draft rule of its type. `generations` and `runs` are in the same order.
    """
    seed = settings["seed"]
    records = read_records(questions, Question)[:limit]
    modes = {
        name: grade(load(path, run_path, records, questions), records, rule, seed)
        for (name, rule), path, run_path in zip(rules.items(), generations, runs, strict=True)
    }
    metrics = CellMetrics(
        cell=f"untrained_{scenario}",
        type="untrained",
        scenario=scenario,
        n=len(records),
        questions=_asked_and_got(manifest),
        questions_hash=_questions_hash(records),
        prompts={name: mode.metrics for name, mode in modes.items()},
        cost=costs(modes, seed),
        provenance=_provenance([mode.run for mode in modes.values()], settings),
    )
    _write(metrics, records, modes, out_metrics, out_samples, out_comparison)


def compare(baseline: Graded, speculative: Graded, seed: int, timing: TimingMetrics | None = None) -> dict[str, object]:
    """Return the fields of CellMetrics that come from a run without and a run with the draft.

    `timing` is of arms that took turns by blocks; without it the runs are compared batch by batch.
    """
    speculated = speculation.speculation_metrics(speculative.run, seed)
    by_batch = ratio_interval(baseline.run.batches, speculative.run.batches, seed)
    measured = (timing.speedup, "block") if timing else (by_batch, "batch")
    return {
        "baseline": baseline.metrics,
        "speculative": speculative.metrics,
        "speculation": speculated,
        "speedup": speculation.speedup(baseline.run, speculative.run, speculated, *measured),
        "bandwidth": speculation.bandwidth_metrics(baseline.run, speculative.run),
        "lossless": lossless_metrics(baseline, speculative),
    }


def lossless_metrics(baseline: Graded, speculative: Graded) -> LosslessMetrics:
    """Return how often both runs emitted the same ids, where they first differ, and which verdicts that changed.

    Above temperature 0 both draw, so answers differ without a fault, and only verdicts are compared.
    """
    dtype = speculative.run.info.dtype
    verdicts = _verdict_changes(baseline.scores, speculative.scores)
    if speculative.run.info.temperature:
        return LosslessMetrics(dtype=dtype, tie_gap=TIE_GAPS[dtype], verdicts=verdicts, reason=SAMPLED)
    pairs = list(zip(baseline.run.rows, speculative.run.rows, strict=True))
    positions = [first_difference(plain.token_ids, drafted.token_ids) for plain, drafted in pairs]
    parted = [position for position in positions if position is not None]
    gaps = [drafted.top2_gap for _, drafted in pairs if drafted.top2_gap is not None]
    ties = sum(gap <= TIE_GAPS[dtype] for gap in gaps)
    return LosslessMetrics(
        dtype=dtype,
        identical_rate=share(position is None for position in positions),
        different=len(parted),
        first_difference=FirstDifference(median=float(median(parted)), min=min(parted)) if parted else None,
        top2_gap=GapAtDifference(median=float(median(gaps)), max=max(gaps), n=len(gaps)) if gaps else None,
        tie_gap=TIE_GAPS[dtype],
        ties=ties,
        bugs=len(gaps) - ties,
        verdicts=verdicts,
    )


def _asked_and_got(manifest: str) -> dict[str, QuestionCounts]:
    splits = json.loads(Path(manifest).read_text(encoding="utf-8"))["splits"]
    return {split: QuestionCounts(asked=counts["asked"], got=counts["got"]) for split, counts in splits.items()}


def _questions_hash(questions: Sequence[Question]) -> str:
    """Return a hash that tells sets of questions apart: two sets of one scenario have the same ids."""
    return config_hash([(question.id, question.question, question.answer) for question in questions])


def _verdict_changes(baseline: Sequence[Score], speculative: Sequence[Score]) -> VerdictChanges:
    right = [
        (plain.strict_verdict == "equal", drafted.strict_verdict == "equal")
        for plain, drafted in zip(baseline, speculative, strict=True)
    ]
    lost, gained = right.count((True, False)), right.count((False, True))
    return VerdictChanges(
        lost=lost,
        gained=gained,
        p_value=mcnemar(lost, gained),
        difference=paired_difference(lost, gained, len(right)),
    )


def _acceptance_by(questions: Sequence[Question], run: Run, seed: int) -> dict[str, dict[str, Interval | None]]:
    """Return the acceptance rate for every value of level and subject, of the questions that have one."""
    return {
        field: {
            value: ratio_interval([row.accepted for row in rows], [row.drafted for row in rows], seed)
            for value, rows in by_value(field, questions, run.rows).items()
        }
        for field in ("level", "subject")
    }


def _provenance(runs: Sequence[Run], settings: Mapping[str, object]) -> CellProvenance:
    """Return what made the metrics: the process that measured the first run, and under `scored` this one."""
    now = recorded(settings)
    described = ("mode", "method", "kernel", "dtype", "environment", "provenance", "draft_adapter")
    return of_cell(
        runs[0].info.provenance,
        seed=now.seed,
        config_hash=now.config_hash,
        settings=now.settings,
        scored=replace(now, seed=None, config_hash=None, settings=None),
        runs=[
            RunProvenance(engine=run.engine, **{name: getattr(run.info, name) for name in described}) for run in runs
        ],
    )


def _write(
    metrics: CellMetrics,
    questions: Sequence[Question],
    modes: Mapping[str, Graded],
    out_metrics: str,
    out_samples: str,
    out_page: str,
) -> None:
    samples.write_samples(out_samples, questions, modes)
    samples.write_page(out_page, metrics, questions, modes)
    json_file.write(out_metrics, metrics)
    for name, mode in modes.items():
        if mode.metrics.truncation_warning:
            percent = 100 * mode.metrics.truncated.value
            log.warning("%s, %s: %.0f %% of answers reached the token cap", metrics.cell, name, percent)
    log.info("%s: scored %d questions", metrics.cell, metrics.n)
