"""Result files come back as they went, or are refused with the file and the field."""

import json
from dataclasses import asdict, dataclass, replace

import pytest

from doubledraft.files import write_json
from doubledraft.records import RecordError, from_json
from doubledraft.stats import Interval
from doubledraft.summaries import json_file
from doubledraft.summaries.cell_metrics import CellMetrics
from doubledraft.summaries.provenance import of_cell, recorded
from doubledraft.summaries.run_file import RunFile
from tests.helpers import made_up


@dataclass(frozen=True)
class Inner:
    size: int
    rate: float | None = None


@dataclass(frozen=True)
class Outer:
    name: str
    one: Inner | None
    many: list[Inner | None]
    named: dict[str, Inner]
    free: dict[str, object]
    shares: Interval | None = None


GOOD = Outer(
    "a", Inner(1), [Inner(2, 0.5), None], {"x": Inner(3)}, {"any": [1, {"b": None}]}, Interval(1, None, 2.5, 3)
)


def test_a_summary_comes_back_as_it_went(tmp_path):
    json_file.write(tmp_path / "file.json", GOOD)
    assert json_file.read(tmp_path / "file.json", Outer) == GOOD


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 3}, "field 'name' should be str, found 3"),
        ({"extra": 3}, "Outer has no field 'extra'; it has name, one, many, named, free, shares"),
        ({"one": {"size": True}}, "field 'one.size' should be int, found True"),
        ({"one": {}}, "field 'one.size' of Inner is missing"),
        ({"one": [1]}, "field 'one' should be an object"),
        ({"many": [{"size": 1}, {"size": 1, "rat": 2}]}, r"Inner has no field 'many\[1\].rat'"),
        ({"many": None}, "field 'many' should be list"),
        ({"named": {"x": {"size": 1.5}}}, "field 'named.x.size' should be int, found 1.5"),
        ({"free": []}, "field 'free' should be dict"),
        ({"shares": {"value": "1", "low": None, "high": None, "n": 1}}, "field 'shares.value' should be float"),
    ],
)
def test_what_does_not_fit_is_refused_with_file_and_field(tmp_path, change, message):
    write_json(tmp_path / "file.json", asdict(GOOD) | change)
    with pytest.raises(RecordError, match=rf"file\.json: {message}"):
        json_file.read(tmp_path / "file.json", Outer)


def test_a_field_with_a_default_may_be_missing_and_no_other(tmp_path):
    values = asdict(GOOD)
    del values["shares"]
    write_json(tmp_path / "file.json", values)
    assert json_file.read(tmp_path / "file.json", Outer) == replace(GOOD, shares=None)
    del values["free"]
    write_json(tmp_path / "file.json", values)
    with pytest.raises(RecordError, match="field 'free' of Outer is missing"):
        json_file.read(tmp_path / "file.json", Outer)


@pytest.mark.parametrize("text", ["", "{", '{"name": "a", "name": "b"}', '{"name": NaN}', "[1]"])
def test_what_is_no_object_is_refused_with_the_file(tmp_path, text):
    (tmp_path / "file.json").write_text(text)
    with pytest.raises(RecordError, match=r"file\.json: "):
        json_file.read(tmp_path / "file.json", Outer)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (made_up.trained("cod", "easy"), CellMetrics),
        (made_up.untrained("hard"), CellMetrics),
        (made_up.run_file(), RunFile),
    ],
)
def test_every_value_of_a_file_survives_reading_and_writing(tmp_path, values, kind):
    json_file.write(tmp_path / "file.json", from_json(values, kind, "made up"))
    again = json.loads((tmp_path / "file.json").read_text())
    assert {key: again[key] for key in values if key != "provenance"} == {
        key: value
        for key, value in values.items()
        if key != "provenance"  # which gains nulls
    }


def test_provenance_of_a_cell_is_that_of_its_first_run():
    here = recorded({"seed": 3})
    cell = of_cell(replace(here, time="2026-01-01T00:00:00+00:00"), scored=here, runs=[])
    assert (cell.time, cell.seed, cell.hardware, cell.scored) == ("2026-01-01T00:00:00+00:00", 3, here.hardware, here)
