"""The leaderboard: which recipe is better, and which difference was not found; and a whole one of tiny drafts."""

import csv
import re
from pathlib import Path

import pytest

from doubledraft.evaluation.drafts import leaderboard
from doubledraft.evaluation.drafts.measure import Measured, measure_recipe
from doubledraft.files import write_json
from doubledraft.models.prune import prune
from doubledraft.records import Generation, Question, RecordError, read_records, write_records
from doubledraft.training.recipes import choose, train_recipe
from tests.helpers.made_up import MADE
from tests.helpers.tiny_models import build_model

SETTINGS = {
    "base": "base",
    "learning_rate": 1e-3,
    "epochs": 1,
    "rank": 4,
    "alpha": 4,
    "batch": 4,
    "accumulate": 1,
    "max_length": 128,
    "seed": 17,
    "dtype": "float32",
    "computing_dtype": "float32",
    "load_in_4bit": False,
    "update": "full",
    "method": "sft",
    "loss": "ce",
    "weights": "none",
    "lmbda": 0.0,
    "held_out": 0,
    "start": "base",
}


def made_up(folder: Path, steps: list[int], *, seconds: float | None = None) -> tuple[Path, Path]:
    """Write an adapter's summary and the rows of a draft that took so many target passes for 60 tokens a question."""
    counts = {"rows": 9, "rows_too_long": 0, "tokens": 90, "completion_tokens": 50, "longest_row": 12}
    more = {"seconds": 90.0, "steps": 30, "final_loss": 0.5, "trained_parameters": 1234, "computed_in": "float32"}
    summary = counts | more | {"step_seconds": None, "settings": SETTINGS, "provenance": MADE}
    write_json(folder / "adapter/training.json", summary)
    times = {name: seconds for name in ("fixed_seconds", "adaptive_seconds") if seconds}
    times |= {"plain_seconds": 1.0} if seconds else {}
    rows = [
        Measured(id=f"q{n}", tokens=60, steps=took, drafted=5 * took, accepted=60 - took, **times)
        for n, took in enumerate(steps)
    ]
    write_records(folder / "measured.jsonl", rows)
    return folder / "adapter", folder / "measured.jsonl"


def board(folder: Path, recipes: dict[str, list[tuple[Path, Path]]]) -> list[dict[str, str]]:
    """Return the lines of the table of these recipes."""
    pairs = [pair for seeds in recipes.values() for pair in seeds]
    settings = {"cell": "cod_hard", "draft_length": 5, "minutes": 1.5, "seed": 17}
    outputs = {
        f"{name}_out": folder / f"board.{end}" for name, end in (("csv", "csv"), ("figure", "svg"), ("page", "html"))
    }
    leaderboard.compare(list(recipes), *zip(*pairs, strict=True), **settings, **outputs)
    with open(folder / "board.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_the_best_recipe_is_first_and_a_difference_that_was_not_found_is_said(tmp_path):
    recipes = {
        "plain": [made_up(tmp_path / "a", [20, 24, 22, 26, 21, 25])],
        "same": [made_up(tmp_path / "b", [21, 23, 22, 26, 20, 26])],
        "better": [made_up(tmp_path / "c", [13, 15, 14, 17, 13, 16], seconds=0.5)],
        "worse": [made_up(tmp_path / "d", [40, 47, 45, 50, 43, 49])],
    }
    rows = board(tmp_path, recipes)
    assert [row["recipe"] for row in rows] == ["better", "plain", "same", "worse"]
    assert [row["verdict"] for row in rows] == ["more", "reference", "no difference shown", "fewer"]
    assert float(rows[0]["tokens_per_step"]) == pytest.approx(360 / 88, abs=1e-3)
    assert float(rows[0]["against_first"]) == pytest.approx(138 / 88, abs=1e-3)
    assert float(rows[0]["acceptance_rate"]) == pytest.approx((360 - 88) / 440, abs=1e-3)
    assert (float(rows[0]["speedup"]), rows[1]["speedup"]) == (2.0, ""), "one is timed, the other is not"
    page = (tmp_path / "board.html").read_text()
    assert "no difference shown" in page and "1,234" in page and "lowest to highest" not in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page), "the page needs no other file"


