"""Which of the target's answers the draft learns from."""

import pytest

from doubledraft.files import write_json
from doubledraft.records import Generation, Question, read_records
from doubledraft.summaries import json_file
from doubledraft.summaries.run_file import RunFile
from doubledraft.training import distill
from doubledraft.training.distill import DistillError
from tests.helpers.small_job import small_job
from tests.helpers.tiny_models import build_model

HOW = {"computing_dtype": "auto"}
ROWS = {
    "right": ("4 * 6 = 24\n#### 24", "stop"),
    "wrong": ("4 * 6 = 25\n#### 25", "stop"),
    "cut": ("4 * 6 = 24\n#### 24", "length"),
    "silent": ("4 * 6 = 24", "stop"),
    "long": ("#### " + "9" * 400, "stop"),
}


def reasons(keep: str) -> dict[str, str | None]:
    """Return why each of ROWS is dropped."""
    rows = [
        Generation(id=id, prompt_tokens=1, token_ids=[1], text=text, finish_reason=reason, batch=0, batch_seconds=1.0)
        for id, (text, reason) in ROWS.items()
    ]
    asked = [Question(id=id, scenario="s", split="train", question=id, answer="24", steps=[]) for id in ROWS]
    return dict(zip(ROWS, distill.why_dropped(rows, asked, keep), strict=True))


def test_every_finished_answer_is_kept_right_or_wrong():
    assert reasons("finished") == {"right": None, "wrong": None, "cut": "truncated", "silent": None, "long": None}


def test_right_answers_in_the_asked_for_format_are_kept_where_these_alone_are_wanted():
    assert reasons("right") == {
        "right": None,
        "wrong": "wrong answer",
        "cut": "truncated",
        "silent": "no answer",
        "long": "undecided answer",
    }


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return a random model of which every eighth token ends an answer: some of its answers end before a limit of 8."""
    folder = build_model(tmp_path_factory.mktemp("model"))
    write_json(folder / "generation_config.json", {"eos_token_id": list(range(2, 320, 8))})
    return folder


@pytest.mark.slow
def test_rows_kept_and_dropped_are_counted_and_nothing_of_the_progress_is_left(tmp_path, model):
    job = small_job(tmp_path, model, "distill", engine="native", resume=True, max_tokens=8, warmup=0)
    distill.run(job, tmp_path / "kept.jsonl", tmp_path / "run.json", keep="finished", min_yield=0, **HOW)
    run, kept = json_file.read(tmp_path / "run.json", RunFile), read_records(tmp_path / "kept.jsonl", Generation)
    assert run.keep == "finished" and 0 < run.kept == len(kept) < 6 and run.dropped == {"truncated": 6 - run.kept}
    assert {row.finish_reason for row in kept} == {"stop"}
    assert sorted(path.name for path in tmp_path.glob("distill*")) == []


@pytest.mark.slow
def test_too_low_a_yield_stops_the_step_with_the_reasons_and_keeps_the_answers(tmp_path, model):
    job = small_job(tmp_path, model, "distill", engine="native", resume=True, max_tokens=1, warmup=0)
    with pytest.raises(DistillError, match=r"1 of 6 answers are finished, less than distill.min_yield 0.5.*truncated"):
        distill.run(job, tmp_path / "kept.jsonl", tmp_path / "run.json", keep="finished", min_yield=0.5, **HOW)
    assert not (tmp_path / "kept.jsonl").exists() and len(read_records(job.out, Generation)) == 6
