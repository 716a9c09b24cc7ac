"""All recipes of a draft in one table, figure and page, in the order of their tokens per step.

Recipes answer the same questions for the same target, whose greedy answers are the same with any draft. So recipes are
compared by target passes: the ratio of tokens per step to the first recipe's is the first recipe's passes / its own,
summed over seeds, with an interval that resamples questions. Where the interval holds 1, no difference is shown, and
the table says so. The lowest and the highest seed stand beside it.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean

from doubledraft import pages
from doubledraft.charts import Dot, dots_figure
from doubledraft.evaluation.drafts.measure import Measured
from doubledraft.files import whole_file
from doubledraft.records import RecordError, read_records
from doubledraft.stats import Interval, ratio_interval, side
from doubledraft.summaries import json_file
from doubledraft.summaries.table import write_csv
from doubledraft.summaries.training_summary import TrainingSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A line of the leaderboard; ratios are null where there is nothing to compare with, speedups where not timed."""

    recipe: str
    seeds: int
    minutes: float  # of training, evaluations aside; mean of the seeds
    steps: int  # of the optimiser, of the first seed
    rows: int  # answers learnt from
    trained_parameters: int
    tokens_per_step: Interval
    lowest_seed: float  # tokens per step of the worst seed
    highest_seed: float
    against_first: Interval | None  # tokens per step / the first recipe's, over the same questions
    acceptance_rate: Interval | None  # accepted / drafted, counted up to the first rejection
    speedup: Interval | None  # plain seconds / seconds, drafts of the fixed length
    adaptive_speedup: Interval | None

    @property
    def verdict(self) -> str:
        """What the comparison with the first recipe shows."""
        ratio = self.against_first
        if ratio is None or ratio.low is None:
            return "reference" if ratio is None else "too few questions"
        return {1: "more", 0: "no difference shown", -1: "fewer"}[side(ratio, 1)]


@dataclass(frozen=True, slots=True)
class _Seed:
    summary: TrainingSummary
    rows: list[Measured]


def compare(
    recipes: Sequence[str],
    adapters: Sequence[str | Path],
    measured: Sequence[str | Path],
    *,
    cell: str,
    draft_length: int,
    minutes: float,
    seed: int,
    csv_out: str | Path,
    figure_out: str | Path,
    page_out: str | Path,
) -> None:
    """Write table, figure (SVG) and page of recipes; the others are compared with the first.

    `adapters` and `measured`, files of Measured, are those of all seeds of the first recipe, then of the next. Raise
    RecordError where two files answer other questions, or recipes have different numbers of seeds.
    """
    seeds = [
        _Seed(json_file.read(Path(adapter, "training.json"), TrainingSummary), read_records(rows, Measured))
        for adapter, rows in zip(adapters, measured, strict=True)
    ]
    per_recipe, left = divmod(len(seeds), len(recipes))
    if left:
        raise RecordError(f"{len(seeds)} drafts of {len(recipes)} recipes: expected as many seeds of each recipe")
    by_recipe = {name: seeds[per_recipe * place : per_recipe * (place + 1)] for place, name in enumerate(recipes)}
    _check(by_recipe)
    first = next(iter(by_recipe))
    board = [_row(name, seeds, None if name == first else by_recipe[first], seed) for name, seeds in by_recipe.items()]
    board.sort(key=lambda row: -row.tokens_per_step.value)
    write_csv(csv_out, [{"recipe": row.recipe, "verdict": row.verdict, **_cells(row)} for row in board])
    others = [row for row in board if row.against_first]
    dots_figure(
        [_dot(row, cell) for row in others],
        figure_out,
        quantity=f"tokens per step / those of {first}",
        reference=1.0,
        unit="questions",
    )
    figure = base64.b64encode(Path(figure_out).read_bytes()).decode()
    values = {"cell": cell, "board": board, "first": first, "draft_length": draft_length, "minutes": minutes}
    with whole_file(page_out) as file:
        file.write(pages.render("leaderboard.html.j2", values | {"figure": figure}))


def _check(recipes: Mapping[str, Sequence[_Seed]]) -> None:
    by_questions = {tuple(row.id for row in draft.rows): name for name, seeds in recipes.items() for draft in seeds}
    if len(by_questions) > 1:
        raise RecordError(f"recipes {' and '.join(by_questions.values())} answered other questions: measure them again")


def _row(name: str, seeds: Sequence[_Seed], first: Sequence[_Seed] | None, seed: int) -> Standing:
    summary = seeds[0].summary
    tokens, steps = _sums(seeds, "tokens"), _sums(seeds, "steps")
    rates = [sum(row.tokens for row in draft.rows) / sum(row.steps for row in draft.rows) for draft in seeds]
    timed = all(row.plain_seconds for draft in seeds for row in draft.rows)

    def speedup(arm: str) -> Interval | None:
        return ratio_interval(_sums(seeds, "plain_seconds"), _sums(seeds, arm), seed) if timed else None

    return Standing(
        recipe=name,
        seeds=len(seeds),
        minutes=round(fmean(draft.summary.seconds for draft in seeds) / 60, 2),
        steps=summary.steps,
        rows=summary.rows,
        trained_parameters=summary.trained_parameters,
        tokens_per_step=ratio_interval(tokens, steps, seed),
        lowest_seed=min(rates),
        highest_seed=max(rates),
        against_first=ratio_interval(_sums(first, "steps"), steps, seed) if first else None,
        acceptance_rate=ratio_interval(_sums(seeds, "accepted"), _sums(seeds, "drafted"), seed),
        speedup=speedup("fixed_seconds"),
        adaptive_speedup=speedup("adaptive_seconds"),
    )


def _sums(seeds: Sequence[_Seed], field: str) -> list[float]:
    """Return a field of each question, summed over seeds."""
    return [sum(getattr(row, field) for row in rows) for rows in zip(*(draft.rows for draft in seeds), strict=True)]


def _cells(row: Standing) -> dict[str, object]:
    """Return the figures of a recipe by column; an interval takes three columns, empty where it is undefined."""
    cells: dict[str, object] = {}
    for field in fields(row)[1:]:
        value = getattr(row, field.name)
        if isinstance(value, Interval) or value is None:
            parts = asdict(value) if value else {}
            cells |= {f"{field.name}{end}": parts.get(key) for end, key in _ENDS.items()}
        else:
            cells[field.name] = value
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in cells.items()}


_ENDS = {"": "value", "_low": "low", "_high": "high"}


def _dot(row: Standing, cell: str) -> Dot:
    type, scenario = cell.split("_", 1)
    ratio = row.against_first
    return Dot(
        label=row.recipe, type=type, scenario=scenario, value=ratio.value, low=ratio.low, high=ratio.high, n=ratio.n
    )