def test_seeds_of_a_recipe_make_one_line_with_how_far_they_are_apart(tmp_path):
    recipes = {
        "plain": [made_up(tmp_path / "a", [20, 20]), made_up(tmp_path / "b", [30, 30])],
        "other": [made_up(tmp_path / "c", [15, 15]), made_up(tmp_path / "d", [10, 10])],
    }
    other, plain = board(tmp_path, recipes)
    assert (plain["recipe"], plain["seeds"]) == ("plain", "2")
    assert (float(plain["lowest_seed"]), float(plain["highest_seed"])) == (2.0, 3.0)
    assert float(other["against_first"]) == 2.0 and other["verdict"] == "too few questions"
    assert "lowest to highest of 2 seeds" in (tmp_path / "board.html").read_text()


def test_recipes_that_answered_other_questions_are_not_compared(tmp_path):
    recipes = {"plain": [made_up(tmp_path / "a", [20, 20])], "other": [made_up(tmp_path / "b", [15])]}
    with pytest.raises(RecordError, match="plain and other answered other questions"):
        board(tmp_path, recipes)


@pytest.fixture(scope="module")
def cell(tmp_path_factory) -> Path:
    """Return a folder with a tiny target, a draft cut from it, questions, and the target's made-up answers."""
    folder = tmp_path_factory.mktemp("cell")
    prune(build_model(folder / "target", layers=2), [0], folder / "draft")
    asked = [
        Question(id=f"q{n}", scenario="s", split="train", question=f"{n} * 4?", answer=str(4 * n), steps=["x"])
        for n in range(12)
    ]
    rows = [
        Generation(
            id=each.id,
            prompt_tokens=9,
            token_ids=[5, 6, 2],
            text=f"#### {4 * n + n % 2}",
            finish_reason="stop",
            batch=0,
            batch_seconds=1.0,
        )
        for n, each in enumerate(asked)
    ]
    write_records(folder / "questions.jsonl", asked)
    write_records(folder / "distilled.jsonl", rows)
    (folder / "prompt.yaml").write_text("system: Solve.\nshots: []\n")
    return folder


def test_a_recipe_learns_from_the_first_answers_and_from_right_ones_where_it_says_so(cell):
    rows, asked = read_records(cell / "distilled.jsonl", Generation), read_records(cell / "questions.jsonl", Question)

    def chosen(questions: int | None, keep: str) -> list[str]:
        return [row.id for row in choose(rows, asked, {"questions": questions, "keep": keep})]

    assert chosen(None, "finished") == [row.id for row in rows]
    assert chosen(3, "finished") == ["q0", "q1", "q2"]
    assert chosen(5, "right") == ["q0", "q2", "q4"]


@pytest.mark.slow
def test_tiny_drafts_are_trained_measured_and_compared(cell, tmp_path):
    recipes = {}
    for name, vocabulary in (("plain", None), ("small-vocabulary", 3)):
        folder = tmp_path / name
        settings = {key: value for key, value in SETTINGS.items() if key not in ("base", "start")}
        train_recipe(
            base=cell / "draft",
            target=cell / "target",
            distilled=cell / "distilled.jsonl",
            questions=cell / "questions.jsonl",
            prompt=cell / "prompt.yaml",
            out=folder / "adapter",
            loss_csv=folder / "loss.csv",
            checkpoints=folder / "checkpoints",
            minutes=0.01,
            learn_from={"questions": 8, "keep": "finished"},
            draft_vocabulary=vocabulary,
            **settings,
        )
        measure_recipe(
            target=cell / "target",
            base=cell / "draft",
            adapter=folder / "adapter",
            questions=cell / "questions.jsonl",
            checked=cell / "questions.jsonl",
            prompt=cell / "prompt.yaml",
            distilled=cell / "distilled.jsonl",
            out=folder / "measured.jsonl",
            dtype="float32",
            max_tokens=12,
            draft_length=3,
            draft_vocabulary=vocabulary,
            limit=4,
            timed=True,
        )
        recipes[name] = [(folder / "adapter", folder / "measured.jsonl")]
        assert sorted(path.name for path in folder.iterdir()) == ["adapter", "loss.csv", "measured.jsonl"]
    rows = board(tmp_path, recipes)
    assert {row["recipe"]: row["rows"] for row in rows} == {"plain": "8", "small-vocabulary": "8"}
    assert all(float(row["speedup"]) > 0 and float(row["tokens_per_step"]) >= 1 for row in rows)
