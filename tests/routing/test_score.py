"""Ways to choose a draft are scored as the known speeds of a made-up matrix say, and the page says what that means."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from doubledraft.routing import matrix as matrices
from doubledraft.routing import page, policies, score, train
from doubledraft.routing import router as routers
from doubledraft.routing.collect import HIDDEN
from doubledraft.stats import Interval
from doubledraft.summaries import json_file
from doubledraft.summaries.router_file import RoutersFile
from doubledraft.summaries.routing_score import RoutingScore
from tests.helpers import made_matrix

ROUTERS = {
    "centroid": {"kind": "centroid", "features": "ngrams"},
    "knn": {"kind": "knn", "features": "hidden"},
}


def scored(folder, own: float, turns: int = 2) -> tuple[RoutingScore, str]:
    """Return score and page of a matrix whose domain drafts are `own` times as fast on their domain."""
    return scored_files(folder, made_matrix.build(folder, own=own, prompts=16, turns=turns), ROUTERS)


def scored_files(folder, files: dict, trained: dict) -> tuple[RoutingScore, str]:
    """Return score and page of routers on the files of a matrix."""
    shared = {"target": folder, "routers": trained, "embedding": None, "seed": 3, "out": folder / "router"}
    train.train(**files, **shared)
    score.score(
        **files, routers_folder=folder / "router", draft_length=3, settings={"seed": 3}, out=folder / "score.json"
    )
    page.write(folder / "score.json", folder / "report.html")
    return json_file.read(folder / "score.json", RoutingScore), (folder / "report.html").read_text()


@pytest.fixture(scope="module")
def different(tmp_path_factory):
    """Return score and page where each domain's draft is half as fast again on its domain."""
    return scored(tmp_path_factory.mktemp("different"), own=1.5)


@pytest.fixture(scope="module")
def alike(tmp_path_factory):
    """Return score and page where all drafts are alike, each timed once."""
    return scored(tmp_path_factory.mktemp("alike"), own=1.0, turns=1)


def arm(found: RoutingScore, name: str):
    """Return an arm by its name."""
    return next(arm for arm in found.arms if arm.name == name)


def test_where_drafts_differ_a_router_gains_what_the_speeds_say(different):
    found, html = different
    expected = (1 / 3 / 1.5 + 2 / 3) / (1 / 1.5) - 1  # the best single is fast on one domain of three
    assert arm(found, found.router).gain.value == pytest.approx(expected, abs=0.02)
    assert not found.one_draft_is_enough and found.conclusion.startswith("Choosing by the prompt beats one draft")
    assert found.conclusion in html


def test_where_drafts_are_alike_the_page_says_that_one_is_enough(alike):
    found, html = alike
    assert found.one_draft_is_enough and found.conclusion.startswith("One draft is enough")
    assert "One draft is enough" in html
    assert arm(found, "oracle").gain.value < 0.01, "an oracle that chose by the times that score it would gain by noise"


def test_the_first_turn_is_compared_with_the_last_one_where_there_are_two(different, alike):
    assert different[0].steadiness.value == pytest.approx(1, abs=0.02) and "Time of the first turn" in different[1]
    assert alike[0].steadiness is None and "first turn" not in alike[1]


def test_the_page_says_what_own_drafts_give_over_the_generic_one_and_whether_drafting_pays(different, alike):
    found, html = different
    assert [row.domain for row in found.own] == list(made_matrix.DOMAINS)
    assert all(row.tokens_per_step.low > 1.1 and row.speed.value == pytest.approx(1.5, abs=0.05) for row in found.own)
    assert html.count("times as fast as the target&#39;s alone.") == 2 and "no difference shown" not in html
    assert alike[1].count("no difference shown;") == 2 and "own / generic" in alike[1]


def test_the_oracle_foresees_passes_and_others_are_compared_with_its_choices(different):
    found, _ = different
    assert arm(found, "oracle").as_oracle.value == arm(found, "domain label").as_oracle.value == 1
    assert arm(found, "random").as_oracle.value == pytest.approx(0.25)
    assert arm(found, found.router).as_oracle.value > 0.8


def test_no_arm_is_faster_than_the_oracle_and_random_is_the_mean_of_the_drafts(different):
    found, _ = different
    best = arm(found, "oracle").tokens_per_second.value
    assert all(one.tokens_per_second.value <= best * 1.005 for one in found.arms)
    singles = [arm(found, name).tokens_per_second.value for name in ("best single", *_others(found))]
    mean = len(singles) / sum(1 / speed for speed in singles)
    assert arm(found, "random").tokens_per_second.value == pytest.approx(mean)


def _others(found: RoutingScore) -> list[str]:
    return [one.name for one in found.arms if one.name.startswith("only ")]


