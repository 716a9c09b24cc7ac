"""Metrics of a cell from the generations of its runs; what compares cells is in `findings`.

It knows records, run files and numbers; it never runs a model. Totals are compared, not means of ratios, and every
share says of how many. What is undefined is None. The unit that is resampled is the question, and for wall time the
batch: questions in flight together share one clock.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median

from doubledraft.evaluation import samples, speculation
from doubledraft.evaluation.runs import Graded, Run, check_comparable, load
from doubledraft.files import write_json
from doubledraft.grading import grader
from doubledraft.log import log
from doubledraft.provenance import provenance
from doubledraft.records import Generation, Question, Score, first_difference, read_records
from doubledraft.stats import as_json, mcnemar, mean_interval, percentiles, ratio_interval, wilson
from doubledraft.traces import draft_rule, verify

TRUNCATION_LIMIT = 0.2  # share of answers at the token cap beyond which an accuracy measures the cap, not the model


def score_cell(
    *,
    cell: str,
    type: str,
    scenario: str,
    questions: str,
    manifest: str,
    baseline: str,
    speculative: str,
    baseline_run: str,
    speculative_run: str,
    rule: Mapping[str, int] | None,
    limit: int | None,
    seed: int,
    settings: Mapping[str, object],
    out_metrics: str,
    out_samples: str,
    out_comparison: str,
) -> None:
    """Score a trained cell on the first `limit` questions: metrics, samples and the page that compares both runs.

    `manifest` is that of the scenario's questions, which says how many were asked for and how many there were.
    Raises ComparisonError where the runs may not be compared, CounterError where the counters cannot be true.
    """
    asked = read_records(questions, Question)[:limit]
    plain_run = load(baseline, baseline_run, asked, questions)
    drafted_run = load(speculative, speculative_run, asked, questions)
    check_comparable(plain_run, drafted_run)
    speculated = speculation.figures(drafted_run, seed)
    plain, drafted = (grade(run, asked, rule, seed) for run in (plain_run, drafted_run))
    metrics = {
        "cell": cell,
        "type": type,
        "scenario": scenario,
        "n": len(asked),
        "questions": _asked_and_got(manifest),
        "questions_hash": _questions_hash(asked),
        "baseline": plain.figures,
        "speculative": drafted.figures,
        "speculation": speculated,
        "speedup": speculation.speedup(plain_run, drafted_run, speculated, seed),
        "bandwidth": speculation.bandwidth(plain_run, drafted_run),
        "lossless": lossless_figures(plain, drafted),
        "provenance": _provenance([plain_run, drafted_run], settings),
    }
    modes = {"baseline": plain, "speculative": drafted}
    _write(metrics, asked, modes, out_metrics, out_samples, out_comparison)


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
    """Score the base model on the first `limit` questions: one run for each way of asking, as `rules` has them.

    `rules` maps a type of prompt, with `_thinking_...` behind it where that was asked for, to the rule of the type.
    """
    asked = read_records(questions, Question)[:limit]
    modes = {
        name: grade(load(path, run_path, asked, questions), asked, rule, seed)
        for (name, rule), path, run_path in zip(rules.items(), generations, runs, strict=True)
    }
    metrics = {
        "cell": cell,
        "type": "untrained",
        "scenario": scenario,
        "n": len(asked),
        "questions": _asked_and_got(manifest),
        "questions_hash": _questions_hash(asked),
        "prompts": {name: mode.figures for name, mode in modes.items()},
        "provenance": _provenance([mode.run for mode in modes.values()], settings),
    }
    _write(metrics, asked, modes, out_metrics, out_samples, out_comparison)


def grade(run: Run, asked: Sequence[Question], rule: Mapping[str, int] | None, seed: int) -> Graded:
    """Grade a run's answers against gold and give its figures."""
    scores = grader.score(run.rows, {question.id: question.answer for question in asked})
    lengths = [len(row.token_ids) for row in run.rows]
    seconds = sum(run.batches)
    truncated = _share(row.finish_reason == "length" for row in run.rows)
    figures = {
        "n": len(run.rows),
        "accuracy": _accuracy(run.rows, scores),
        "accuracy_by": {name: accuracy_by(name, asked, scores) for name in ("level", "subject")},
        "undecided": sum("undecided" in (score.strict_verdict, score.lenient_verdict) for score in scores),
        "unparsable": sum(score.strict is None for score in scores),
        "truncated": truncated,
        "truncation_warning": truncated["value"] > TRUNCATION_LIMIT,
        "unclosed_think": sum("<think>" in row.text and "</think>" not in row.text for row in run.rows),
        "tokens": {
            "mean": as_json(mean_interval(lengths, seed)),
            "median": float(median(lengths)),
            "total": sum(lengths),
        },
        **_times(run.rows),
        "wall_seconds": seconds,
        "tokens_per_second": sum(lengths) / seconds,
        "concurrency": run.info["concurrency"],
        **_style(run.rows, rule, seed),
    }
    return Graded(run, scores, figures)


