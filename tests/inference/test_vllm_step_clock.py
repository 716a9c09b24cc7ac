"""Costs of a step from hand-made readings of the clock."""

import pytest

from doubledraft.inference.vllm_step_clock import ClockedStep as Step
from doubledraft.inference.vllm_step_clock import step_seconds

A, AB = ("a",), ("a", "b")


def test_plain_steps_last_from_one_start_to_the_next_and_prompts_do_not_count():
    steps = [
        Step(0, A, False, 0),
        Step(9, A, True, 0),
        Step(10, A, True, 0),
        Step(12, A, True, 0),
        Step(13, A, True, 0),
    ]
    assert step_seconds(steps, 0) == {"target": 1, "draft": None, "verify": None}


def test_drafting_is_taken_out_of_the_verify_step_and_shared_by_its_tokens():
    steps = [
        Step(0, A, True, 3, drafting=0.6),
        Step(2, A, True, 3, drafting=0.6),
        Step(4, A, True, 3),
    ]
    assert step_seconds(steps, 3) == {"target": None, "draft": pytest.approx(0.2), "verify": pytest.approx(1.4)}


def test_only_steps_of_the_whole_batch_count_and_none_across_batches():
    whole = [
        Step(0, AB, True, 0),
        Step(3, AB, True, 0),
        Step(4, A, True, 0),
        Step(5, A, True, 0),
    ]
    other = [Step(50, ("c", "d"), True, 0), Step(53, ("c", "d"), True, 0)]
    assert step_seconds(whole + other, 0)["target"] == 3


def test_steps_with_fewer_drafts_than_asked_for_do_not_count():
    assert step_seconds([Step(0, A, True, 1), Step(1, A, True, 1)], 3)["verify"] is None
    assert step_seconds([], 3) == {"target": None, "draft": None, "verify": None}