def test_the_router_s_own_time_is_inside_the_clock(tmp_path):
    files = made_matrix.build(tmp_path, own=1.5, prompts=4)
    matrix = matrices.read(files["matrix"])
    scores = np.eye(4)[[0] * len(matrix.prompts)]
    free, slow = (policies.by_scores("x", scores, np.full(len(scores), own)) for own in (0.0, 0.5))
    assert np.allclose(slow.seconds(matrix) - free.seconds(matrix), 0.5)


def test_hedge_pays_for_reading_every_answer_with_every_draft(different, tmp_path):
    found, _ = different
    assert arm(found, "hedge").router_milliseconds == pytest.approx(4.0)  # four drafts, 1 ms each
    assert arm(found, "hedge").gap.value > arm(found, "oracle").gap.value


def test_hedge_knows_nothing_of_answers_to_come(tmp_path):
    matrix = matrices.read(made_matrix.build(tmp_path, own=1.5, prompts=4)["matrix"])
    *_, last = np.random.default_rng(3).permutation(len(matrix.prompts))
    better = replace(matrix, steps=np.where(np.arange(len(matrix.prompts))[:, None] == last, 1, matrix.steps))
    known, changed = (policies.online(one, 3, seed=3).probabilities for one in (matrix, better))
    assert np.array_equal(known, changed) and not np.allclose(known, 1 / len(matrix.drafts))


def test_shuffled_advantages_give_next_to_nothing_on_average(different):
    found, _ = different
    for control in found.shuffled:
        assert control.gain.n == score.SHUFFLES
        assert control.gain.value < 0.3 * arm(found, control.router).gain.value, "its standard error is 0.08 of that"


def test_the_control_chooses_by_the_results_of_other_prompts(tmp_path, monkeypatch):
    monkeypatch.setattr(routers, "NEIGHBOURS", 1)
    files = made_matrix.build(tmp_path, own=1.5, prompts=4)
    twins = np.tile(np.eye(12, dtype=np.float32), (2, 1))  # every test prompt looks like one validation prompt
    save_file({HIDDEN: twins}, files["hidden"])
    found, _ = scored_files(tmp_path, files, {"knn": ROUTERS["knn"]})
    matrix, draw = matrices.read(files["matrix"]), np.random.default_rng(3)
    validation, seconds = matrix.take(matrix.splits == "validation"), matrix.seconds.mean(2)[matrix.splits == "test"]
    single = seconds[:, matrix.drafts.index(found.best_single)].sum()
    chosen = [draw.permutation(validation.advantage).argmax(1) for _ in range(score.SHUFFLES)]
    gains = [single / seconds[np.arange(12), drafts].sum() - 1 for drafts in chosen]
    [control] = found.shuffled
    expected = (np.mean(gains), min(gains), max(gains))
    assert (control.gain.value, control.smallest, control.largest) == pytest.approx(expected)


def test_a_domain_that_was_never_seen_is_tried_for_every_router(different):
    found, _ = different
    tried = {(row.domain, row.router) for row in found.left_out}
    assert tried == {(domain, router) for domain in made_matrix.DOMAINS for router in ROUTERS}
    assert all(row.gain.value < 0.05 for row in found.left_out), "nobody knows which draft is good there"


def test_the_first_router_is_chosen_that_the_next_does_not_beat_by_a_hundredth():
    assert train.simplest({"a": 100, "b": 100.9, "c": 200}) == "a"
    assert train.simplest({"a": 100, "b": 102, "c": 102}) == "b"
    assert train.simplest({"a": 100, "b": 102, "c": 104}) == "c"


def test_the_best_single_draft_is_chosen_on_validation_prompts_alone(tmp_path):
    files = made_matrix.build(tmp_path, own=1.5, prompts=4, noise=0)
    matrix = matrices.read(files["matrix"])
    at = matrix.drafts.index("chat")
    matrix.seconds[matrix.splits == "validation", at] /= 2
    matrix.seconds[matrix.splits == "test", at] *= 9
    assert train.best_single(matrix.take(matrix.splits == "validation")) == "chat"


def test_routers_of_a_study_are_read_by_their_names(tmp_path):
    scored(tmp_path, own=1.5)
    facts = json_file.read(tmp_path / "router/routers.json", RoutersFile)
    assert set(facts.tokens_per_second) == set(ROUTERS) and facts.chosen in ROUTERS


def test_too_few_groups_leave_it_undecided(tmp_path):
    found, html = scored_files(tmp_path, made_matrix.build(tmp_path, own=1.5, prompts=2), ROUTERS)
    assert found.groups == 3 and found.one_draft_is_enough is None
    assert found.conclusion.startswith("Undecided: ") and "too few for an interval" in html


def test_an_interval_below_0_is_no_gain():
    said = score.conclusion("mlp", "generic", Interval(-0.04, -0.06, -0.01, 20))
    assert said.startswith("One draft is enough: the router mlp is slower")
