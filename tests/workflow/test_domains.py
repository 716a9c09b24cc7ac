"""The section `domains` of a config: keys that go together, and paths that name a domain."""

import pytest

from doubledraft.workflow import config as study
from tests.helpers.default_config import SCHEMA, changed

COUNTS = {"train": 8, "validation": 2, "test": 2}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "domains/sets/mail",
            {"source": "jsonl", **COUNTS},
            "domains.sets.mail.path is missing: source jsonl needs it",
        ),
        ("domains/sets/code/path", "x.jsonl", "domains.sets.code.path is not used by source stdlib: remove it"),
        ("domains/sets/code/source", "hub", "domains.sets.code.name is missing: source hub needs it"),
        ("domains/sets/generic", {"source": "stdlib", **COUNTS}, "'generic' has another meaning on the page"),
        ("domains/sets/more", {"source": "stdlib", **COUNTS}, "same source as code"),
        ("domains/routers/hedge", {"kind": "knn", "features": "hidden"}, "'hedge' for another way to choose"),
        ("domains/routers", dict.fromkeys(("centroid", "knn", "mlp")), "domains.routers is empty: expected a router"),
        ("domains/sets/chat/train", 7, "chat.train is 7: expected at least twice domains.train.held_out, 8"),
        ("domains/train/start", "merged", "the target of domains is not trained: expected base"),
        ("domains/routers/mlp/features", "embedding", "domains.embedding is null: expected the name of a sentence"),
        ("domains/routers/mlp/kind", "forest", "domains.routers.mlp.kind is 'forest': expected one of centroid or knn"),
        ("domains/draft_length", 17, "domains.draft_length is 17: expected at most 16"),
    ],
)
def test_a_section_that_cannot_be_is_refused_by_its_key(path, value, message):
    with pytest.raises(study.StudyError, match="config key ") as error:
        study.check_config(changed(path, value), SCHEMA)
    assert message in str(error.value)


def test_a_domain_and_a_router_that_are_null_are_left_out():
    config = study.check_config(changed("domains/sets/chat", None) | {}, SCHEMA)
    assert list(config["domains"]["sets"]) == ["code", "reasoning"]
    assert "knn" not in study.check_config(changed("domains/routers/knn", None), SCHEMA)["domains"]["routers"]


@pytest.mark.parametrize("path", ["results/domains/{}/best", "data/domains/{}/train.jsonl"])
def test_a_path_with_a_domain_that_is_not_there_names_those_that_are(path):
    config = study.check_config(changed("seed", 1), SCHEMA)
    study.check_target(path.format("code"), config)
    study.check_target("results/domains/generic/best", config)
    with pytest.raises(study.StudyError, match="domains.sets has no 'nope': expected one of code, chat, reasoning"):
        study.check_target(path.format("nope"), config)


def test_a_page_on_no_domain_or_no_recipe_is_refused_before_anything_runs():
    without = study.check_config(changed("domains/sets", dict.fromkeys(("code", "chat", "reasoning"))), SCHEMA)
    for path, key in (
        ("results/routing/report.html", "domains.sets is empty: expected a domain"),
        ("results/drafts/cod_hard/leaderboard.html", "drafts.recipes is empty: add --configfile config/drafts.yaml"),
    ):
        with pytest.raises(study.StudyError, match=f"^{path}: config key {key}"):
            study.check_target(path, without)
