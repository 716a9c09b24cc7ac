"""A run's answers graded against gold, and the metrics of the run: accuracy, truncation, length, form, speed.

Every share has its n, and what is undefined is None. The unit that is resampled is the question.
"""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import TypeVar

from doubledraft.evaluation.runs import Graded, Run
from doubledraft.evaluation.speculation import bound_tokens_per_second
from doubledraft.grading import code, grader
from doubledraft.questions.data_sets import DataSet, JudgedBy
from doubledraft.records import Generation, Question, Score
from doubledraft.stats import Interval, Percentiles, percentiles, ratio_interval, share_interval, totals, wilson
from doubledraft.summaries.cell_metrics import Accuracy, AnswerTokens, GroupAccuracy, RunMetrics, SampleMetrics
from doubledraft.traces import draft_rule

UNGRADED = "ungraded"  # verdict where a question has neither a gold answer nor tests
Row = TypeVar("Row")
TRUNCATION_LIMIT = 0.2  # share of answers at the token cap beyond which an accuracy measures the cap, not the model


def grade(
    run: Run,
    questions: Sequence[Question],
    rule: Mapping[str, int] | None,
    seed: int,
    data: DataSet | None = None,
) -> Graded:
    """Grade a run's answers, and compute its metrics: against gold, or as `data` says, where it is given."""
    golds = {question.id: question.answer for question in questions}
    scores = judge(data, run.rows) if data else grader.score(run.rows, golds)
    lengths = [len(row.token_ids) for row in run.rows]
    seconds = sum(run.batches)
    rate, bound = sum(lengths) / seconds, bound_tokens_per_second(run)
    units = run.units
    graded = list(zip(units, scores, strict=True))
    truncated = share_interval(units, [row.finish_reason == "length" for row in run.rows], seed)
    metrics = RunMetrics(
        n=len(run.rows),
        samples=run.info.samples,
        temperature=run.info.temperature,
        by_sample=_by_sample(run, scores),
        accuracy=_accuracy(run, graded, seed),
        accuracy_by={field: _accuracy_by(field, questions, graded, seed) for field in ("level", "subject")},
        undecided=sum("undecided" in (score.strict_verdict, score.lenient_verdict) for score in scores),
        unparsable=sum(score.strict is None and score.strict_verdict != UNGRADED for score in scores),
        truncated=truncated,
        truncation_warning=truncated.value > TRUNCATION_LIMIT,
        unclosed_think=sum("<think>" in row.text and "</think>" not in row.text for row in run.rows),
        tokens=AnswerTokens(mean=_mean(units, lengths, seed), median=float(median(lengths)), total=sum(lengths)),
        **_times(run.rows),
        wall_seconds=seconds,
        tokens_per_second=rate,
        bound_tokens_per_second=bound,
        share_of_bound=rate / bound if bound else None,
        concurrency=run.info.concurrency,
        **style(run.rows, rule, seed, units),
    )
    return Graded(run, scores, metrics)


def judge(data: DataSet, rows: Sequence[Generation]) -> list[Score]:
    """Grade answers as their data set asks for; where it has neither gold nor tests, all verdicts are UNGRADED."""
    if data.judged is JudgedBy.programs:
        return code.score(rows, data.tasks)
    if data.judged is JudgedBy.answers:
        return grader.score(rows, {question.id: question.answer for question in data.questions})
    return [
        Score(id=row.id, strict=None, lenient=None, strict_verdict=UNGRADED, lenient_verdict=UNGRADED) for row in rows
    ]


def by_value(field: str, questions: Sequence[Question], rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the rows of the questions by their value of the field "level" or "subject", where they have one."""
    groups: dict[str, list[Row]] = {}
    for question, row in zip(questions, rows, strict=True):
        if (value := getattr(question, field)) is not None:
            groups.setdefault(value, []).append(row)
    return dict(sorted(groups.items()))


def _accuracy_by(field: str, questions: Sequence[Question], graded: Sequence, seed: int) -> dict[str, GroupAccuracy]:
    groups = by_value(field, questions, graded)
    return {value: GroupAccuracy(**_right(rows, seed)) for value, rows in groups.items()}


def _accuracy(run: Run, graded: Sequence[tuple[str, Score]], seed: int) -> Accuracy:
    finished = [pair for row, pair in zip(run.rows, graded, strict=True) if row.finish_reason != "length"]
    return Accuracy(
        **_right(graded, seed), **{f"{name}_finished": part for name, part in _right(finished, seed).items()}
    )


def _right(graded: Sequence[tuple[str, Score]], seed: int) -> dict[str, Interval | None]:
    """Return the shares of right answers; `graded` pairs the id of a question with the score of an answer."""
    shares = {}
    for name in ("strict", "lenient"):
        verdicts = [(unit, verdict) for unit, score in graded if (verdict := _verdict(score, name)) != UNGRADED]
        shares[name] = share_interval(
            [unit for unit, _ in verdicts], [verdict == "equal" for _, verdict in verdicts], seed
        )
    return shares


def _verdict(score: Score, name: str) -> str:
    return getattr(score, f"{name}_verdict")


def _by_sample(run: Run, scores: Sequence[Score]) -> list[SampleMetrics] | None:
    """Return what each sample of all questions was like; None of a single one. Rows are in the order of `repeated`."""
    samples, count = run.info.samples, len(run.rows) // run.info.samples
    if samples == 1:
        return None
    parts = [slice(at * count, (at + 1) * count) for at in range(samples)]
    return [_sample(run.rows[part], scores[part]) for part in parts]


def _sample(rows: Sequence[Generation], scores: Sequence[Score]) -> SampleMetrics:
    emitted = sum(len(row.token_ids) for row in rows)
    steps, drafted = (sum(getattr(row, name) or 0 for row in rows) for name in ("steps", "drafted"))
    right = {name: sum(_verdict(score, name) == "equal" for score in scores) for name in ("strict", "lenient")}
    return SampleMetrics(
        **{name: count / len(rows) for name, count in right.items()},
        tokens=emitted / len(rows),
        tokens_per_step=emitted / steps if steps else None,
        acceptance_rate=sum(row.accepted for row in rows) / drafted if drafted else None,
    )


def _mean(units: Sequence[str], values: Sequence[float], seed: int) -> Interval | None:
    """Return the mean over answers; its interval is over the questions that they are of."""
    return ratio_interval(totals(units, values), totals(units, [1] * len(values)), seed)


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


def style(
    rows: Sequence[Generation], rule: Mapping[str, int] | None, seed: int, units: Sequence[str] | None = None
) -> dict[str, Interval | None]:
    """Return steps and words of the answers, and the share that keeps the draft rule, where the type has one.

    `units` are the questions that the rows answer, where that is not one row each.
    """
    units = units or [row.id for row in rows]
    answers = [draft_rule.compliance(row.text, draft_rule.Rule(**rule) if rule else None) for row in rows]
    steps = [answer.steps for answer in answers]
    words = [sum(answer.words_per_step) for answer in answers]
    return {
        "compliance": share_interval(units, [answer.compliant for answer in answers], seed) if rule else None,
        "steps_per_answer": _mean(units, steps, seed),
        "words_per_step": ratio_interval(totals(units, words), totals(units, steps), seed),
    }


def share(outcomes: Iterable[bool]) -> Interval | None:
    """Return the share of true outcomes, None of no outcomes."""
    outcomes = list(outcomes)
    return wilson(sum(outcomes), len(outcomes))
