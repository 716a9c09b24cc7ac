"""The hypotheses are judged by what the rows say, with the n of the whole study, and what is missing is said."""

from pathlib import Path

import pytest

from doubledraft.files import write_json
from doubledraft.report import comparisons, hypotheses, paired_accuracy, tables
from doubledraft.report.hypotheses import CONTRADICTED, SUPPORTED, UNDECIDED
from tests.helpers import made_up

MARGIN = 0.05


def judged(folder: Path, cells: list[dict], margin: float = MARGIN) -> dict[str, hypotheses.Hypothesis]:
    """Judge a study of these cells; return the hypotheses by their first word."""
    rows = tables.read_rows([made_up.write_cell(folder, cell) for cell in cells], made_up.EXPECTED)
    gains = [comparisons.gain(*cells) for cells in comparisons.compared_cells(rows)]
    return {one.claim.split()[0]: one for one in hypotheses.judge(rows, gains, margin)}


def grid(change=lambda cell: None, scenarios=made_up.SCENARIOS) -> list[dict]:
    cells = [make for scenario in scenarios for make in (
        made_up.trained("cot", scenario), made_up.trained("cod", scenario), made_up.untrained(scenario)
    )]  # fmt: skip
    for cell in cells:
        change(cell)
    return cells


def right(cell: dict, count: int, run: str = "baseline") -> None:
    accuracy = cell[run]["accuracy"]
    accuracy["strict"] = accuracy["lenient"] = made_up.share(count)


def test_a_grid_that_gains_by_training_and_loses_nothing_supports_what_it_can(tmp_path):
    found = judged(tmp_path, grid())
    assert (found["Training"].verdict, found["Speculation"].verdict) == (SUPPORTED, SUPPORTED)
    assert "it rises significantly in 6 and falls significantly in 0" in found["Training"].figures[0]
    assert "Equality within 5 points is shown (p < 0.001)" in found["Speculation"].figures[1]
    assert found["Chain"].verdict == UNDECIDED, "54, 45, 33 right against 55, 43, 30: a loss of 5 points may be"


def test_one_cell_cannot_show_equality_and_says_how_many_answers_it_takes(tmp_path):
    one = judged(tmp_path, [made_up.trained("cod", "hard")], margin=0.04)
    assert one["Speculation"].verdict == UNDECIDED
    assert "60 answers are too few: even if none differed, it would need 65" in one["Speculation"].figures[1]
    assert "needs a trained and an untrained cell" in one["Training"].figures[0]
    assert "needs a CoT cell and a cell of a shorter type" in one["Chain"].figures[0]


def test_a_part_of_the_grid_is_judged_and_the_cells_that_are_left_out_are_named(tmp_path):
    whole = grid()
    found = judged(tmp_path, [cell for cell in whole if cell["cell"] not in ("untrained_easy", "cot_hard")])
    assert found["Training"].figures[-1].endswith("an untrained cell: cot_easy and cod_easy.")
    assert found["Chain"].figures[-1].endswith("measured alike: cod_hard.")


def test_training_that_makes_answers_worse_contradicts(tmp_path):
    found = judged(tmp_path, grid(lambda cell: right(cell, 1) if cell["type"] != "untrained" else None))
    assert found["Training"].verdict == CONTRADICTED


def test_a_draft_that_slows_down_or_changes_answers_contradicts(tmp_path):
    def slower(cell):
        if cell["type"] != "untrained":
            cell["speedup"] |= {"value": 0.9, "low": 0.85, "high": 0.95, "n": 8}

    def changed(cell):
        if cell["type"] != "untrained":
            right(cell, 20, "speculative")

    for place, change in enumerate((slower, changed)):
        found = judged(tmp_path / str(place), grid(change))["Speculation"]
        assert found.verdict == CONTRADICTED, change


def test_a_cell_on_a_machine_that_was_not_steady_has_no_say_in_the_time(tmp_path):
    def unsteady(cell):
        if cell["cell"] == "cod_easy":
            cell["timing"]["steady"] = False
            cell["speedup"] |= {"value": 9.0, "low": 8.0, "high": 10.1, "n": 8}

    found = judged(tmp_path, grid(unsteady))["Speculation"]
    assert "Left out, as the machine was not steady: cod_easy." in found.figures[0]
    assert "geometric mean of 5 cells" in found.figures[0]


