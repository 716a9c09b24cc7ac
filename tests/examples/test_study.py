"""The notebook runs from a clone on a study's results. All metrics here are made up (tests/helpers/made_up.py)."""

import ast
import json
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers import made_up

NOTEBOOK = Path(__file__).parents[2] / "examples" / "study.ipynb"
COLUMNS = "id,baseline_strict_verdict,baseline_tokens,baseline_latency,speculative_latency,identical"


def values(folder: Path, monkeypatch) -> tuple[dict[str, object], list[object]]:
    """Run the notebook's cells in a folder, as Jupyter does; return the names they define and the value each shows."""
    monkeypatch.chdir(folder)
    names, shown = {}, []
    for cell in json.loads(NOTEBOOK.read_text())["cells"]:
        if cell["cell_type"] == "code":
            *body, last = ast.parse("".join(cell["source"])).body
            shows = isinstance(last, ast.Expr)
            exec(compile(ast.Module(body if shows else [*body, last], []), "cell", "exec"), names)
            shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names) if shows else None)
    return names, shown


@pytest.fixture
def study(tmp_path) -> Path:
    """Return a clone in which two cells, one untrained among them, were measured."""
    for metrics in (made_up.trained("cod", "easy"), made_up.trained("cot", "easy"), made_up.untrained("easy")):
        made_up.write_cell(tmp_path / "results", metrics, generations=False)
    for cell in ("cod_easy", "cot_easy"):
        rows = [f"q{number},equal,{20 + number},{0.2 + number / 10},0.1,{number != 3}" for number in range(9)]
        (tmp_path / "results" / cell / "samples.csv").write_text("\n".join([COLUMNS, *rows]) + "\n")
    return tmp_path


def test_it_is_a_notebook_without_outputs():
    notebook = json.loads(NOTEBOOK.read_text())
    assert notebook["nbformat"] == 4 and notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook["cells"])


def test_its_tables_are_those_of_the_results(study, monkeypatch):
    names, shown = values(study, monkeypatch)
    said, gains, by_cell, by_length = shown
    assert said == "3 cells measured, 2 of them with a draft"
    assert set(names["cells"]) == {"cod_easy", "cot_easy", "untrained_easy"}
    speedup = made_up.trained("cod", "easy")["speedup"]
    assert gains.loc["cod_easy", "speedup"].startswith(f"{speedup['value']:.2f} (")
    assert by_cell.loc["cod_easy", "questions"] == 9 and by_cell.loc["cod_easy", "identical"] == pytest.approx(8 / 9)
    assert isinstance(by_length, pd.DataFrame) and by_length["count"].sum() == 18


def test_it_runs_from_its_own_folder_too(study, monkeypatch):
    (study / "examples").mkdir()
    names, _ = values(study / "examples", monkeypatch)
    assert names["root"] == study
