"""Three engines agree on tiny models, and one that does not is named.      about a minute: vLLM starts once"""

from dataclasses import fields
from pathlib import Path

import pytest

from doubledraft import machine
from doubledraft.evaluation import cross_check
from doubledraft.evaluation.cross_check import DisagreementError, _assisted, compare
from doubledraft.inference import generate
from doubledraft.inference.hugging_face import HuggingFacePair
from doubledraft.inference.job import EncodedQuestion, Job
from doubledraft.inference.native_engine import NativeEngine
from doubledraft.inference.tokenizing import stop_ids
from doubledraft.models.inspect import load_tokenizer
from doubledraft.records import Generation
from doubledraft.summaries import json_file
from doubledraft.summaries.cross_check import AnswerDifference, CrossCheck
from doubledraft.summaries.provenance import recorded
from tests.helpers.small_job import small_job

TOKENS = 40
ASKED = [EncodedQuestion("q1", [1, 2]), EncodedQuestion("q2", [3])]
ALONE = [[5, 6, 7, 8], [5, 9]]


def job(folder: Path, model: Path, draft: Path, length: int) -> Job:
    """Return a job over three questions, one at a time."""
    drafting = {"method": "draft_model", "draft": str(draft), "draft_length": length}
    return small_job(folder, model, "cross_check", questions=3, max_tokens=TOKENS, concurrency=1, **drafting)


def rows(*answers: list[int], steps: int = 2) -> list[Generation]:
    """Return an engine's answers to the two questions."""
    return [
        Generation(
            id=question.id, prompt_tokens=2, token_ids=ids, text="", finish_reason="stop", batch=0, batch_seconds=0.0,
            steps=steps,
        )
        for question, ids in zip(ASKED, answers, strict=True)
    ]  # fmt: skip


def never(text) -> list:
    raise AssertionError("nothing differs, so the target need not be asked")


@pytest.mark.slow
@pytest.mark.parametrize("length", [1, 4])
def test_ours_takes_the_steps_of_hugging_face_s_assisted_generation(tmp_path, tiny_model, tiny_draft, length: int):
    asked_for = job(tmp_path, tiny_model, tiny_draft, length)
    tokenizer = load_tokenizer(tiny_model)
    asked = generate.encode_questions(asked_for, tokenizer)
    ours = NativeEngine(asked_for)
    middle = ours.answer(asked)[0].token_ids[TOKENS // 2]
    for stops in (stop_ids(tiny_model, tokenizer), {middle}):  # answers that end at the limit, and inside
        ours._stop_ids = stops
        peer = HuggingFacePair(tiny_model, tiny_draft, dtype="float32", device=machine.device(), stop_ids=stops)
        for question, row in zip(asked[:2], ours.answer(asked[:2]), strict=True):
            alone = peer.generate(question.token_ids, TOKENS)
            assisted = _assisted(peer, asked_for, question, alone[0], stops)
            assert assisted.token_ids == row.token_ids == alone
            assert (assisted.steps, assisted.finish_reason) == (row.steps, row.finish_reason)
            assert row.drafted > row.accepted, "nothing was refused, so nothing was tested"


@pytest.mark.slow
def test_three_engines_agree(tmp_path, tiny_model, tiny_draft):
    cross_check.run(job(tmp_path, tiny_model, tiny_draft, 3), {"seed": 17}, out=str(tmp_path / "check.json"))
    found = json_file.read(tmp_path / "check.json", CrossCheck)
    assert [name.split()[0] for name in found.engines] == ["native", "vllm", "transformers"]
    assert found.provenance.seed == 17
    assert found.identical and found.bugs == found.ties == 0
    assert found.tokens_per_step.spread == 0, "in float32, on the same questions, every step should be the same"
    assert all(engine.emitted > engine.steps for engine in found.engines.values()), "nothing was accepted"


def test_engines_that_emit_the_same_in_as_many_steps_agree():
    found = compare(ASKED, ALONE, {"one": rows(*ALONE), "other": rows(*ALONE)}, never)
    assert found.identical and found.tokens_per_step.agree
    assert found.engines["one"].tokens_per_step == 6 / 4


def test_an_engine_that_takes_more_steps_is_seen():
    slower = [rows(*ALONE)[0], *rows(*ALONE, steps=3)[1:]]
    found = compare(ASKED, ALONE, {"one": rows(*ALONE), "other": slower}, never)
    assert found.identical, "its answers are right"
    assert found.tokens_per_step.spread == pytest.approx(0.25) and not found.tokens_per_step.agree


def test_a_wrong_token_is_named_with_its_place_and_gap():
    def best_two(text):
        assert text == [1, 2, 5, 6], "the question and what both had said"
        return [(7, 3.5), (4, 1.0)]

    found = compare(ASKED, ALONE, {"one": rows([5, 6, 4, 8], [5, 9])}, best_two)
    assert (found.identical, found.bugs, found.ties) == (False, 1, 0)
    assert found.engines["one"].identical_rate.value == 0.5
    assert found.engines["one"].differences == [
        AnswerDifference(id="q1", position=2, expected=7, found=4, top2_gap=2.5, verdict="bug")
    ]


@pytest.mark.parametrize(
    ("found", "gap", "verdict"), [(4, 0.0002, "tie"), (4, 0.01, "bug"), (3, 0.0002, "bug")], ids=str
)
def test_a_tie_is_one_of_the_two_best_tokens_nearly_as_good(found: int, gap: float, verdict: str):
    (difference,) = (
        compare(ASKED, ALONE, {"one": rows([5, 6, found, 8], [5, 9])}, lambda text: [(7, 1.0), (4, 1.0 - gap)])
        .engines["one"]
        .differences
    )
    assert difference.verdict == verdict


def test_an_answer_that_ends_elsewhere_is_a_bug_without_a_gap():
    (difference,) = compare(ASKED, ALONE, {"one": rows(ALONE[0], [5])}, never).engines["one"].differences
    assert difference == AnswerDifference(id="q2", position=1, expected=9, found=None, top2_gap=None, verdict="bug")


def checked(engines: dict[str, list[Generation]]) -> CrossCheck:
    compared = compare(ASKED, ALONE, engines, lambda text: [(7, 3.5), (4, 1.0)])
    return CrossCheck(**{field.name: getattr(compared, field.name) for field in fields(compared)}, n=2, settings={},
                      provenance=recorded())  # fmt: skip


def test_engines_that_agree_are_written_and_a_failure_of_before_is_gone(tmp_path):
    out = tmp_path / "cross_check.json"
    cross_check.failed_path(out).write_text("{}")
    cross_check.write(checked({"one": rows(*ALONE), "other": rows(*ALONE)}), out)
    assert json_file.read(out, CrossCheck).n == 2 and not cross_check.failed_path(out).exists()


@pytest.mark.parametrize(
    ("engines", "said"),
    [
        ({"one": rows([5, 6, 4, 8], [5, 9])}, "1 answers differ"),
        ({"one": rows(*ALONE), "other": rows(*ALONE, steps=3)}, "50.00 % apart, where 2 % is allowed"),
    ],
)
def test_a_bug_or_too_large_a_disagreement_fails_the_job_and_is_kept(tmp_path, engines, said):
    out = tmp_path / "cross_check.json"
    with pytest.raises(DisagreementError, match=said):
        cross_check.write(checked(engines), out)
    assert not out.exists() and json_file.read(cross_check.failed_path(out), CrossCheck).n == 2
