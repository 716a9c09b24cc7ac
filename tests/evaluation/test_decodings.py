"""Decoding records: what rows and audit tell of every token, and nothing that they do not tell."""

from dataclasses import replace

import pytest

from doubledraft.engine.draft_length import FixedLength
from doubledraft.engine.load import create_backend
from doubledraft.engine.proposers import DraftModel
from doubledraft.evaluation import decodings
from doubledraft.evaluation.arms import Arm, plain, time_in_turns
from doubledraft.evaluation.decodings import arm_lane, of_cell, of_timings, record, token_text, with_other_drafts
from doubledraft.inference import generate
from doubledraft.inference.host import Local
from doubledraft.inference.native_engine import NativeEngine
from doubledraft.inference.teacher_forcing import GivenAnswer, force
from doubledraft.models.inspect import load_tokenizer
from doubledraft.records import Generation, Question, RecordError, read_records, write_records
from doubledraft.summaries import json_file
from doubledraft.summaries.decoding_record import DecodingRecord
from doubledraft.summaries.run_file import RunFile
from tests.helpers.decodings import TEXTS, alone, audit, drafted
from tests.helpers.made_up import run_file
from tests.helpers.small_job import small_job
from tests.helpers.tiny_models import build_tokenizer

K = 3


@pytest.fixture(scope="module")
def cell(tmp_path_factory, tiny_model, tiny_draft):
    """Return the files of a cell that our engine answered, audit included."""
    folder = tmp_path_factory.mktemp("decodings")
    drafting = {"method": "draft_model", "draft": str(tiny_draft), "draft_length": K}
    jobs = [small_job(folder, tiny_model, "baseline", engine="native")]
    jobs.append(small_job(folder, tiny_model, "speculative", engine="native", **drafting))
    for job in jobs:
        generate.answer(job, Local(NativeEngine(job)))
    prompts = {one.id: one.token_ids for one in generate.encode_questions(jobs[0], load_tokenizer(tiny_model))}
    rows = read_records(jobs[0].out, Generation)
    audits = force(tiny_model, tiny_draft, [GivenAnswer(row.id, prompts[row.id], row.token_ids) for row in rows])
    write_records(folder / "audit.jsonl", audits)
    return {
        "questions": jobs[0].questions,
        "model": str(tiny_model),
        "generations": [job.out for job in jobs],
        "runs": [job.run_out for job in jobs],
        "audit": str(folder / "audit.jsonl"),
    }


def test_our_engine_tells_every_step_and_its_time(cell):
    for one in of_cell(**cell):
        plain_lane, lane = one.lanes
        assert [plain_lane.name, lane.name] == ["target alone", f"draft, K = {K}"]
        assert lane.token_ids == plain_lane.token_ids and lane.first_difference is None
        for each in one.lanes:
            assert sum(step.emitted for step in each.steps) == len(each.token_ids)
            assert all(step.seconds > 0 for step in each.steps)
            assert sum(step.seconds for step in each.steps) == pytest.approx(each.seconds)
        assert all(len(step.drafted) == step.proposed <= K for step in lane.steps)
        assert {str(token) for step in lane.steps for token in step.drafted} <= one.texts.keys()


def test_of_a_row_without_drafts_the_audit_tells_what_our_engine_really_drafted(cell):
    """As for vLLM, which does not report them."""
    audits = {row.id: row for row in read_records(cell["audit"], decodings.AuditedAnswer)}
    run = json_file.read(cell["runs"][1], RunFile)
    rejected = 0
    for row in read_records(cell["generations"][1], Generation):
        told = arm_lane(row, run, None).steps
        silent = replace(row, drafts=None, drafted=K * len(row.drafts))
        found_steps = arm_lane(silent, run, audits[row.id]).steps
        for true, found in zip(told[:-1], found_steps[:-1], strict=True):  # our engine drafts less near the limit
            assert found.drafted == true.drafted[: true.accepted + 1][: len(found.drafted)]
            kept = min(true.accepted, true.emitted)
            assert len(found.drafted) == kept + (true.accepted < true.proposed and true.emitted > true.accepted)
            rejected += len(found.drafted) > kept
        unaudited = arm_lane(silent, run, None).steps
        assert not any(step.drafted for step in unaudited), "nothing is made up without an audit"
    assert rejected > 5


