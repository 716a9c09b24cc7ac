"""A profile accounts for all of a step's time and leaves the models as they were."""

import json

import pytest

from doubledraft.engine.draft_length import FixedLength
from doubledraft.engine.load import create_backend
from doubledraft.engine.proposers import DraftModel, NGram
from doubledraft.evaluation.arms import Arm, plain
from doubledraft.evaluation.interleave import BASELINE
from doubledraft.evaluation.step_profile import DRAFT_REST, TARGET_REST, profile, trace
from doubledraft.inference import bandwidth

PROMPT, TOKENS, LENGTH = [5, 9, 40, 77], 24, 3
PASSES = {"target: forward passes", "target: heads"}


@pytest.fixture(scope="module")
def target(tiny_model):
    return create_backend(tiny_model, "float32", "cpu")


@pytest.fixture(scope="module")
def arms(tiny_draft) -> list[Arm]:
    near = DraftModel(create_backend(tiny_draft, "float32", "cpu"))
    return [plain(), Arm("near", near, FixedLength(LENGTH)), Arm("ngram", NGram(), FixedLength(LENGTH))]


@pytest.fixture(scope="module")
def found(target, arms) -> dict:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bandwidth, "ARRAY_BYTES", 2**20)
        return profile(target, arms, [PROMPT], TOKENS, repeats=2)["arms"]


def parts(arm: dict) -> dict[str, dict]:
    return {row["part"]: row for row in arm["parts"]}


def test_the_parts_of_a_step_are_all_of_it(found):
    for arm in found.values():
        assert sum(row["share"] for row in arm["parts"]) == pytest.approx(1)
        assert sum(row["seconds_per_step"] for row in arm["parts"]) == pytest.approx(arm["step_seconds"])
        assert all(row["seconds_per_step"] > 0 for row in arm["parts"])


def test_each_arm_has_the_parts_of_what_it_does(found):
    assert set(parts(found[BASELINE])) == PASSES | {TARGET_REST}
    assert set(parts(found["near"])) == PASSES | {"draft: forward passes", "draft: heads", DRAFT_REST, TARGET_REST}
    assert set(parts(found["ngram"])) - {DRAFT_REST} == PASSES | {TARGET_REST}, "it may have found nothing to draft"


def test_passes_are_counted_without_the_prompts(found):
    assert found[BASELINE]["steps"] == 2 * (TOKENS - 1), "the prompt's pass gives the first token"
    assert parts(found[BASELINE])["target: heads"]["calls_per_step"] == 1
    assert 1 < parts(found["near"])["draft: heads"]["calls_per_step"] <= LENGTH
    assert found["near"]["tokens_per_step"] > 1


def test_the_bound_is_the_time_to_read_the_weights_of_every_pass(found, target, arms):
    plain_arm, near = found[BASELINE], found["near"]
    read = target.bytes_per_pass / plain_arm["bound_seconds"]
    drafted = parts(near)["draft: heads"]["calls_per_step"] * arms[1].proposer.draft.bytes_per_pass
    assert near["bound_seconds"] == pytest.approx((target.bytes_per_pass + drafted) / read)
    assert plain_arm["share_of_bound"] == pytest.approx(plain_arm["bound_seconds"] / plain_arm["step_seconds"])


def test_a_trace_names_steps_and_passes_and_the_models_are_as_before(target, arms, tmp_path):
    trace(target, arms[1], PROMPT, tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert {"step", "draft: forward passes", *PASSES} <= {event.get("name") for event in events}
    assert [path.name for path in tmp_path.iterdir()] == ["trace.json"]
    assert not {"forward", "logits", "greedy_draft"} & vars(target).keys()


def test_a_draft_is_not_one_cuda_graph_while_its_passes_are_timed(tiny_model, tiny_draft, monkeypatch):
    monkeypatch.setattr(bandwidth, "ARRAY_BYTES", 2**20)
    target, draft = (create_backend(folder, "float32", "cpu", kernel="graphs") for folder in (tiny_model, tiny_draft))
    arm = Arm("near", DraftModel(draft), FixedLength(LENGTH))
    found = profile(target, [arm], [PROMPT], TOKENS, repeats=1)["arms"]["near"]
    assert 1 < parts(found)["draft: heads"]["calls_per_step"] <= LENGTH
    assert {key[0] for cache in draft._pool for key in cache.graphs} == {"forward"}
