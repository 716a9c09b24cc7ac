"""The arms of a cell are timed in turns by real engines side by side, and every attempt is kept."""

import json
from pathlib import Path

import pytest

from doubledraft.evaluation.interleave import BASELINE, CONTROL, SPECULATIVE, orders, summarize
from doubledraft.evaluation.runs import check_comparable, load
from doubledraft.evaluation.time_arms import run, time_in_turns
from doubledraft.inference import generate
from doubledraft.inference.job import Asked, Job
from doubledraft.inference.tokenizing import load_tokenizer
from doubledraft.records import Generation, Question, read_records
from doubledraft.summaries import json_file
from doubledraft.summaries.timing_file import TimingFile
from tests.helpers.small_job import small_job

K = 3
ARMS = [BASELINE, SPECULATIVE, CONTROL]


def jobs(folder: Path, model: Path, draft: Path | None, **changes) -> dict[str, Job]:
    """Give the jobs of both arms over six questions; drafts come from n-grams without a draft model."""
    method = {"method": "draft_model", "draft": str(draft)} if draft else {"method": "ngram"}
    return {
        BASELINE: small_job(folder, model, BASELINE, **changes),
        SPECULATIVE: small_job(folder, model, SPECULATIVE, draft_length=K, **method, **changes),
    }


def timed(folder: Path, asked: dict[str, Job], **settings) -> TimingFile:
    run(asked, out=str(folder / "timing.json"), **{"blocks": 3, "retimes": 0, "residency": "both"} | settings)
    return json_file.read(folder / "timing.json", TimingFile)


@pytest.fixture(scope="module")
def native(tiny_model, tiny_draft, tmp_path_factory) -> tuple[dict[str, Job], TimingFile]:
    folder = tmp_path_factory.mktemp("native")
    asked = jobs(folder, tiny_model, tiny_draft, engine="native", concurrency=1)
    return asked, timed(folder, asked)


def test_both_arms_leave_runs_that_may_be_compared_and_answer_alike(native):
    asked, _ = native
    questions = read_records(asked[BASELINE].questions, Question)
    runs = [load(job.out, job.run_out, questions, job.questions) for job in asked.values()]
    check_comparable(*runs)
    assert [row.token_ids for row in runs[0].rows] == [row.token_ids for row in runs[1].rows]
    assert all(row.text for run in runs for row in run.rows) and runs[1].rows[0].drafted > 0
    assert all(run.info.step_seconds.target or run.info.step_seconds.verify for run in runs), "measured afterwards"


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


def test_memory_is_that_of_both_engines_together(native):
    asked, found = native
    alone = [json.loads(Path(job.run_out).read_text())["peak_memory_gib"] for job in asked.values()]
    assert max(alone) < found.peak_memory_gib <= sum(alone) * 1.01


def test_one_arm_alone_is_timed_without_a_draft_and_without_a_control(tiny_model, tmp_path):
    alone = {BASELINE: small_job(tmp_path, tiny_model, BASELINE, engine="native")}
    found = timed(tmp_path, alone, retimes=2)
    assert {turn.arm for turn in found.attempts[0].turns} == {BASELINE} and len(found.attempts) == 1
    assert len(read_records(alone[BASELINE].out, Generation)) == 6


def test_restarted_engines_answer_as_resident_ones(native, tiny_model, tiny_draft, tmp_path):
    asked = jobs(tmp_path, tiny_model, tiny_draft, engine="native", concurrency=1)
    found = timed(tmp_path, asked, residency="restart", blocks=2)
    assert found.residency == "restart" and len(found.attempts[0].turns) == 6
    for name, job in asked.items():
        before = [row.token_ids for row in read_records(native[0][name].out, Generation)]
        assert [row.token_ids for row in read_records(job.out, Generation)] == before


# when a cell is timed again


class Scripted:
    """Engines that take as long as they are told: seconds of a batch by name and by attempt."""

    def __init__(self, jobs: dict[str, Job], seconds: dict[str, list[float]], turns: int) -> None:
        self.jobs, self._seconds, self._turns = jobs, seconds, turns
        self._taken = 0

    def turn(self, name: str) -> "Scripted":
        """Return itself; every third turn of the baseline's is not told from the control's."""
        self._name, self._attempt = name, self._taken // self._turns
        self._taken += 1
        return self

    def call(self, method: str, batch: list[Asked]) -> tuple[list[Generation], float]:
        assert method == "answer"
        pace = self._seconds[self._name]
        seconds = pace[self._attempt] if isinstance(pace, list) else pace
        if callable(seconds):
            seconds = seconds(self._taken)
        rows = [
            Generation(
                id=question.id, prompt_tokens=2, token_ids=[1, 2], text="", finish_reason="stop", batch=0,
                batch_seconds=0.0,
            )
            for question in batch
        ]  # fmt: skip
        return rows, seconds


def scripted(tmp_path: Path, model: Path, *paces) -> Scripted:
    asked = jobs(tmp_path, model, None, engine="native", concurrency=1)
    return Scripted(asked, {BASELINE: list(paces), SPECULATIVE: [1.0] * len(paces)}, turns=12)


QUESTIONS = [Asked(f"q{number}", [1]) for number in range(8)]


def test_an_unsteady_cell_is_timed_again_until_it_is_steady(tmp_path, tiny_model):
    slowing = lambda turn: 2.0 + turn / 100  # noqa: E731
    engines = scripted(tmp_path, tiny_model, 2.0, 2.0)
    attempts, rows = time_in_turns(engines, QUESTIONS, blocks=4, retimes=2)
    assert len(attempts) == 1 and summarize(attempts[0], 17).steady and len(rows[SPECULATIVE]) == 8