def test_a_rejected_token_is_not_told_after_the_answers_part():
    run = replace(_run(), draft_length=2)
    row = _row([0, 9, 3, 3], accepted_per_step=[0, 0, 0], drafted=6, steps=4)
    audited = audit("q0", [0, 1, 2, 3], best=[0, 5, 6, 7])
    assert [step.drafted for step in arm_lane(row, run, audited).steps] == [[], [5], [], []]


def test_steps_are_null_where_they_cannot_be_laid_to_tokens():
    row = _row([0, 1, 2, 3], accepted_per_step=[1], drafted=2, steps=3)
    assert arm_lane(row, replace(_run(), method="ngram", draft_length=2), None).steps is None
    assert arm_lane(row, replace(_run(), draft_length=4), None).steps is None, "counts that do not fit K"
    found = arm_lane(row, replace(_run(), draft_length=2), None).steps
    assert [(step.proposed, step.emitted) for step in found] == [(0, 1), (2, 2), (0, 1)]


def test_tokens_that_the_end_cuts_off_are_not_emitted():
    row = _row([0, 1, 2], accepted_per_step=[4], drafted=5, steps=2, drafts=[[1, 2, 3, 3, 3]])
    [_, step] = arm_lane(row, replace(_run(), draft_length=5), None).steps
    assert (step.accepted, step.emitted) == (4, 2)


def test_a_difference_is_a_tie_up_to_what_rounding_does():
    other = replace(drafted([0, 9, *alone().token_ids[2:]]), margin=0.2)
    assert decodings.compared(other, alone(), "bfloat16").verdict == "tie"
    assert decodings.compared(other, alone(), "float32").verdict == "bug"
    assert decodings.compared(replace(other, margin=None), alone(), "float32").verdict is None
    assert decodings.compared(drafted(), alone(), "float32").first_difference is None


def test_experiments_have_a_lane_for_each_arm_the_baseline_first(tiny_model, tiny_draft):
    target, draft = (create_backend(model, "float32", "cpu") for model in (tiny_model, tiny_draft))
    arms = [plain(), *(Arm(f"near, K = {k}", DraftModel(draft), FixedLength(k)) for k in (1, 3))]
    questions = [Question(id=f"q{i}", scenario="s", split="test", question="?", answer="", steps=[]) for i in range(2)]
    timings = time_in_turns(target, arms, [[5, 9, 40], [8]], 12, repeats=2)
    found = of_timings(questions, timings, str, "float32")
    assert [[lane.name for lane in one.lanes] for one in found] == [["target alone", "near, K = 1", "near, K = 3"]] * 2
    for one in found:
        for lane in one.lanes:
            assert sum(step.emitted for step in lane.steps) == len(lane.token_ids) == 12
            assert lane.first_difference is None and all(step.seconds > 0 for step in lane.steps)


def test_records_are_read_again_as_they_were_written(cell, tmp_path):
    found = of_cell(**cell)
    write_records(tmp_path / "decoding.jsonl", found)
    assert read_records(tmp_path / "decoding.jsonl", DecodingRecord) == found


def test_other_drafts_must_have_read_the_same_answer():
    one = record("q0", "?", [alone(), drafted()], TEXTS.get, audit("q0"))
    [found] = with_other_drafts([one], {"better": [audit("q0", best=[99, *alone().token_ids[1:]])]}, None)
    assert found.other_drafts["better"][0] == 99 and found.texts["99"] == "#99 "
    with pytest.raises(RecordError, match="better: its audit of 'q0'"):
        with_other_drafts([one], {"better": [audit("q0", [0, 1], best=[0, 1])]}, None)


def test_pieces_of_a_character_are_shown_as_bytes():
    tokenizer = build_tokenizer()
    text_of = token_text(tokenizer)
    euro = tokenizer.encode("€", add_special_tokens=False)
    assert [text_of(token) for token in euro] == ["\\xe2", "\\x82", "\\xac"]
    assert "".join(map(text_of, tokenizer.encode("4 boxes\n", add_special_tokens=False))) == "4 boxes\n"
    assert text_of(tokenizer.eos_token_id) == "<|im_end|>"


def _run() -> RunFile:
    return RunFile(**run_file() | {"method": "draft_model", "provenance": None, "step_seconds": None})


def _row(ids: list[int], **changes: object) -> Generation:
    values = {"prompt_tokens": 5, "text": "", "finish_reason": "length", "batch": 0, "batch_seconds": 1.0}
    return Generation(id="q0", token_ids=ids, **values | changes)
