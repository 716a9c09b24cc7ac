"""Routers learn which draft is best from features, and a saved one chooses as before."""

import numpy as np
import pytest

from doubledraft.records import RecordError
from doubledraft.routing.router import CONFIG, FIT, WEIGHTS, fit, load
from doubledraft.summaries.router_file import RouterFile

DRAFTS = ["code", "chat", "never", "reasoning"]
BEST = np.array([0, 1, 3] * 20)


def facts(kind: str) -> RouterFile:
    """Return the description of a router."""
    return RouterFile(name=kind, kind=kind, features="hidden", drafts=DRAFTS, seed=5, embedding=None)


@pytest.fixture(scope="module")
def seen():
    """Return features in which the best draft shows, and the advantages."""
    draw = np.random.default_rng(1)
    advantage = 0.1 * np.eye(4)[BEST] + draw.normal(size=(60, 4)) * 0.01
    return 2 * np.eye(16)[BEST] + draw.normal(size=(60, 16)) * 0.5 + 7, advantage - advantage.mean(1, keepdims=True)


@pytest.mark.parametrize("kind", FIT)
def test_a_router_finds_the_best_draft_of_prompts_it_has_not_seen(kind, seen):
    features, advantage = seen
    router = fit(facts(kind), features[:45], advantage[:45])
    assert (router.scores(features[45:]).argmax(1) == BEST[45:]).mean() >= 0.9


@pytest.mark.parametrize("kind", FIT)
def test_a_draft_that_was_never_best_is_never_chosen_and_shifts_no_other(kind, seen):
    router = fit(facts(kind), *seen)
    assert set(router.scores(seen[0]).argmax(1)) == {0, 1, 3}


@pytest.mark.parametrize("kind", FIT)
def test_a_saved_router_has_the_same_scores_and_no_pickle(kind, seen, tmp_path):
    router = fit(facts(kind), *seen)
    router.save(tmp_path / kind)
    assert np.array_equal(load(tmp_path / kind).scores(seen[0]), router.scores(seen[0]))
    assert {file.suffix for file in (tmp_path / kind).iterdir()} == {".safetensors", ".json"}


def test_the_same_seed_trains_the_same_network_and_leaves_torch_s_draws_alone(seen):
    import torch

    torch.manual_seed(0)
    expected = torch.rand(1).item()
    torch.manual_seed(0)
    first, second = fit(facts("mlp"), *seen), fit(facts("mlp"), *seen)
    assert torch.rand(1).item() == expected
    assert np.array_equal(first.weights["in_weight"], second.weights["in_weight"])


def test_a_description_that_does_not_fit_is_refused_by_name(tmp_path, seen):
    fit(facts("knn"), *seen).save(tmp_path / "knn")
    file = tmp_path / "knn/router.json"
    file.write_text(file.read_text().replace('"kind"', '"sort"'))
    with pytest.raises(RecordError, match=r"router\.json: RouterFile has no field 'sort'"):
        load(tmp_path / "knn")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / WEIGHTS).unlink(), "no router can be read from it: No such file"),
        (lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-8]), "incomplete metadata"),
        (lambda folder: edit(folder, '"knn"', '"mlp"'), "is another router's: 'in_weight'"),
        (lambda folder: edit(folder, '"code",', '"code", "mail",'), "has 5 drafts, router.safetensors 4"),
    ],
)
def test_files_that_are_damaged_or_of_two_routers_are_refused(damage, message, tmp_path, seen):
    fit(facts("knn"), *seen).save(tmp_path / "knn")
    damage(tmp_path / "knn")
    with pytest.raises(RecordError, match=f"^{tmp_path}/knn: .*{message}"):
        load(tmp_path / "knn")


def edit(folder, old: str, new: str) -> None:
    """Put other words into a router's description."""
    text = (folder / CONFIG).read_text()
    assert old in text
    (folder / CONFIG).write_text(text.replace(old, new))
