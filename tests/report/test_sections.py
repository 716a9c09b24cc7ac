"""Each section is on both pages where there is something to show, with its figures, and warns where it has to."""

import csv
from dataclasses import asdict
from pathlib import Path

import pytest

from doubledraft.evaluation.cross_check import failed_path
from doubledraft.files import write_json
from doubledraft.report import tables
from doubledraft.report.sections import speed
from doubledraft.stats import wilson
from doubledraft.summaries.cross_check import (
    AnswerDifference,
    CheckedEngine,
    CrossCheck,
    EngineAgreement,
)
from doubledraft.summaries.provenance import recorded
from tests.helpers import made_up
from tests.helpers.build_report import build


def check() -> dict:
    """Return a comparison in which one engine has a bug."""
    bug = AnswerDifference(id="q1", position=2, expected=7, found=4, top2_gap=2.5, verdict="bug")
    engines = {
        name: CheckedEngine(emitted=70, steps=30, tokens_per_step=70 / 30, identical_rate=wilson(12 - len(found), 12),
                            differences=found)
        for name, found in (("native 0.1.0", [bug]), ("vllm 0.32.0", []))
    }  # fmt: skip
    agreement = EngineAgreement(definition="made up", spread=0.0, tolerance=0.02, agree=True)
    return asdict(
        CrossCheck(
            identical=False, ties=0, bugs=1, tokens_per_step=agreement, engines=engines, n=12, settings={},
            provenance=recorded(),
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> list[str]:
    """Return the text of both pages of a study in which there is everything to show."""
    folder = tmp_path_factory.mktemp("everything")
    changed = made_up.trained("cod", "hard")
    changed["speedup"] |= {"value": 1.2, "low": 1.15, "high": 1.25, "predicted": 1.5, "n": 8}
    changed["lossless"] |= {"bugs": 1, "first_difference": {"median": 9.0, "min": 4}}
    changed["cost"]["baseline"] |= {"joules": 12.5, "energy_source": "RAPL package-0", "energy_reason": None}
    paths = [*made_up.write_grid(folder, ["cot_hard", "untrained_hard"]), made_up.write_cell(folder, changed)]
    beside = paths[-1].parent
    write_json(beside / "distilled_run.json", made_up.run_file() | {"kept": 232, "dropped": {"wrong answer": 168}})
    write_json(failed_path(beside / "cross_check.json"), check())
    with open(folder / "acceptance_matrix.csv", "w", newline="") as file:
        lines = [["target", "draft", "n", "agreement", "agreement_low", "agreement_high"]]
        csv.writer(file).writerows(
            [*lines, ["cod_hard", "cod_hard", 60, 0.8, 0.75, 0.85], ["cod_hard", "a", 60, 0.5, 0.4, 0.6]]
        )
    out = build(
        folder,
        paths,
        ["cot_hard", "cod_hard", "untrained_hard"],
        distilled=[beside / "distilled_run.json"],
        checks=[failed_path(beside / "cross_check.json")],
        matrix=[folder / "acceptance_matrix.csv"],
        links={"cod_hard: decodings": beside / "viewer & more.html"},
        price=3.6,
    )
    return [" ".join((out / name).read_text().split()) for name in ("report.html", "report.md")]


@pytest.mark.parametrize(
    "texts",
    [
        ("wrong answer: 168", "232", "58 %"),  # distilled rows
        ("1 answers are bugs", "native 0.1.0", "2.333"),  # the cross check
        ("The measured speedup differs from the prediction: c", ", predicted 1.50"),
        ("first differ at a gap above 0.25", "median 9", "earliest 4"),
        ("RAPL package-0", "12.5", "No joules: RAPL: no counter"),
        ("Every target with every draft", "80 %", "75–85, n 60", "50 %"),
        ("../cod_hard/viewer%20%26%20more.html",),
        ("9cb1f6285766", "speedup, theirs", "order-independent agreement"),
    ],
)
def test_a_section_shows_its_figures_on_both_pages(pages, texts):
    for page in pages:
        assert all(text in page for text in texts), [text for text in texts if text not in page]


def test_a_second_costs_the_price_of_an_hour_over_3600(tmp_path):
    path = made_up.write_cell(tmp_path, made_up.trained("cod", "easy"))
    (row,) = tables.read_rows([path], made_up.EXPECTED)
    seconds = row.metrics.cost["baseline"].seconds.value
    page = (build(tmp_path, [path], price=36.0) / "report.md").read_text()
    assert f"| {seconds:.2f} " in page and f"| {seconds / 100:.2g} (" in page


def test_a_prediction_differs_only_outside_the_interval_and_by_a_tenth(tmp_path):
    def differs(**changes: float) -> bool:
        cell = made_up.trained("cod", "easy")
        cell["speedup"] |= {"value": 1.3, "low": 1.28, "high": 1.32} | changes
        (row,) = tables.read_rows([made_up.write_cell(Path(tmp_path), cell)], made_up.EXPECTED)
        return speed._disagrees(row)

    assert not differs(predicted=1.31) and not differs(predicted=1.4)
    assert differs(predicted=1.5) and differs(predicted=1.1)
    assert not differs(predicted=1.5, high=1.6) and not differs(predicted=None)
