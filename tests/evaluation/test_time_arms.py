"""The arms of a cell are timed in turns by real engines side by side, and every attempt is kept.

vLLM's engines take turns in `tests/inference/test_generate.py`, where more is asked of their answers.
"""

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from doubledraft.evaluation.interleave import BASELINE, CONTROL, SPECULATIVE, orders, summarize
from doubledraft.evaluation.runs import check_comparable, load
from doubledraft.evaluation.time_arms import arms, run, time_in_turns
from doubledraft.inference.energy import Counter, EnergyMeter
from doubledraft.inference.job import EncodedQuestion, Job
from doubledraft.records import Generation, Question, read_records
from doubledraft.summaries import json_file
from doubledraft.summaries.cell_metrics import AttemptMetrics
from doubledraft.summaries.timing_file import TimingFile
from tests.helpers.small_job import small_job

K = 3
ARMS = [BASELINE, SPECULATIVE, CONTROL]


def jobs(folder: Path, model: Path, draft: Path, **changes) -> dict[str, Job]:
    """Return the jobs of both arms over six questions."""
    drafting = {"method": "draft_model", "draft": str(draft), "draft_length": K}
    return {
        BASELINE: small_job(folder, model, BASELINE, **changes),
        SPECULATIVE: small_job(folder, model, SPECULATIVE, **drafting, **changes),
    }


def timed(folder: Path, asked: dict[str, Job], **settings) -> TimingFile:
    run(asked, out=str(folder / "timing.json"), **{"blocks": 3, "retimes": 0, "residency": "both"} | settings)
    return json_file.read(folder / "timing.json", TimingFile)


@pytest.fixture(scope="module")
def native(tiny_model, tiny_draft, tmp_path_factory) -> tuple[dict[str, Job], TimingFile]:
    folder = tmp_path_factory.mktemp("native")
    asked = jobs(folder, tiny_model, tiny_draft, engine="native", concurrency=1)
    return asked, timed(folder, asked)


def test_the_baseline_is_the_same_job_without_the_draft(tmp_path):
    job = jobs(tmp_path, tmp_path, tmp_path)[SPECULATIVE]
    made = arms(job, ["b.jsonl", "s.jsonl"], ["b.json", "s.json"])
    assert [(mode, one.mode, one.draft, one.out, one.run_out) for mode, one in made.items()] == [
        (BASELINE, BASELINE, "", "b.jsonl", "b.json"),
        (SPECULATIVE, SPECULATIVE, str(tmp_path), "s.jsonl", "s.json"),
    ]
    assert list(arms(job, ["b.jsonl"], ["b.json"])) == [BASELINE], "one file of each kind: the target alone"


@pytest.mark.slow
def test_both_arms_leave_runs_that_may_be_compared_and_answer_alike(native):
    asked, _ = native
    questions = read_records(asked[BASELINE].questions, Question)
    runs = [load(job.out, job.run_out, questions, job.questions) for job in asked.values()]
    check_comparable(*runs)
    assert [row.token_ids for row in runs[0].rows] == [row.token_ids for row in runs[1].rows]
    assert all(row.text for run in runs for row in run.rows) and runs[1].rows[0].drafted > 0
    assert all(run.info.step_seconds.target or run.info.step_seconds.verify for run in runs), "measured afterwards"


@pytest.mark.slow
def test_turns_follow_the_plan_and_each_arm_answers_every_question_once(native):
    asked, found = native
    (attempt,) = found.attempts
    taken = [[turn.arm for turn in attempt.turns if turn.block == block] for block in range(3)]
    assert taken == orders(ARMS, 3, asked[BASELINE].seed)
    for arm in ARMS:
        turns = sorted((turn for turn in attempt.turns if turn.arm == arm), key=lambda turn: turn.block)
        assert [len(turn.seconds) for turn in turns] == [2, 2, 2]
        rows = read_records(asked[BASELINE if arm == CONTROL else arm].out, Generation)
        assert [count for turn in turns for count in turn.tokens] == [len(row.token_ids) for row in rows]
        if arm != CONTROL:
            assert [each for turn in turns for each in turn.seconds] == [row.batch_seconds for row in rows]


@pytest.mark.slow
def test_memory_is_that_of_both_engines_together(native):
    asked, found = native
    alone = [json.loads(Path(job.run_out).read_text())["peak_memory_gib"] for job in asked.values()]
    assert max(alone) < found.peak_memory_gib <= sum(alone) * 1.01