def accuracy_by(field: str, asked: Sequence[Question], scores: Sequence[Score]) -> dict[str, dict]:
    """Give strict and lenient accuracy for every value of the field "level" or "subject" of questions that have one."""
    groups: dict[str, list[Score]] = {}
    for question, score in zip(asked, scores, strict=True):
        if (value := getattr(question, field)) is not None:
            groups.setdefault(value, []).append(score)
    return {
        value: {
            "strict": _share(score.strict_verdict == "equal" for score in groups[value]),
            "lenient": _share(score.lenient_verdict == "equal" for score in groups[value]),
        }
        for value in sorted(groups)
    }


def lossless_figures(baseline: Graded, speculative: Graded) -> dict:
    """Say how often both runs emitted the same ids, where they first parted, and whether that changed a verdict."""
    pairs = list(zip(baseline.run.rows, speculative.run.rows, strict=True))
    positions = [first_difference(plain.token_ids, drafted.token_ids) for plain, drafted in pairs]
    parted = [position for position in positions if position is not None]
    gaps = [drafted.top2_gap for _, drafted in pairs if drafted.top2_gap is not None]
    lost, gained = _verdict_changes(baseline.scores, speculative.scores)
    return {
        "dtype": speculative.run.info["dtype"],  # only in float32 is every difference a fault
        "identical_rate": _share(position is None for position in positions),
        "different": len(parted),
        "first_difference": {"median": float(median(parted)), "min": min(parted)} if parted else None,
        "top2_gap": {"median": float(median(gaps)), "max": max(gaps), "n": len(gaps)} if gaps else None,
        "verdicts": {"lost": lost, "gained": gained, "p_value": mcnemar(lost, gained)},
    }


def _asked_and_got(manifest: str) -> dict[str, dict[str, int]]:
    splits = json.loads(Path(manifest).read_text(encoding="utf-8"))["splits"]
    return {split: {key: counts[key] for key in ("asked", "got")} for split, counts in splits.items()}


def _questions_hash(asked: Sequence[Question]) -> str:
    """Tell sets of questions apart: two sets of one scenario have the same ids."""
    return provenance.config_hash([(question.id, question.question, question.answer) for question in asked])


def _accuracy(rows: Sequence[Generation], scores: Sequence[Score]) -> dict:
    finished = [score for row, score in zip(rows, scores, strict=True) if row.finish_reason != "length"]
    return {
        "strict": _share(score.strict_verdict == "equal" for score in scores),
        "lenient": _share(score.lenient_verdict == "equal" for score in scores),
        "strict_finished": _share(score.strict_verdict == "equal" for score in finished),
        "lenient_finished": _share(score.lenient_verdict == "equal" for score in finished),
    }


def _times(rows: Sequence[Generation]) -> dict:
    """Percentiles in seconds, without queue time; null where the engine gave no times."""
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


def _verdict_changes(baseline: Sequence[Score], speculative: Sequence[Score]) -> tuple[int, int]:
    right = [
        (plain.strict_verdict == "equal", drafted.strict_verdict == "equal")
        for plain, drafted in zip(baseline, speculative, strict=True)
    ]
    return right.count((True, False)), right.count((False, True))


def _share(outcomes: Iterable[bool]) -> dict | None:
    outcomes = list(outcomes)
    return as_json(wilson(sum(outcomes), len(outcomes)))


def _style(rows: Sequence[Generation], rule: Mapping[str, int] | None, seed: int) -> dict:
    """Steps and words of the answers, and the share that keeps the rule of drafts, where the type has one."""
    found = [draft_rule.compliance(row.text, draft_rule.Rule(**rule) if rule else None) for row in rows]
    steps = [answer.steps for answer in found]
    words = [sum(answer.words_per_step) for answer in found]
    return {
        "compliance": _share(answer.compliant for answer in found) if rule else None,
        "steps_per_answer": as_json(mean_interval(steps, seed)),
        "words_per_step": as_json(ratio_interval(words, steps, seed)),
    }


def _provenance(runs: Sequence[Run], settings: Mapping[str, object]) -> dict:
    """Say what made the result: the process that measured the first run; what scored it stands under `scored`."""
    described = ("mode", "method", "kernel", "dtype", "environment", "provenance")
    return {
        **provenance(settings),
        **runs[0].info["provenance"],
        "scored": provenance(),
        "runs": [{"engine": run.engine, **{key: run.info[key] for key in described}} for run in runs],
    }


def _write(
    metrics: dict,
    asked: Sequence[Question],
    modes: Mapping[str, Graded],
    out_metrics: str,
    out_samples: str,
    out_page: str,
) -> None:
    samples.write_samples(out_samples, asked, modes)
    samples.write_page(out_page, metrics, asked, modes)
    write_json(out_metrics, metrics)
    for name, mode in modes.items():
        if mode.figures["truncation_warning"]:
            share = mode.figures["truncated"]["value"]
            log.warning("%s, %s: %.0f %% of answers hit the token cap", metrics["cell"], name, 100 * share)
    log.info("%s: scored %d questions", metrics["cell"], metrics["n"])
