"""A card says what was measured, with what it takes to read it, and nothing else.

All metrics here are made up (tests/helpers/made_up.py).
"""

import hashlib
import json
import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from doubledraft.files import write_json
from doubledraft.report import card
from doubledraft.report.card import CardError
from tests.helpers import made_up
from tests.helpers.commands import run


def written(adapter: Path, **options: object) -> str:
    """Write the card of an adapter and return its text."""
    out = adapter.with_name("card.md")
    card.write(adapter, adapter.with_name("metrics.json"), out, **options)
    return out.read_text()


def change(path: Path, *keys: str, value: object) -> None:
    """Set one value of a JSON file."""
    whole = json.loads(path.read_text())
    place = whole
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    write_json(path, whole)


def test_every_quantity_has_its_interval_n_and_definition_and_the_page_engine_and_hardware(tmp_path):
    adapter = made_up.measured_draft(tmp_path)
    page = written(adapter)
    assert (
        "| acceptance rate | 72 % (68–76, n 60) | accepted / drafted tokens, counted up to the first rejection" in page
    )
    assert "accepted/drafted, prefix count, vllm 0.32.0" in page
    assert "vllm 0.32.0 in bfloat16, K = 3 drafted tokens" in page and "Made-up CPU, 2 cores, no GPU" in page
    rows = re.findall(r"^\| (?!quantity|---)(.*) \|$", page, re.MULTILINE)
    assert len(rows) == len(card.DEFINITIONS)
    for row in rows:
        name, value, definition = row.split(" | ")
        assert re.fullmatch(r".+ \(.+–.+, n 60\)", value) and definition, name


def test_the_hub_reads_the_metadata_with_the_same_numbers(tmp_path):
    adapter = made_up.measured_draft(tmp_path)
    data = ModelCard(written(adapter, license="apache-2.0")).data
    assert (data.base_model, data.library_name, data.license) == ("org/small", "peft", "apache-2.0")
    speculation = made_up.trained("cod", "easy")["speculation"]
    found = {result.metric_type: result for result in data.eval_results}
    assert found["acceptance_rate"].metric_value == speculation["acceptance_rate"]["value"]
    assert found["tokens_per_step"].metric_value == speculation["tokens_per_step"]["value"]
    for result in data.eval_results:
        for part in ("n 60", "95 % interval", "vllm 0.32.0", "Made-up CPU"):
            assert part in result.metric_name, result.metric_type


def test_what_nobody_said_is_not_on_the_card(tmp_path):
    base = {"model": "cut", "source": "prune", "of": "big", "layers": [0, 3]}
    page = written(made_up.measured_draft(tmp_path, base=base))
    assert "license" not in page and "base_model:" not in page
    assert "cut, layers 0, 3 of big" in page
    path = {"model": "mine", "source": "path", "path": "/home/someone/secret-project"}
    assert "secret-project" not in written(made_up.measured_draft(tmp_path / "path", base=path))


def test_a_null_quantity_is_named_as_not_measured_and_never_written(tmp_path):
    adapter = made_up.measured_draft(tmp_path)
    change(adapter.with_name("metrics.json"), "lossless", "identical_rate", value=None)
    change(adapter.with_name("metrics.json"), "speculation", "acceptance_rate", value=None)
    page = written(adapter)
    assert "Not measured: acceptance rate; same tokens." in page
    assert "| same tokens" not in page and "None" not in page and "acceptance_rate" not in page


def test_a_card_names_all_that_is_null(tmp_path):
    adapter = made_up.measured_draft(tmp_path)
    metrics = adapter.with_name("metrics.json")
    for mode in ("baseline", "speculative"):
        change(metrics, mode, "accuracy", "strict", value=None)
    change(metrics, "speculative", "tokens", "mean", value=None)
    change(metrics, "lossless", "identical_rate", value=None)
    for name in ("acceptance_rate", "tokens_per_step"):
        change(metrics, "speculation", name, value=None)
    change(metrics, "speedup", value=None)
    page = written(adapter)
    named = "; ".join(name for name in card.DEFINITIONS if name != "cut at the cap")
    assert f"Not measured: {named}." in page and "| cut at the cap | 0 %" in page
    assert "The cost model predicts" not in page


