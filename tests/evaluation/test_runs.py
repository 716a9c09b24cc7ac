"""Only like runs are scored and compared; everything else is an error that names the file and the first difference."""

import json
from dataclasses import asdict, replace

import pytest

from doubledraft.evaluation import runs
from doubledraft.evaluation.runs import ComparisonError, Run
from doubledraft.records import Generation, Question, from_json, write_records
from doubledraft.summaries.provenance import Hardware
from doubledraft.summaries.run_file import RunFile
from tests.helpers import made_up

ASKED = [
    Question(id=id, scenario="easy", split="test", question="1 + 1?", answer="2", steps=["1 + 1 = 2"]) for id in "abcd"
]
ROWS = [
    Generation(
        id=question.id,
        prompt_tokens=3,
        token_ids=[1, 2],
        text="#### 2",
        finish_reason="stop",
        batch=index // 2,
        batch_seconds=1.5 + index // 2,
    )
    for index, question in enumerate(ASKED)
]
JOB = {
    "model": "target",
    "prompt": "cot.yaml",
    "few_shot": False,
    "max_tokens": 100,
    "max_model_len": 512,
    "enforce_eager": True,
    "tensor_parallel": 1,
    "warmup": 3,
    "seed": 17,
    "temperature": 0.0,
    "samples": 1,
    "draft": "",
    "out": "baseline.jsonl",
}
INFO = from_json(
    made_up.run_file() | {"mode": "baseline", "kernel": "vllm", "n": 4, "concurrency": 2, "job": JOB},
    RunFile,
    "made up",
)
DRAFTED = replace(
    INFO,
    mode="speculative",
    method="draft_model",
    draft_length=3,
    job=JOB | {"draft": "small", "out": "speculative.jsonl"},
)


@pytest.fixture
def load(tmp_path):
    def load(rows=ROWS, info=INFO, asked=ASKED):
        write_records(tmp_path / "rows.jsonl", rows)
        (tmp_path / "run.json").write_text(json.dumps(info if isinstance(info, dict) else asdict(info)))
        return runs.load(str(tmp_path / "rows.jsonl"), str(tmp_path / "run.json"), asked, "test.jsonl")

    return load


def test_a_whole_run_is_read(load):
    run = load()
    assert (run.rows, run.info, run.engine) == (ROWS, INFO, "vllm 0.32.0")


def test_a_batch_counts_its_time_once(load):
    assert load().batches == [1.5, 2.5]


def test_missing_question_is_named(load):
    with pytest.raises(ComparisonError, match=r"rows.jsonl: question 'b' of test.jsonl has no answer \(2 missing\)"):
        load([ROWS[0], ROWS[3]])


def test_question_that_was_not_asked_is_named(load):
    with pytest.raises(ComparisonError, match="'d' is not among the asked questions"):
        load(asked=ASKED[:3])


def test_another_order_is_named(load):
    with pytest.raises(ComparisonError, match="rows.jsonl:2: found 'c' where test.jsonl has 'b'"):
        load([ROWS[0], ROWS[2], ROWS[1], ROWS[3]])


def test_no_questions_are_an_error(load):
    with pytest.raises(ComparisonError, match="no question to score"):
        load([], asked=[])


@pytest.mark.parametrize("seconds", [9.0, 0.0, -1.0])
def test_times_of_a_batch_that_contradict_are_an_error(load, seconds):
    with pytest.raises(ComparisonError, match="batch 0 took"):
        load([ROWS[0], replace(ROWS[1], batch_seconds=seconds), *ROWS[2:]])


@pytest.mark.parametrize("key", ["concurrency", "job", "environment", "provenance"])
def test_run_file_without_a_field_is_an_error(load, key):
    with pytest.raises(ComparisonError, match=f"run.json: field {key!r} of RunFile is missing.*again"):
        load(info={name: value for name, value in asdict(INFO).items() if name != key})


def test_run_file_without_a_setting_of_its_job_is_an_error(load):
    with pytest.raises(ComparisonError, match="run.json: key 'job.max_tokens' is missing"):
        load(info=replace(INFO, job={name: value for name, value in JOB.items() if name != "max_tokens"}))


def test_run_file_of_another_number_of_rows_is_an_error(load):
    with pytest.raises(ComparisonError, match="n is 5, but .* has 4 rows"):
        load(info=replace(INFO, n=5))


@pytest.mark.parametrize(
    "switch",
    [
        {"rejection_sample_method": "synthetic"},
        {"speculative_config": {"rejection_sample_method": "synthetic"}},
        {"engine_arguments": [{"synthetic_acceptance_rates": [0.9, 0.8]}]},
    ],
)
def test_synthetic_acceptance_is_refused(load, switch):
    with pytest.raises(ComparisonError, match="synthetic acceptance"):
        load(info=replace(INFO, job=JOB | switch))


def test_measured_acceptance_is_not_taken_for_synthetic(load):
    load(info=replace(INFO, job=JOB | {"rejection_sample_method": "standard", "synthetic_acceptance_rates": None}))


def test_runs_that_differ_only_in_the_draft_may_be_compared():
    runs.check_comparable(Run("base", ROWS, INFO), Run("spec", ROWS, DRAFTED))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"concurrency": 16}, "concurrency"),
        ({"n": 3}, "n:"),
        ({"version": "0.19.1"}, "version"),
        ({"kernel": "torch"}, "kernel"),
        ({"dtype": "float32"}, "dtype"),
        ({"provenance": replace(INFO.provenance, hardware=Hardware(processor="y", cores=64, gpu="H100"))}, "hardware"),
        ({"environment": {"OMP_NUM_THREADS": "64"}}, "environment"),
        ({"method": "none"}, "with a draft"),
    ],
)
def test_unlike_runs_are_refused(change, named):
    with pytest.raises(ComparisonError, match=named):
        runs.check_comparable(Run("base", ROWS, INFO), Run("spec", ROWS, replace(DRAFTED, **change)))


@pytest.mark.parametrize("key", runs.SAME_IN_JOB)
def test_runs_of_unlike_jobs_are_refused(key):
    other = replace(DRAFTED, job=DRAFTED.job | {key: "another"})
    with pytest.raises(ComparisonError, match=f"differ in {key}: .* and 'another'"):
        runs.check_comparable(Run("base", ROWS, INFO), Run("spec", ROWS, other))


def test_a_baseline_that_drafts_is_refused():
    with pytest.raises(ComparisonError, match="base: expected a run without a draft, found method 'ngram'"):
        runs.check_comparable(Run("base", ROWS, replace(INFO, method="ngram")), Run("spec", ROWS, DRAFTED))


def test_other_batches_are_refused():
    alone = [replace(row, batch=index) for index, row in enumerate(ROWS)]
    with pytest.raises(ComparisonError, match="batches"):
        runs.check_comparable(Run("base", ROWS, INFO), Run("spec", alone, DRAFTED))
