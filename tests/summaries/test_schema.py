"""The JSON schemas in docs/schemas/ are those of the dataclasses, and describe the files."""

from pathlib import Path

import jsonschema
import pytest

from doubledraft.summaries import schema
from tests.helpers import made_up

FOLDER = Path(__file__).parents[2] / "docs/schemas"
AGAIN = "python -c \"from doubledraft.summaries import schema; schema.write_all('docs/schemas')\""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Return a folder with the schemas as they are made now."""
    folder = tmp_path_factory.mktemp("schemas")
    schema.write_all(str(folder))
    return folder


@pytest.mark.parametrize("name", schema.FILES)
def test_the_schema_in_the_docs_is_made_from_the_dataclass(name, made):
    file = f"{name.removesuffix('.json')}.schema.json"
    assert (FOLDER / file).read_text() == (made / file).read_text(), f"make it again: {AGAIN}"


def test_the_comment_beside_a_field_is_its_description_inherited_ones_too():
    found = schema.schema(schema.FILES["metrics.json"])
    assert found["properties"]["questions_hash"]["description"] == "equal where two cells answered the same questions"
    assert found["$defs"]["Speedup"]["properties"]["n"]["description"].startswith("units behind the value")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("metrics.json", made_up.trained("cod", "easy")),
        ("metrics.json", made_up.untrained("hard")),
        ("run.json", made_up.run_file()),
    ],
)
def test_a_file_is_valid_by_its_schema_and_a_misspelt_field_is_not(name, values):
    described = schema.schema(schema.FILES[name])
    jsonschema.Draft202012Validator.check_schema(described)
    check = jsonschema.Draft202012Validator(described)
    assert check.is_valid(values)
    assert ["misspelt" in error.message for error in check.iter_errors(values | {"misspelt": 1})] == [True]