@pytest.mark.parametrize("name", ["metrics.json", "draft_adapter/training.json"])
def test_no_card_without_the_files_that_it_is_made_from(tmp_path, name):
    adapter = made_up.measured_draft(tmp_path)
    (adapter.parent / name).unlink()
    with pytest.raises(CardError, match=rf"{name} is missing, and a card cannot be written without it"):
        written(adapter)
    assert not adapter.with_name("card.md").exists()


def test_a_card_without_the_distilled_set_says_nothing_of_it(tmp_path):
    adapter = made_up.measured_draft(tmp_path)
    kept = "Of 400 answers of the target, it was trained on the 232 that were finished and right"
    assert f"{kept}, except 16 that were held out to choose the checkpoint." in written(adapter)
    adapter.with_name("distilled_run.json").unlink()
    assert "answers of the target" not in written(adapter)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (("settings", "rank"), 8, "measured with rank = 4, but .* was trained with 8"),
        (("settings", "seed"), 18, "measured with seed = 17"),
        (("settings", "base"), "data/models/other", "measured with base = 'small', but .* trained with 'other'"),
    ],
)
def test_metrics_of_another_adapter_are_refused(tmp_path, key, value, message):
    adapter = made_up.measured_draft(tmp_path)
    change(adapter / "training.json", *key, value=value)
    with pytest.raises(CardError, match=rf"metrics\.json: {message}.*benchmark the cell again"):
        written(adapter)


def test_metrics_of_an_adapter_of_another_digest_are_refused_and_the_card_names_its_own(tmp_path):
    adapter = made_up.measured_draft(tmp_path)
    weights = adapter / "adapter_model.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert f"sha256\n`{digest}`" in written(adapter)
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1  # the same settings and the same time, as another cell of a study has them
    weights.write_bytes(content)
    with pytest.raises(CardError, match=rf"metrics\.json: measured with the adapter {digest}, but .* has sha256 "):
        written(adapter)


def test_metrics_without_a_draft_model_are_refused(tmp_path):
    adapter = made_up.measured_draft(tmp_path, provenance=made_up.provenance(settings={"seed": 17}))
    with pytest.raises(CardError, match="no draft model was measured"):
        written(adapter)


def test_text_of_files_stays_text_on_the_card(tmp_path):
    hostile = "<img src=x onerror=alert(1)>|[a](http://evil.example)\x1b[31m"
    adapter = made_up.measured_draft(tmp_path, scenario=hostile, cell=hostile)
    page = written(adapter).split("---\n", 2)[2]
    assert "<img" not in page and "[a](http" not in page and "\x1b" not in page
    ModelCard(written(adapter))  # the metadata is YAML still


def test_the_command_writes_beside_the_adapter_and_says_where(tmp_path, capsys):
    adapter = made_up.measured_draft(tmp_path)
    status, out, _ = run(capsys, "card", adapter)
    assert (status, out) == (0, f"{tmp_path / 'cod_easy/draft_adapter.md'}\n")
    assert (tmp_path / "cod_easy/draft_adapter.md").read_text().startswith("---\n")
    status, _, err = run(capsys, "card", adapter, "--card", tmp_path)
    assert status == 2 and err == f"doubledraft card: --card {tmp_path}: this is a folder: name a file\n"
    adapter.with_name("metrics.json").unlink()
    status, _, err = run(capsys, "card", adapter)
    assert status == 2 and "metrics.json is missing" in err and err.count("\n") == 1


def test_a_draft_that_was_trained_whole_and_slows_its_target_is_called_so(tmp_path):
    adapter = made_up.measured_draft(tmp_path)
    for path, change in (
        (adapter / "training.json", lambda one: one["settings"].update(update="full")),
        (
            adapter.parent / "metrics.json",
            lambda one: one["provenance"]["settings"]["train"]["draft"].update(update="full"),
        ),
        (adapter.parent / "metrics.json", lambda one: one["speedup"].update(value=0.8, low=0.7, high=0.9)),
    ):
        found = json.loads(path.read_text())
        change(found)
        path.write_text(json.dumps(found))
    page = written(adapter)
    assert "fully trained draft" in page and "Rank" not in page and "- lora" not in page
    assert "slower with this draft than alone" in page