def test_drafts_that_keep_the_accuracy_are_supported_and_costly_ones_contradicted(tmp_path):
    def equal(cell):
        if cell["type"] != "untrained":
            right(cell, 45)

    def costly(cell):
        if cell["type"] == "cod":
            right(cell, 10)

    assert judged(tmp_path / "a", grid(equal))["Chain"].verdict == SUPPORTED
    assert judged(tmp_path / "b", grid(costly))["Chain"].verdict == CONTRADICTED


def test_a_cell_that_goes_against_the_whole_is_named(tmp_path):
    def worse(cell):
        if cell["cell"] == "cod_hard":
            right(cell, 0)
        if cell["cell"] == "untrained_hard":
            for run in cell["prompts"].values():
                run["accuracy"]["lenient"] = made_up.share(20)

    found = judged(tmp_path, grid(worse))["Training"]
    assert found.verdict == SUPPORTED and "the change is significant on cod_hard" in found.figures[-1]


def test_answers_that_are_not_recorded_are_not_judged(tmp_path):
    paths = [made_up.write_cell(tmp_path, cell) for cell in grid()]
    for path in paths:
        path.with_name("samples.csv").unlink()
    rows = tables.read_rows(paths, made_up.EXPECTED)
    gains = [comparisons.gain(*cells) for cells in comparisons.compared_cells(rows)]
    assert {one.verdict for one in hypotheses.judge(rows, gains, MARGIN)} == {UNDECIDED}


def pair(changes: list[int], questions: int, scenario: str = "easy") -> paired_accuracy.PairedAccuracy:
    return paired_accuracy.PairedAccuracy(cell="cod", what="", scenario=scenario, changes=changes, questions=questions)


def test_answers_to_one_question_are_no_independent_units():
    once = pair([1, 0, -1, 0, 1, 1], 6)
    twice = pair(once.changes * 2, 6)
    assert (twice.difference.low, twice.difference.high) == pytest.approx((once.difference.low, once.difference.high))
    both = paired_accuracy.pooled([once, pair(once.changes, 6)], MARGIN)
    apart = paired_accuracy.pooled([once, pair(once.changes, 6, "hard")], MARGIN)
    assert both.difference.low == pytest.approx(once.difference.low)
    assert apart.difference.low > both.difference.low


def test_how_drafts_differ_is_paired_by_question_and_speedups_by_block(tmp_path):
    paths = [made_up.write_cell(tmp_path, made_up.trained(type, "easy")) for type in ("cot", "cod")]
    for path, drafted in zip(paths, (2.0, 2.5), strict=True):
        turns = [
            {"block": block, "arm": arm, "seconds": [(1 + block) * took], "tokens": [3]}
            for block in range(4)
            for arm, took in (("baseline", 3.0), ("speculative", drafted), ("control", 3.0))
        ]
        made = {"residency": "both", "peak_memory_gib": 3.0, "provenance": made_up.MADE}
        write_json(path.with_name("timing.json"), made | {"attempts": [{"turns": turns}]})
    ((cot, cod),) = comparisons.compared_cells(tables.read_rows(paths, made_up.EXPECTED))
    change = comparisons.draft_change(cot, cod)
    assert change.acceptance_change.value == pytest.approx(0.1) and change.acceptance_rates() == pytest.approx(
        (0.62, 0.72)
    )
    assert change.speedup.value == pytest.approx(0.8) and change.speedup.high == pytest.approx(0.8)
    published = [{"type": type, "acceptance_rate": 0.7} for type in ("cot", "cod")]
    said = hypotheses.drafts_sentence(comparisons.over_all([change]), published)
    assert "accepted more often" in said and "72 % against 62 %" in said and "0.80 (0.80–0.80, n 4) times" in said


def test_cells_are_served_with_or_without_their_draft_by_their_measured_times(tmp_path):
    fast, slow, unsteady = (made_up.trained("cod", scenario) for scenario in made_up.SCENARIOS)
    slow["speedup"] |= {"value": 0.8, "low": 0.7, "high": 0.9, "verify_cost": 2.0, "draft_cost": 0.5}
    slow["speculation"]["tokens_per_step"] |= {"value": 2.8}
    unsteady["timing"]["steady"] = False
    rows = tables.read_rows([made_up.write_cell(tmp_path, cell) for cell in (fast, slow, unsteady)], made_up.EXPECTED)
    (said,) = hypotheses.serving(rows)
    costs = "a step with the draft costs 3.50 plain ones and emits 2.80 tokens"  # K = 3: 2 + 3 * 0.5
    assert said.endswith(f"wall times, serve cod_easy with the draft; serve cod_medium ({costs}) without the draft.")
    assert hypotheses.serving(rows[2:]) == []