@pytest.mark.slow
def test_one_arm_alone_is_timed_without_a_draft_and_without_a_control(tiny_model, tmp_path):
    alone = {BASELINE: small_job(tmp_path, tiny_model, BASELINE, engine="native")}
    found = timed(tmp_path, alone, retimes=2)
    assert {turn.arm for turn in found.attempts[0].turns} == {BASELINE} and len(found.attempts) == 1
    assert len(read_records(alone[BASELINE].out, Generation)) == 6


@pytest.mark.slow
def test_restarted_engines_answer_as_resident_ones(native, tiny_model, tiny_draft, tmp_path):
    asked = jobs(tmp_path, tiny_model, tiny_draft, engine="native", concurrency=1)
    found = timed(tmp_path, asked, residency="restart", blocks=1)  # the baseline starts a second time for the control
    assert found.residency == "restart" and len(found.attempts[0].turns) == 3
    for name, job in asked.items():
        before = [row.token_ids for row in read_records(native[0][name].out, Generation)]
        assert [row.token_ids for row in read_records(job.out, Generation)] == before


# when a cell is timed again


class Scripted:
    """Engines whose answers take as long as they are told, by attempt and arm."""

    def __init__(self, jobs: dict[str, Job], seconds: Callable[[int, str], float]) -> None:
        self.jobs, self._seconds = jobs, seconds
        plans = [orders(ARMS, BLOCKS, jobs[BASELINE].seed + attempt) for attempt in range(3)]
        self._plan = iter([(number, arm) for number, plan in enumerate(plans) for order in plan for arm in order])

    def turn(self, name: str) -> "Scripted":
        """Go on to the next turn of the plan."""
        self._now = next(self._plan)
        assert name == (BASELINE if self._now[1] == CONTROL else self._now[1])
        return self

    def call(self, method: str, batch: list[EncodedQuestion]) -> tuple[list[Generation], float]:
        """Answer with two tokens."""
        assert method == "answer"
        made = {"token_ids": [1, 2], "text": "", "finish_reason": "stop", "batch": 0, "batch_seconds": 0.0}
        return [Generation(id=asked.id, prompt_tokens=1, **made) for asked in batch], self._seconds(*self._now)


BLOCKS = 4
READINGS = count()
COUNTED = EnergyMeter([Counter("a joule at each reading", lambda: float(next(READINGS)))], None)
QUESTIONS = [EncodedQuestion(f"q{number}", [1]) for number in range(8)]


def attempts(folder: Path, seconds: Callable[[int, str], float], retimes: int = 2) -> list[AttemptMetrics]:
    """Time scripted engines; give what each attempt told."""
    scripted = Scripted(jobs(folder, folder, folder, engine="native", concurrency=1), seconds)
    found, rows = time_in_turns(scripted, QUESTIONS, blocks=BLOCKS, retimes=retimes, meter=COUNTED)
    assert {name: len(answers) for name, answers in rows.items()} == {BASELINE: 8, SPECULATIVE: 8}
    assert {turn.joules for attempt in found for turn in attempt.turns} == {1.0}, "read before and after each turn"
    return [summarize(attempt, seed=17) for attempt in found]


def test_a_steady_cell_is_timed_once(tmp_path):
    (found,) = attempts(tmp_path, lambda attempt, arm: 1.0 if arm == SPECULATIVE else 2.0)
    assert found.steady and found.speedup.value == 2


def test_an_unsteady_cell_is_timed_again_until_it_is_steady(tmp_path):
    found = attempts(tmp_path, lambda attempt, arm: 3.0 if arm == CONTROL and attempt == 0 else 2.0)
    assert [each.steady for each in found] == [False, True]
    assert found[0].order != found[1].order, "the order is drawn anew"


@pytest.mark.parametrize("retimes", [0, 2])
def test_a_cell_that_stays_unsteady_is_timed_as_often_as_the_config_says(tmp_path, retimes):
    found = attempts(tmp_path, lambda attempt, arm: 3.0 if arm == CONTROL else 2.0, retimes)
    assert [each.steady for each in found] == [False] * (retimes + 1)


def test_one_block_cannot_tell_and_is_not_timed_again(tmp_path):
    scripted = Scripted(jobs(tmp_path, tmp_path, tmp_path, engine="native", concurrency=8), lambda attempt, arm: 1.0)
    found, _ = time_in_turns(scripted, QUESTIONS, blocks=BLOCKS, retimes=2, meter=COUNTED)
    assert len(found) == 1 and not summarize(found[0], seed=17).steady
