"""The load grid on a tiny pair: every point is there, against plain decoding, and the best lengths are for vLLM."""

from dataclasses import replace

import pytest

from doubledraft.evaluation.load import grid
from doubledraft.inference.host import Local
from doubledraft.inference.job import EncodedQuestion
from doubledraft.inference.native_engine import NativeEngine
from doubledraft.inference.residency import Engines
from doubledraft.stats import Interval
from doubledraft.summaries import json_file
from doubledraft.summaries.advice import GridPoint, LoadGrid
from tests.helpers.small_job import small_job

LENGTHS, LOADS = [0, 1, 3, "adaptive"], [1, 2]


class Here(Engines):
    """Engines in this process."""

    residency = "both"

    def turn(self, name: str) -> Local:
        if name not in self._hosts:
            self._hosts[name] = Local(NativeEngine(self.jobs[name]))
            self._warm_up(self.jobs[name], self._hosts[name])
        return self._hosts[name]

    def __exit__(self, *_) -> None:
        self._hosts.clear()


@pytest.fixture(scope="module")
def made(tiny_model, tiny_draft, tmp_path_factory):
    """Time a tiny pair; return the grid."""
    folder = tmp_path_factory.mktemp("grid")
    job = small_job(
        folder,
        tiny_model,
        "speculative",
        engine="native",
        method="draft_model",
        draft=str(tiny_draft),
        draft_length=2,
        max_tokens=12,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("doubledraft.machine.own_cores", lambda: [0])  # a second thread only waits for the first
        patch.setattr(grid, "open_engines", lambda jobs, residency, warm_up: Here(jobs, warm_up))
        grid.run(
            job,
            lengths=LENGTHS,
            loads=LOADS,
            blocks=2,
            residency="both",
            out=str(folder / "grid.json"),
            figure=str(folder / "grid.png"),
        )
    assert (folder / "grid.png").stat().st_size > 5000
    return json_file.read(folder / "grid.json", LoadGrid)


def test_every_way_of_drafting_is_timed_at_every_load_and_compared_with_plain_decoding(made):
    arms = ["0", "1", "3", "adaptive"]
    assert [(one.load, one.drafting) for one in made.points] == [(load, arm) for load in LOADS for arm in arms]
    for one in made.points:
        assert (one.speedup is None) == (one.tokens_per_step is None) == (one.drafting == "0")
        assert (one.predicted is None) == (one.drafting in ("0", "adaptive"))
        assert one.tokens_per_second > 0
    assert made.best.keys() == {"1", "2"}


def test_the_costs_are_timed_at_each_load(made):
    for one in made.costs:
        assert list(one.verify) == ["1", "3"]
        assert min(one.prefill, one.target, one.draft, *one.verify.values()) > 0


def test_vllm_has_no_adaptive_length(made, tmp_path, tiny_model, tiny_draft):
    drafting = {"method": "draft_model", "draft": str(tiny_draft), "draft_length": 2}
    job = small_job(tmp_path, tiny_model, "speculative", **drafting)
    jobs = grid.arms(job, LENGTHS, 4)
    assert list(jobs) == ["0", "1", "3"] and {one.concurrency for one in jobs.values()} == {4}
    assert jobs["0"].method == "none" and list(grid.arms(replace(job, engine="native"), LENGTHS, 4))[-1] == "adaptive"


def test_blocks_take_other_questions_until_they_begin_again():
    asked = [EncodedQuestion(f"q{at}", [at]) for at in range(6)]
    ids = [[question.id for batch in grid._batches(asked, 2, block) for question in batch] for block in range(2)]
    assert ids == [["q0", "q1", "q2", "q3"], ["q4", "q5", "q0", "q1"]]
    assert len(grid._batches(asked, 1, 0)) == 4 and len(grid._batches(asked, 16, 0)) == 1


def test_drafting_is_best_only_where_it_was_faster():
    def point(drafting: str, speedup: float) -> GridPoint:
        interval = Interval(speedup, None, None, 2)
        return GridPoint(
            load=4, drafting=drafting, tokens_per_second=1.0, tokens_per_step=2.0, speedup=interval, predicted=1.0
        )

    assert grid._best([point("1", 1.2), point("3", 1.4), point("adaptive", 1.9)], 4) == 3, "vLLM has no adaptive K"
    assert grid._best([point("1", 0.8), point("3", 0.9)], 4) == 0
