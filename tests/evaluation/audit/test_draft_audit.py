"""The audit of a draft agrees with the engine that served it, and with what is computed by hand."""

import json
import shutil
from dataclasses import asdict, replace

import pytest

from doubledraft.evaluation.audit import draft_audit
from doubledraft.evaluation.audit.replay import acceptance, simulate
from doubledraft.evaluation.runs import ComparisonError
from doubledraft.inference.host import Local
from doubledraft.inference.native_engine import NativeEngine
from doubledraft.models.folder import DRAFT_VOCABULARY
from doubledraft.models.inspect import load_tokenizer
from doubledraft.models.merge import merged
from doubledraft.records import Generation, read_records, write_records
from doubledraft.summaries import json_file
from doubledraft.summaries.draft_audit import AuditedAnswer, DraftAudit
from tests.helpers.small_job import measured, small_job
from tests.helpers.tiny_models import build_adapter, build_model

K = 3
RULE = {"min_steps": 1, "max_steps": 5, "max_words": 5}
SETTINGS = {"seed": 17}


def answer(id: str, target: list[int], draft: list[int], overlap: float = 0.5) -> AuditedAnswer:
    """Return an audited answer whose tokens are the target's best."""
    n, places = len(target), [[[1, 0.5]]] * len(target)
    return AuditedAnswer(
        id=id,
        token_ids=target,
        target_best=target,
        draft_best=draft,
        p=[1.0] * n,
        q=[0.5] * n,
        overlap=[overlap] * n,
        target_entropy=[0.25] * n,
        draft_entropy=[0.75] * n,
        target_top=places,
        draft_top=places,
    )


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    """Serve a tiny pair natively, adapters merged, and audit it; return the arguments of the audit and its outputs."""
    folder = tmp_path_factory.mktemp("cell")
    models = {}
    for role, seed in (("target", 1), ("draft", 2)):
        base = build_model(folder / role)  # the same base, so that they agree now and then
        adapter = build_adapter(base, folder / f"{role}_adapter", seed=seed)
        merged(base, adapter, dtype="float32").save_pretrained(folder / f"{role}_merged")
        load_tokenizer(base).save_pretrained(folder / f"{role}_merged")
        models[role] = (str(base), str(adapter))
    drafting = {"method": "draft_model", "draft": str(folder / "draft_merged"), "draft_length": K}
    job = small_job(folder, folder / "target_merged", "speculative", engine="native", max_tokens=40, **drafting)
    measured(job, Local(NativeEngine(job)))
    arguments = {
        "questions": job.questions,
        "generations": job.out,
        "run": job.run_out,
        "prompt": job.prompt,
        **models,
        "dtype": "float32",
        "rule": RULE,
        "max_tokens": 20,
        "settings": SETTINGS,
        "out_audit": str(folder / "draft_audit.json"),
        "out_answers": str(folder / "draft_audit.jsonl"),
    }
    draft_audit.audit(**arguments)
    return arguments, json_file.read(arguments["out_audit"], DraftAudit)


@pytest.mark.slow
def test_the_replay_gives_the_tokens_per_step_that_the_engine_served(cell):
    arguments, audit = cell
    rows = read_records(arguments["generations"], Generation)
    served = sum(len(row.token_ids) for row in rows) / sum(row.steps for row in rows)
    assert audit.against_served.simulated == audit.against_served.served == served
    assert audit.against_served.agrees
    assert audit.simulated[K - 1].tokens_per_step.value == served
    assert 1 < served < K + 1  # neither always nor never accepted


@pytest.mark.slow
def test_each_question_has_a_line_with_the_text_of_the_draft_alone(cell):
    arguments, audit = cell
    answers = read_records(arguments["out_answers"], AuditedAnswer)
    rows = read_records(arguments["generations"], Generation)
    assert [(one.id, one.token_ids) for one in answers] == [(row.id, row.token_ids) for row in rows]
    assert all(one.draft_text for one in answers)
    assert audit.own_text.n == audit.n == len(rows)
    assert audit.own_text.compliance is not None and audit.own_text.tokens.value <= 20


