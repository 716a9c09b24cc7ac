"""Metrics of a cell from the generations of its runs; what compares cells is in `report.findings`.

Reads records and run files and never runs a model. Totals are compared, not means of ratios, and every share has its n.
What is undefined is None. The unit that is resampled is the question, and for wall time the batch: questions in flight
together share one clock.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from doubledraft.evaluation import interleave, samples, speculation
from doubledraft.evaluation.interleave import BASELINE, SPECULATIVE
from doubledraft.evaluation.runs import Graded, Run, check_comparable, load
from doubledraft.grading import grader
from doubledraft.log import log
from doubledraft.provenance import config_hash
from doubledraft.records import Generation, Question, Score, first_difference, read_records
from doubledraft.stats import Interval, Percentiles, mcnemar, mean_interval, percentiles, ratio_interval, wilson
from doubledraft.summaries import json_file
from doubledraft.summaries.cell_metrics import (
    Accuracy,
    AnswerTokens,
    CellMetrics,
    FirstDifference,
    GapAtDifference,
    GroupAccuracy,
    LosslessMetrics,
    QuestionCounts,
    RunMetrics,
    TimingMetrics,
    VerdictChanges,
)
from doubledraft.summaries.provenance import CellProvenance, RunProvenance, of_cell, recorded
from doubledraft.summaries.timing_file import TimingFile
from doubledraft.traces import draft_rule

TRUNCATION_LIMIT = 0.2  # share of answers at the token cap beyond which an accuracy measures the cap, not the model


def score_cell(
    *,
    cell: str,
    type: str,
    scenario: str,
    questions: str,
    manifest: str,
    generations: Sequence[str],
    runs: Sequence[str],
    timing: str,
    rule: Mapping[str, int] | None,
    limit: int | None,
    seed: int,
    settings: Mapping[str, object],
    out_metrics: str,
    out_samples: str,
    out_comparison: str,
) -> None:
    """Score a trained cell on the first `limit` questions: metrics, samples and the page that compares its runs.

    `generations` and `runs` are of the baseline and, where it was timed, of the speculative run; `timing` is the file
    of their turns. `manifest` is that of the scenario's questions, with how many were asked for and how many there
    were. Raise ComparisonError where the runs may not be compared, CounterError where the counters cannot be true.
    """
    asked = read_records(questions, Question)[:limit]
    loaded = [load(path, run_path, asked, questions) for path, run_path in zip(generations, runs, strict=True)]
    if len(loaded) > 1:
        check_comparable(*loaded)
    modes = {run.info.mode: grade(run, asked, rule, seed) for run in loaded}
    timed = interleave.timing_metrics(json_file.read(timing, TimingFile), seed)
    metrics = CellMetrics(
        cell=cell,
        type=type,
        scenario=scenario,
        n=len(asked),
        questions=_asked_and_got(manifest),
        questions_hash=_questions_hash(asked),
        **(compare(*modes.values(), seed, timed) if SPECULATIVE in modes else {BASELINE: modes[BASELINE].metrics}),
        timing=timed,
        provenance=_provenance([mode.run for mode in modes.values()], settings),
    )
    _write(metrics, asked, modes, out_metrics, out_samples, out_comparison)
    if timed.steady is False:
        log.warning("%s: the machine was not steady; its speedup may be off by more than its interval", cell)


def score_untrained(
    *,
    cell: str,
    scenario: str,
    questions: str,
    manifest: str,
    generations: Sequence[str],
    runs: Sequence[str],
    rules: Mapping[str, Mapping[str, int] | None],
    limit: int | None,
    seed: int,
    settings: Mapping[str, object],
    out_metrics: str,
    out_samples: str,
    out_comparison: str,
) -> None:
    """Score the base model on the first `limit` questions: one run for each way of asking it.

    `rules` maps the name of a way of asking (a type, followed by `_thinking_...` where the chat template was told to
    think or not to) to the draft rule of its type. `generations` and `runs` are in the same order.
    """
    asked = read_records(questions, Question)[:limit]
    modes = {
        name: grade(load(path, run_path, asked, questions), asked, rule, seed)
        for (name, rule), path, run_path in zip(rules.items(), generations, runs, strict=True)
    }
    metrics = CellMetrics(
        cell=cell,
        type="untrained",
        scenario=scenario,
        n=len(asked),
        questions=_asked_and_got(manifest),
        questions_hash=_questions_hash(asked),
        prompts={name: mode.metrics for name, mode in modes.items()},
        provenance=_provenance([mode.run for mode in modes.values()], settings),
    )
    _write(metrics, asked, modes, out_metrics, out_samples, out_comparison)


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


def grade(run: Run, asked: Sequence[Question], rule: Mapping[str, int] | None, seed: int) -> Graded:
    """Grade a run's answers against gold, and compute its metrics."""
    scores = grader.score(run.rows, {question.id: question.answer for question in asked})
    lengths = [len(row.token_ids) for row in run.rows]
    seconds = sum(run.batches)
    rate, bound = sum(lengths) / seconds, speculation.bound_tokens_per_second(run)
    truncated = _share(row.finish_reason == "length" for row in run.rows)
    metrics = RunMetrics(
        n=len(run.rows),
        accuracy=_accuracy(run.rows, scores),
        accuracy_by={name: accuracy_by(name, asked, scores) for name in ("level", "subject")},
        undecided=sum("undecided" in (score.strict_verdict, score.lenient_verdict) for score in scores),
        unparsable=sum(score.strict is None for score in scores),
        truncated=truncated,
        truncation_warning=truncated.value > TRUNCATION_LIMIT,
        unclosed_think=sum("<think>" in row.text and "</think>" not in row.text for row in run.rows),
        tokens=AnswerTokens(mean=mean_interval(lengths, seed), median=float(median(lengths)), total=sum(lengths)),
        **_times(run.rows),
        wall_seconds=seconds,
        tokens_per_second=rate,
        bound_tokens_per_second=bound,
        share_of_bound=rate / bound if bound else None,
        concurrency=run.info.concurrency,
        **_style(run.rows, rule, seed),
    )
    return Graded(run, scores, metrics)


