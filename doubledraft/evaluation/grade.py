"""A run's answers graded against gold, and the metrics of the run: accuracy, truncation, length, form, speed.

Every share has its n, and what is undefined is None. The unit that is resampled is the question.
"""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from doubledraft.evaluation.runs import Graded, Run
from doubledraft.evaluation.speculation import bound_tokens_per_second
from doubledraft.grading import code, grader
from doubledraft.questions.data_sets import DataSet, Judged
from doubledraft.records import Generation, Question, Score
from doubledraft.stats import Interval, Percentiles, mean_interval, percentiles, ratio_interval, wilson
from doubledraft.summaries.cell_metrics import Accuracy, AnswerTokens, GroupAccuracy, RunMetrics
from doubledraft.traces import draft_rule

UNGRADED = "ungraded"  # verdict where a question has neither a gold answer nor tests
TRUNCATION_LIMIT = 0.2  # share of answers at the token cap beyond which an accuracy measures the cap, not the model


def grade(
    run: Run,
    asked: Sequence[Question],
    rule: Mapping[str, int] | None,
    seed: int,
    data: DataSet | None = None,
) -> Graded:
    """Grade a run's answers, and compute its metrics: against gold, or as `data` says, where it is given."""
    scores = (
        judge(data, run.rows) if data else grader.score(run.rows, {question.id: question.answer for question in asked})
    )
    lengths = [len(row.token_ids) for row in run.rows]
    seconds = sum(run.batches)
    rate, bound = sum(lengths) / seconds, bound_tokens_per_second(run)
    truncated = share(row.finish_reason == "length" for row in run.rows)
    metrics = RunMetrics(
        n=len(run.rows),
        accuracy=_accuracy(run.rows, scores),
        accuracy_by={name: accuracy_by(name, asked, scores) for name in ("level", "subject")},
        undecided=sum("undecided" in (score.strict_verdict, score.lenient_verdict) for score in scores),
        unparsable=sum(score.strict is None and score.strict_verdict != UNGRADED for score in scores),
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
        **style(run.rows, rule, seed),
    )
    return Graded(run, scores, metrics)


def judge(data: DataSet, rows: Sequence[Generation]) -> list[Score]:
    """Grade answers as their data set asks for; where it has neither gold nor tests, all verdicts are UNGRADED."""
    if data.judged is Judged.programs:
        return code.score(rows, data.tasks)
    if data.judged is Judged.answers:
        return grader.score(rows, {question.id: question.answer for question in data.questions})
    return [
        Score(id=row.id, strict=None, lenient=None, strict_verdict=UNGRADED, lenient_verdict=UNGRADED) for row in rows
    ]


def accuracy_by(field: str, asked: Sequence[Question], scores: Sequence[Score]) -> dict[str, GroupAccuracy]:
    """Return the accuracy for every value of the field "level" or "subject", of the questions that have one."""
    groups: dict[str, list[Score]] = {}
    for question, score in zip(asked, scores, strict=True):
        if (value := getattr(question, field)) is not None:
            groups.setdefault(value, []).append(score)
    return {value: GroupAccuracy(**_right(groups[value])) for value in sorted(groups)}


def _accuracy(rows: Sequence[Generation], scores: Sequence[Score]) -> Accuracy:
    finished = [score for row, score in zip(rows, scores, strict=True) if row.finish_reason != "length"]
    return Accuracy(**_right(scores), **{f"{name}_finished": part for name, part in _right(finished).items()})


def _right(scores: Sequence[Score]) -> dict[str, Interval | None]:
    return {
        "strict": share(score.strict_verdict == "equal" for score in scores if score.strict_verdict != UNGRADED),
        "lenient": share(score.lenient_verdict == "equal" for score in scores if score.lenient_verdict != UNGRADED),
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


def style(rows: Sequence[Generation], rule: Mapping[str, int] | None, seed: int) -> dict[str, Interval | None]:
    """Return steps and words of the answers, and the share that keeps the draft rule, where the type has one."""
    found = [draft_rule.compliance(row.text, draft_rule.Rule(**rule) if rule else None) for row in rows]
    steps = [answer.steps for answer in found]
    words = [sum(answer.words_per_step) for answer in found]
    return {
        "compliance": share(answer.compliant for answer in found) if rule else None,
        "steps_per_answer": mean_interval(steps, seed),
        "words_per_step": ratio_interval(words, steps, seed),
    }


def share(outcomes: Iterable[bool]) -> Interval | None:
    """Return the share of true outcomes, None of no outcomes."""
    outcomes = list(outcomes)
    return wilson(sum(outcomes), len(outcomes))
