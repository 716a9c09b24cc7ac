"""A recipe of a draft, trained for as many minutes as every other recipe that it is compared with.

The minutes are of optimiser steps alone: a few steps are timed first, and the training then takes as many as fit, so
that the learning rate schedule ends within them. Evaluations on held-out questions come on top, and `training.json`
has the seconds of each. The number of steps is kept beside the checkpoints, for a run that is killed and goes on.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from doubledraft import prompts
from doubledraft.engine.draft_vocabulary import learn_from_files
from doubledraft.files import write_json
from doubledraft.log import log
from doubledraft.records import Generation, Question, read_records
from doubledraft.summaries import json_file
from doubledraft.summaries.training_summary import TrainingSummary
from doubledraft.training.distill import why_dropped
from doubledraft.training.draft_run import DraftRun
from doubledraft.training.finetune import train
from doubledraft.training.rows import TrainingError, rows_from_generations
from doubledraft.training.run import Inputs

TIMED_STEPS = 8  # from which the time of a step is taken


def train_recipe(
    *,
    base,
    target,
    distilled,
    questions,
    prompt,
    out,
    checkpoints,
    minutes: float,
    learn_from: dict,
    start=None,
    draft_vocabulary: int | None = None,
    **settings,
) -> None:
    """Train a draft's adapter as `finetune.train_draft` does, in `minutes`, on the answers that `learn_from` names.

    `learn_from` has `questions`, of which the first so many count (None: all), and `keep`: finished | right. The file
    `distilled` holds the finished answers to all of them.
    """
    answers = choose(read_records(distilled, Generation), read_records(questions, Question), learn_from)
    rows = rows_from_generations(answers, read_records(questions, Question), prompts.load(prompt))
    allowed = learn_from_files([distilled], draft_vocabulary) if draft_vocabulary else None
    inputs = Inputs(base=base, rows=rows, start=start, target=target, allowed_tokens=allowed)
    steps_file = Path(f"{checkpoints}_steps.json")
    if not steps_file.exists():
        write_json(steps_file, {"steps": steps_in(minutes, inputs, settings)})
    steps = json.loads(steps_file.read_text(encoding="utf-8"))["steps"]
    train(inputs, out, run=DraftRun, checkpoints=checkpoints, **settings | {"steps": steps})
    steps_file.unlink()


def choose(rows: Sequence[Generation], questions: Sequence[Question], learn_from: dict) -> list[Generation]:
    """Return the answers that a recipe learns from; raise TrainingError where there are none."""
    subset = questions[: learn_from["questions"]]
    ids = {question.id for question in subset}
    rows = [row for row in rows if row.id in ids]
    answers = [
        row for row, reason in zip(rows, why_dropped(rows, subset, learn_from["keep"]), strict=True) if reason is None
    ]
    if not answers:
        raise TrainingError(
            f"none of {len(rows)} answers is {learn_from['keep']}: the recipe has nothing to learn from; raise "
            "distill.questions of the recipe, or set its distill.keep to finished"
        )
    return answers


def steps_in(minutes: float, inputs: Inputs, settings: dict) -> int:
    """Return how many optimiser steps a training takes in so many minutes, from the time of the first few."""
    with tempfile.TemporaryDirectory(prefix="steps.") as folder:
        adapter, files = Path(folder, "adapter"), {name: Path(folder, name) for name in ("checkpoints", "loss_csv")}
        train(inputs, adapter, run=DraftRun, **settings | files | {"steps": TIMED_STEPS, "held_out": 0})
        seconds = json_file.read(adapter / "training.json", TrainingSummary).seconds / TIMED_STEPS
    steps = max(2, int(60 * minutes / seconds))  # the first has a learning rate of 0
    log.info("%d steps of %.2f s make %g minutes", steps, seconds, minutes)
    return steps