def accuracy_by(field: str, asked: Sequence[Question], scores: Sequence[Score]) -> dict[str, GroupAccuracy]:
    """Return the accuracy for every value of the field "level" or "subject", of the questions that have one."""
    groups: dict[str, list[Score]] = {}
    for question, score in zip(asked, scores, strict=True):
        if (value := getattr(question, field)) is not None:
            groups.setdefault(value, []).append(score)
    return {value: GroupAccuracy(**_right(groups[value])) for value in sorted(groups)}


def lossless_metrics(baseline: Graded, speculative: Graded) -> LosslessMetrics:
    """Return how often both runs emitted the same ids, where they first differ, and which verdicts that changed."""
    pairs = list(zip(baseline.run.rows, speculative.run.rows, strict=True))
    positions = [first_difference(plain.token_ids, drafted.token_ids) for plain, drafted in pairs]
    parted = [position for position in positions if position is not None]
    gaps = [drafted.top2_gap for _, drafted in pairs if drafted.top2_gap is not None]
    return LosslessMetrics(
        dtype=speculative.run.info.dtype,
        identical_rate=_share(position is None for position in positions),
        different=len(parted),
        first_difference=FirstDifference(median=float(median(parted)), min=min(parted)) if parted else None,
        top2_gap=GapAtDifference(median=float(median(gaps)), max=max(gaps), n=len(gaps)) if gaps else None,
        verdicts=_verdict_changes(baseline.scores, speculative.scores),
    )


def _asked_and_got(manifest: str) -> dict[str, QuestionCounts]:
    splits = json.loads(Path(manifest).read_text(encoding="utf-8"))["splits"]
    return {split: QuestionCounts(asked=counts["asked"], got=counts["got"]) for split, counts in splits.items()}


def _questions_hash(asked: Sequence[Question]) -> str:
    """Return a hash that tells sets of questions apart: two sets of one scenario have the same ids."""
    return config_hash([(question.id, question.question, question.answer) for question in asked])


def _accuracy(rows: Sequence[Generation], scores: Sequence[Score]) -> Accuracy:
    finished = [score for row, score in zip(rows, scores, strict=True) if row.finish_reason != "length"]
    return Accuracy(**_right(scores), **{f"{name}_finished": share for name, share in _right(finished).items()})


def _right(scores: Sequence[Score]) -> dict[str, Interval | None]:
    return {
        "strict": _share(score.strict_verdict == "equal" for score in scores),
        "lenient": _share(score.lenient_verdict == "equal" for score in scores),
    }


def _times(rows: Sequence[Generation]) -> dict[str, Percentiles | None]:
    """Return percentiles in seconds, without queue time; None where the engine gave no times."""
    timed = [row for row in rows if None not in (row.latency, row.time_to_first_token) and len(row.token_ids) > 1]
    return {
        "latency": percentiles([row.latency for row in rows if row.latency is not None]),
        "time_to_first_token": percentiles(
            [row.time_to_first_token for row in rows if row.time_to_first_token is not None]
        ),
        "time_per_token": percentiles(
            [(row.latency - row.time_to_first_token) / (len(row.token_ids) - 1) for row in timed]
        ),
    }


def _verdict_changes(baseline: Sequence[Score], speculative: Sequence[Score]) -> VerdictChanges:
    right = [
        (plain.strict_verdict == "equal", drafted.strict_verdict == "equal")
        for plain, drafted in zip(baseline, speculative, strict=True)
    ]
    lost, gained = right.count((True, False)), right.count((False, True))
    return VerdictChanges(lost=lost, gained=gained, p_value=mcnemar(lost, gained))


def _share(outcomes: Iterable[bool]) -> Interval | None:
    outcomes = list(outcomes)
    return wilson(sum(outcomes), len(outcomes))


def _style(rows: Sequence[Generation], rule: Mapping[str, int] | None, seed: int) -> dict[str, Interval | None]:
    """Return steps and words of the answers, and the share that keeps the draft rule, where the type has one."""
    found = [draft_rule.compliance(row.text, draft_rule.Rule(**rule) if rule else None) for row in rows]
    steps = [answer.steps for answer in found]
    words = [sum(answer.words_per_step) for answer in found]
    return {
        "compliance": _share(answer.compliant for answer in found) if rule else None,
        "steps_per_answer": mean_interval(steps, seed),
        "words_per_step": ratio_interval(words, steps, seed),
    }


def _provenance(runs: Sequence[Run], settings: Mapping[str, object]) -> CellProvenance:
    """Return what made the metrics: the process that measured the first run, and under `scored` this one."""
    now = recorded(settings)
    described = ("mode", "method", "kernel", "dtype", "environment", "provenance")
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
    asked: Sequence[Question],
    modes: Mapping[str, Graded],
    out_metrics: str,
    out_samples: str,
    out_page: str,
) -> None:
    samples.write_samples(out_samples, asked, modes)
    samples.write_page(out_page, metrics, asked, modes)
    json_file.write(out_metrics, metrics)
    for name, mode in modes.items():
        if mode.metrics.truncation_warning:
            share = 100 * mode.metrics.truncated.value
            log.warning("%s, %s: %.0f %% of answers reached the token cap", metrics.cell, name, share)
    log.info("%s: scored %d questions", metrics.cell, metrics.n)
