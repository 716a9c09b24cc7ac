"""What a result depends on: its part of the config, and no more."""

import pytest

from doubledraft.provenance import config_hash
from doubledraft.workflow import settings
from doubledraft.workflow.config import StudyError
from tests.helpers.default_config import CONFIG, DEFAULT, PAID, changed, paid

PROMPTS = settings.prompt_digests(DEFAULT, CONFIG.parent)


def test_settings_of_a_cell_hold_what_it_depends_on_and_no_more():
    cell = settings.cell_settings(DEFAULT, "cod", "hard", PROMPTS)
    assert [part["model"] for part in cell["draft"]] == ["smollm2-135m-4l", "smollm2-135m"]
    assert cell["benchmark"]["draft_length"] == DEFAULT["benchmark"]["draft_length"]
    assert "report_to" not in cell["train"] and "easy" not in str(cell)
    untrained = settings.cell_settings(DEFAULT, "untrained", "hard", PROMPTS)
    assert "draft_length" not in untrained["benchmark"] and "train" not in untrained


def test_settings_of_a_cell_without_a_draft_model_hold_nothing_of_one():
    cell = settings.cell_settings(changed("benchmark/method", "ngram"), "cod", "hard", PROMPTS)
    assert not {"draft", "distill"} & cell.keys() and "draft" not in cell["train"]
    assert "target" in cell["train"]


@pytest.mark.parametrize(
    ("change", "drafting"),
    [
        ({}, {"draft_vocabulary": 1024, "int8_draft": True}),
        ({"engine": "vllm", "draft_vocabulary": None}, {}),
        ({"method": "ngram"}, {}),
    ],
)
def test_what_the_native_engine_does_with_a_draft_model_is_asked_of_no_other(change, drafting):
    config = changed("benchmark", DEFAULT["benchmark"] | change)
    assert settings.native_drafting(config) == drafting


def test_another_text_of_a_prompt_gives_its_cells_another_hash_and_no_other(tmp_path):
    (tmp_path / "config/prompts").mkdir(parents=True)
    for name in ("cot", "cod"):
        (tmp_path / f"config/prompts/{name}.yaml").write_text("system: Think.\n")
    before = settings.prompt_digests(DEFAULT, tmp_path)
    (tmp_path / "config/prompts/cod.yaml").write_text("system: Draft.\n")
    after = settings.prompt_digests(DEFAULT, tmp_path)

    def changes(type: str) -> bool:
        one, other = (
            config_hash(settings.cell_settings(DEFAULT, type, "hard", digests)) for digests in (before, after)
        )
        return one != other

    assert changes("cod") and changes("untrained") and not changes("cot")


def test_prompt_file_that_is_not_there_is_named_by_its_key(tmp_path):
    with pytest.raises(StudyError, match=r"types\.cot\.prompt is 'config/prompts/cot\.yaml'.*No such file"):
        settings.prompt_digests(DEFAULT, tmp_path)


def test_cells_depend_on_what_makes_the_traces_and_not_on_limits():
    def hash_of(config: dict, type: str = "cod") -> str:
        return config_hash(settings.cell_settings(config, type, "hard", settings.prompt_digests(config, CONFIG.parent)))

    assert hash_of(paid()) == hash_of(paid(budget=9, min_yield=0, concurrency=1, price={"input": 0, "output": 0}))
    assert hash_of(paid()) != hash_of(paid(model="other"))
    cell = settings.cell_settings(paid(), "cod", "hard", settings.prompt_digests(paid(), CONFIG.parent))
    assert {"solve_sha256", "condense_sha256"} < cell["teacher"].keys() and "budget" not in cell["teacher"]
    cell = settings.cell_settings(paid(), "cot", "hard", settings.prompt_digests(paid(), CONFIG.parent))
    assert "condense_sha256" not in cell["teacher"]


def test_a_prompt_of_the_teacher_that_is_not_there_is_named_by_its_key():
    config = paid(prompts=PAID["prompts"] | {"condense": "config/prompts/nope.yaml"})
    with pytest.raises(StudyError, match=r"teacher\.prompts\.condense is 'config/prompts/nope\.yaml'"):
        settings.prompt_digests(config, CONFIG.parent)
