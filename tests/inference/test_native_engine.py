"""Our own engine answers a study's questions by the study's protocol, and tells what vLLM does not.

Tiny random models in float32, so that both modes must agree to the token, and with transformers too.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from doubledraft import __version__
from doubledraft.engine.draft_length import LONGEST_DRAFT
from doubledraft.engine.draft_vocabulary import learn_from_files
from doubledraft.evaluation import speculation
from doubledraft.evaluation.runs import Run, check_comparable
from doubledraft.inference import generate
from doubledraft.inference.host import Host, Local
from doubledraft.inference.job import Job
from doubledraft.inference.native_engine import NativeEngine
from doubledraft.records import Generation, asked_id, read_records
from doubledraft.stats import ratio_interval
from doubledraft.summaries import json_file
from doubledraft.summaries.run_file import RunFile
from tests.helpers.distribution import check_distribution
from tests.helpers.small_job import measured, small_job

K = 3
TOKENS = 40
IDS = [f"q{number}" for number in range(6)]


def job(folder: Path, model: Path, name: str, **changes) -> Job:
    """Return a job of ours over six questions; it drafts unless told otherwise."""
    ours = {"engine": "native", "mode": "speculative", "max_tokens": TOKENS}
    return small_job(folder, model, name, questions=len(IDS), **ours | changes)


def read(job: Job) -> Run:
    return Run(job.out, read_records(job.out, Generation), json_file.read(job.run_out, RunFile))


@pytest.fixture(scope="module")
def made(tiny_model, tiny_draft, repeating_model, tmp_path_factory) -> dict[str, Run]:
    """Answer plainly, with a draft model and with n-grams."""
    folder = tmp_path_factory.mktemp("runs")
    drafting = {"method": "draft_model", "draft": str(tiny_draft), "draft_length": K}
    jobs = {
        "plain": job(folder, tiny_model, "plain", mode="baseline"),
        "drafted": job(folder, tiny_model, "drafted", **drafting),
        "ngram": job(folder, repeating_model, "ngram", method="ngram", draft_length=K),
    }
    for each in jobs.values():
        measured(each, Local(NativeEngine(each)))
    return {name: read(each) for name, each in jobs.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["drafted", "ngram"])
def test_speculation_gives_the_tokens_of_greedy_decoding_elsewhere(made, name, tiny_model, repeating_model):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = {"drafted": tiny_model, "ngram": repeating_model}[name]
    model, rows = AutoModelForCausalLM.from_pretrained(folder), made[name].rows
    assert sum(row.drafted for row in rows) > sum(row.accepted for row in rows) > 0, "vacuous"
    asked = generate.encode_questions(Job(**made[name].info.job), AutoTokenizer.from_pretrained(folder))
    for question, row in zip(asked, rows, strict=True):
        ids = torch.tensor([question.token_ids])
        output = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=TOKENS, do_sample=False)
        assert row.token_ids == output[0, ids.shape[1] :].tolist()


@pytest.mark.slow
def test_both_modes_may_be_compared_and_scored_as_vllm_s_are(made):
    plain, drafted = made["plain"], made["drafted"]
    check_comparable(plain, drafted)
    assert [row.token_ids for row in plain.rows] == [row.token_ids for row in drafted.rows]
    assert [row.id for row in drafted.rows] == IDS and drafted.rows[0].text
    assert plain.info.shared_prompt_tokens == drafted.info.shared_prompt_tokens > 10
    found = speculation.speculation_metrics(drafted, seed=17)
    assert 0 <= found.self_check.excess <= found.self_check.trimmable
    assert found.acceptance_definition == f"accepted/drafted, prefix count, native {__version__}"
    measured = ratio_interval(plain.batches, drafted.batches, seed=17)
    assert found.reason is None and speculation.speedup(plain, drafted, found, measured, "batch").predicted > 0
    rate = sum(len(row.token_ids) for row in drafted.rows) / sum(drafted.batches)
    assert 0 < rate < speculation.bound_tokens_per_second(drafted)
    read = speculation.bandwidth_metrics(plain, drafted)
    assert all(step.bytes_per_second > 0 for step in (read.target, read.draft, read.verify))


@pytest.mark.slow
def test_plain_decoding_takes_one_step_a_token_and_drafts_nothing(made):
    for row in made["plain"].rows:
        assert row.steps == len(row.token_ids)
        assert row.drafted == 0 and row.accepted_per_step == []
    costs = made["plain"].info.step_seconds
    assert costs.target > 0 and costs.draft is costs.verify is None


@pytest.mark.slow
def test_rows_of_a_batch_share_its_time_and_none_takes_longer(made):
    for run in made.values():
        assert [row.batch for row in run.rows] == [0, 0, 1, 1, 2, 2]
        assert len({row.batch_seconds for row in run.rows}) == 3
        assert all(0 < row.time_to_first_token <= row.latency <= row.batch_seconds for row in run.rows)


@pytest.mark.slow
def test_every_drafted_token_is_told_with_what_became_of_it(made):
    for row in made["drafted"].rows:
        assert [len(draft) for draft in row.drafts] == [len(agreed) for agreed in row.agreed]
        assert sum(map(len, row.drafts)) == row.drafted
        for agreed, accepted in zip(row.agreed, row.accepted_per_step, strict=True):
            assert all(agreed[:accepted]) and not any(agreed[accepted : accepted + 1]), "a prefix of what agreed"


@pytest.mark.slow
def test_classes_of_tokens_add_up_to_all_of_them(made):
    for name in ("drafted", "ngram"):
        rows, counts = made[name].rows, made[name].info.token_classes.values()
        assert sum(count.drafted for count in counts) == sum(row.drafted for row in rows)
        assert sum(count.accepted for count in counts) == sum(row.accepted for row in rows)
        assert sum(count.agreed for count in counts) == sum(sum(map(sum, row.agreed)) for row in rows)
    assert made["plain"].info.token_classes is None


@pytest.mark.slow
def test_the_gap_of_the_two_best_tokens_is_noted_where_an_answer_differs_from_the_baseline_s(
    made, tmp_path, tiny_model
):
    rows = made["plain"].rows
    ids = rows[0].token_ids
    changed = [ids[0], ids[1] + 1, *ids[2:]]
    again = job(tmp_path, tiny_model, "again", method="ngram", draft_length=K)
    measured(again, Local(NativeEngine(again)), lambda _: [replace(rows[0], token_ids=changed), *rows[1:]])
    gaps = [row.top2_gap for row in read(again).rows]
    assert gaps[0] > 0 and gaps[1:] == [None] * 5


@pytest.mark.slow
def test_an_adaptive_draft_of_few_tokens_gives_the_same_answers_and_says_what_it_was(made, tmp_path, tiny_model):
    """The draft is the target itself, so that only the vocabulary can keep a token from being accepted."""
    plain = made["plain"]
    cut = {"draft_length": "adaptive", "draft_vocabulary": 20, "draft_vocabulary_from": plain.path}
    cut["int8_draft"] = True
    own = job(tmp_path, tiny_model, "cut", method="draft_model", draft=str(tiny_model), **cut)
    measured(own, Local(NativeEngine(own)))
    found = read(own)
    assert [row.token_ids for row in found.rows] == [row.token_ids for row in plain.rows]
    kept = set(learn_from_files([plain.path], 20))
    assert len(kept) == 20 and {token for row in found.rows for draft in row.drafts for token in draft} <= kept
    info = found.info
    assert (info.adaptive, info.draft_length, info.draft_vocabulary) == (True, LONGEST_DRAFT, 20)
    assert info.draft_dtype == "int8"
    per_weight = {"float32": 4, "bfloat16": 2}[info.dtype]
    assert 0 < info.bytes_per_pass.draft * per_weight < info.bytes_per_pass.target, "of the head 20 rows are read"
    lengths = {len(draft) for row in found.rows for draft in row.drafts}
    assert max(lengths) <= LONGEST_DRAFT
    figures = speculation.speculation_metrics(found, seed=17)
    assert (figures.adaptive, figures.draft_vocabulary, figures.reason) == (True, 20, "the draft length adapts")
    assert figures.per_token_acceptance is figures.expected_tokens_per_step is None


@pytest.mark.slow
@pytest.mark.parametrize("length", [2, "adaptive"])
def test_sampled_answers_are_distributed_as_the_target_says(tmp_path, tiny_model, tiny_draft, length):
    sampled = {"temperature": 0.5, "samples": 2000, "concurrency": 500, "max_tokens": 4, "warmup": 0}
    drafting = {"method": "draft_model", "draft": str(tiny_draft), "draft_length": length}
    own = small_job(tmp_path, tiny_model, "sampled", questions=1, engine="native", **sampled, **drafting)
    check_distribution(own, Local(NativeEngine(own)))


def test_the_seed_decides_the_draws_and_each_sample_has_its_own(tmp_path, tiny_model):
    sampled = {"temperature": 1.0, "samples": 3, "mode": "baseline", "concurrency": 1, "max_tokens": 12}
    jobs = [job(tmp_path, tiny_model, name, **sampled, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    for each in jobs:
        generate.answer(each, Local(NativeEngine(each)))
    first, again, other = ([row.token_ids for row in read(each).rows] for each in jobs)
    assert first == again != other
    rows = read(jobs[0]).rows
    assert [row.id for row in rows] == [f"{id}#{sample}" for sample in (1, 2, 3) for id in IDS]
    assert len({tuple(row.token_ids) for row in rows if asked_id(row.id, 3) == "q0"}) == 3
    assert (read(jobs[0]).info.temperature, read(jobs[0]).info.samples) == (1.0, 3)


@pytest.mark.slow
def test_a_process_of_its_own_answers_as_this_one(made, tmp_path, tiny_model):
    own = job(tmp_path, tiny_model, "own", mode="baseline")
    with Host(own) as engine:
        measured(own, engine)
    assert [row.token_ids for row in read(own).rows] == [row.token_ids for row in made["plain"].rows]
    info = read(own).info
    assert (info.engine, info.version, info.kernel) == ("native", __version__, "compiled"), "needs a compiler"
