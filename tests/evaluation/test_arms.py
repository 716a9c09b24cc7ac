"""Arms take turns at every question, after a warm-up, and answer alike."""

from collections import Counter

import pytest

from doubledraft.engine.draft_length import FixedLength
from doubledraft.engine.load import create_backend
from doubledraft.engine.proposers import DraftModel, NoDraft
from doubledraft.evaluation.arms import Arm, plain, time_in_turns
from doubledraft.evaluation.interleave import BASELINE

PROMPTS = [[5, 9, 40, 77], [100, 30, 31, 30, 31], [8]]


class Noted(NoDraft):
    """Drafts nothing, and notes whom it was asked for."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def start(self, target, prompts, capacity, hidden) -> None:
        """Note that an answer begins."""
        self.log.append(self.name)
        super().start(target, prompts, capacity, hidden)


@pytest.fixture(scope="module")
def target(tiny_model):
    return create_backend(tiny_model, "float32", "cpu")


def test_arms_take_turns_at_each_question_and_another_one_comes_first_each_time(target):
    log: list[str] = []
    arms = [Arm(name, Noted(name, log), FixedLength(1)) for name in "abc"]
    timings = time_in_turns(target, arms, PROMPTS, 2, repeats=2, warmup=1)
    warm, counted = log[:3], log[3:]
    assert warm == ["a", "b", "c"], "each arm answers the first question once before the clock counts"
    assert counted == [timing.arm for timing in timings]
    turns = ["".join(counted[at : at + 3]) for at in range(0, len(counted), 3)]
    assert turns == ["abc", "bca", "cab", "bca", "cab", "abc"]


def test_every_answer_is_timed_once_and_no_draft_changes_it(target, tiny_draft):
    near = Arm("near", DraftModel(create_backend(tiny_draft, "float32", "cpu")), FixedLength(3))
    timings = time_in_turns(target, [plain(), near], PROMPTS, 16, repeats=2)
    assert Counter((timing.arm, timing.question, timing.repeat) for timing in timings) == Counter(
        (arm, question, repeat) for arm in (BASELINE, "near") for question in range(3) for repeat in range(2)
    )
    for question in range(3):
        answers = {tuple(timing.answer.token_ids) for timing in timings if timing.question == question}
        assert len(answers) == 1 and len(answers.pop()) == 16
    assert all(0 < timing.metrics.seconds <= timing.seconds for timing in timings)
    rows = [timing.as_generation("q", "text") for timing in timings if timing.arm == "near"]
    assert all(0 < row.time_to_first_token < row.latency <= row.batch_seconds for row in rows)
    assert any(0 < row.accepted < row.drafted for row in rows)