@pytest.mark.slow
def test_a_draft_that_learnt_to_choose_among_some_tokens_reads_and_writes_no_others(cell, tmp_path):
    arguments, _ = cell
    base, adapter = arguments["draft"]
    adapter = shutil.copytree(adapter, tmp_path / "adapter")
    (adapter / DRAFT_VOCABULARY).write_text(json.dumps({"token_ids": [50]}))
    changed = {"out_audit": str(tmp_path / "audit.json"), "out_answers": str(tmp_path / "out.jsonl")}
    draft_audit.audit(**arguments | changed | {"draft": (base, str(adapter))})
    answers = read_records(changed["out_answers"], AuditedAnswer)
    assert {token for one in answers for token in one.draft_best} == {50}
    assert {one.draft_text for one in answers} == {load_tokenizer(base).decode([50] * arguments["max_tokens"])}


@pytest.mark.slow
def test_a_served_run_that_accepted_otherwise_is_flagged(cell):
    arguments, _ = cell
    rows = read_records(arguments["generations"], Generation)
    answers = read_records(arguments["out_answers"], AuditedAnswer)
    always = [
        AuditedAnswer(**asdict(one) | {"draft_best": one.token_ids}) for one in answers
    ]  # a draft that is not the one that was served
    info = json_file.read(arguments["run"], draft_audit.RunFile)
    found = draft_audit.against_served(always, rows, info)
    assert not found.agrees and found.difference > 0.02


@pytest.mark.slow
def test_greedy_speculation_is_not_replayed_along_sampled_answers(cell, tmp_path):
    """Every row of a question of several samples finds its question."""
    arguments, greedy = cell
    info = json_file.read(arguments["run"], draft_audit.RunFile)
    json_file.write(tmp_path / "run.json", replace(info, temperature=0.7, samples=2))
    rows = read_records(arguments["generations"], Generation)[:2]
    write_records(tmp_path / "rows.jsonl", [replace(row, id=f"{row.id}#2") for row in rows])
    changed = {"run": "run.json", "generations": "rows.jsonl", "out_audit": "audit.json", "out_answers": "out.jsonl"}
    draft_audit.audit(**arguments | {name: str(tmp_path / file) for name, file in changed.items()})
    found = json_file.read(tmp_path / "audit.json", DraftAudit)
    assert found.n == 2 and found.simulated is found.against_served is None and "sampled" in found.simulated_reason
    assert found.overlap and greedy.simulated_reason is None


@pytest.mark.slow
def test_answers_to_another_prompt_are_refused(cell, tmp_path):
    arguments, _ = cell
    (tmp_path / "prompt.yaml").write_text("system: Another system message than the one it had.\nshots: []\n")
    with pytest.raises(ComparisonError, match=r"the prompt of 'q0' had \d+ tokens, and with .*prompt.yaml"):
        draft_audit.audit(**arguments | {"prompt": str(tmp_path / "prompt.yaml")})


@pytest.mark.slow
def test_an_answer_to_no_question_is_refused(cell, tmp_path):
    arguments, _ = cell
    write_records(tmp_path / "questions.jsonl", read_records(arguments["questions"], draft_audit.Question)[1:])
    with pytest.raises(ComparisonError, match="'q0' is not among the questions"):
        draft_audit.audit(**arguments | {"questions": str(tmp_path / "questions.jsonl")})


def test_shares_by_position_by_hand():
    # first token free; agreed from the second on: right right wrong | right wrong | right (the answer ends)
    one = answer("q", [9, 1, 2, 3, 4, 5, 6], [0, 1, 2, 0, 4, 0, 6])
    found = simulate([one], 2, seed=1)
    # drafts: (1, 2) both accepted, 3 emitted; (4, 5) one accepted, 5 emitted; (6) accepted
    assert found.tokens_per_step.value == 7 / 4
    assert found.acceptance_rate.value == 4 / 5
    assert found.joint == [1.0, 0.5]
    assert found.conditional == [1.0, 0.5]
    longer = simulate([one], 4, seed=1)
    # drafts: (1, 2, 3, 4) two accepted; (4, 5, 6) one accepted; (6) accepted
    assert longer.joint == [1.0, 0.5, 0.0, 0.0]
    assert longer.conditional == [1.0, 0.5, 0.0, None]


def test_totals_weigh_answers_by_their_tokens(tiny_model):
    tokenizer = load_tokenizer(tiny_model)
    short, long = answer("a", [2], [0], overlap=0.2), answer("b", [2] * 3, [2] * 3, overlap=0.6)
    found = acceptance([short, long], tokenizer, {2}, seed=1)
    assert found.agreement.value == 3 / 4
    assert found.overlap.value == pytest.approx((0.2 + 3 * 0.6) / 4)
    assert found.token_classes.keys() == {"end of answer"} and found.token_classes["end of answer"].tokens == 4
    assert [one.draft_length for one in found.simulated] == list(range(1, 17))
