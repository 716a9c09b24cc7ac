"""One pass of both models over an answer tells what decoding with the draft would do, token by token."""

import json
import math
import shutil
from dataclasses import fields

import pytest

from doubledraft.engine.decode import decode, speculative_decode
from doubledraft.engine.load import create_backend
from doubledraft.inference.teacher_forcing import GivenAnswer, force, simulated_steps, simulated_tokens_per_step
from doubledraft.models.folder import DRAFT_VOCABULARY, ModelError
from doubledraft.models.prune import prune
from doubledraft.records import read_records, write_records
from doubledraft.summaries.draft_audit import AuditedAnswer
from tests.helpers.tiny_models import build_model

PROMPTS = [[5, 9, 12], [40, 41, 42, 43, 44, 45, 46], [7]]
TOKENS = 60


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Make a target, and a draft that is its first layer, which agrees with it now and then."""
    folder = tmp_path_factory.mktemp("models")
    target = build_model(folder / "target", seed=3)
    prune(target, [0], folder / "draft")
    return target, folder / "draft"


@pytest.fixture(scope="module")
def backends(models):
    return [create_backend(folder, "float32", "cpu") for folder in models]


@pytest.fixture(scope="module")
def answers(backends):
    ids, _ = decode(backends[0], PROMPTS, TOKENS)
    return [GivenAnswer(f"q{at}", prompt, answer) for at, (prompt, answer) in enumerate(zip(PROMPTS, ids, strict=True))]


@pytest.fixture(scope="module")
def audited(models, answers):
    return force(*models, answers)


def test_the_target_would_have_said_its_own_answer(audited, answers):
    for one, (id, _, token_ids) in zip(audited, answers, strict=True):
        assert (one.id, one.token_ids) == (id, token_ids)
        assert one.target_best == token_ids


@pytest.mark.parametrize("length", [1, 2, 5, 16])
def test_the_replay_takes_the_steps_of_real_decoding(audited, answers, backends, length):
    target, draft = backends
    _, metrics = speculative_decode(target, draft, PROMPTS, TOKENS, draft_length=length)
    for one, real in zip(audited, metrics.answers, strict=True):
        accepted = [step.accepted for step in real.steps]
        assert simulated_steps(one.agreed, length)[:-1] == accepted[:-1]  # the last draft of the engine is shorter
        assert simulated_tokens_per_step(one.agreed, length) == len(real.token_ids) / (1 + len(accepted))
    assert 0 < sum(sum(one.agreed) for one in audited) < TOKENS * len(PROMPTS)


def test_columns_hold_one_entry_per_token_and_survive_the_file(audited, tmp_path):
    for one in audited:
        columns = [field.name for field in fields(one) if field.name not in ("id", "draft_text")]
        assert {len(getattr(one, name)) for name in columns} == {TOKENS}
    write_records(tmp_path / "audit.jsonl", audited)
    assert read_records(tmp_path / "audit.jsonl", AuditedAnswer) == audited


def test_probabilities_are_those_of_the_models(audited, answers, models):
    import torch
    from transformers import AutoModelForCausalLM

    one, (_, prompt, token_ids) = audited[1], answers[1]
    rows = []
    for folder in models:
        with torch.inference_mode():
            logits = AutoModelForCausalLM.from_pretrained(folder)(torch.tensor([prompt + token_ids])).logits[0]
        rows.append(logits[len(prompt) - 1 : -1].double().softmax(-1))
    p, q = rows
    emitted = torch.tensor(token_ids).unsqueeze(1)
    assert one.p == pytest.approx(p.gather(1, emitted).squeeze(1).tolist(), abs=1e-5)
    assert one.q == pytest.approx(q.gather(1, emitted).squeeze(1).tolist(), abs=1e-5)
    assert one.overlap == pytest.approx((1 - 0.5 * (p - q).abs().sum(-1)).tolist(), abs=1e-5)  # 1 - TV
    assert one.draft_entropy == pytest.approx((-(q * q.log()).sum(-1)).tolist(), abs=1e-4)
    assert [place[0][0] for place in one.target_top] == one.target_best
    assert all(len(place) == 5 for place in one.draft_top)


def test_a_draft_with_fewer_rows_gives_nothing_to_the_tokens_it_lacks(models, answers, tmp_path):
    padded = build_model(tmp_path / "padded", rows=400, seed=3)
    draft = build_model(tmp_path / "draft", layers=1)
    [one] = force(padded, draft, [GivenAnswer("q", [5, 9], [10, 399, 11])])
    assert one.q[1] == 0 and one.p[1] > 0
    assert all(math.isfinite(value) for value in one.overlap)


def test_a_draft_says_only_tokens_that_its_folder_lists(models, answers, tmp_path):
    draft = shutil.copytree(models[1], tmp_path / "draft")
    (draft / DRAFT_VOCABULARY).write_text(json.dumps({"token_ids": [7, 50]}))
    found = force(models[0], draft, answers)
    assert {token for one in found for token in one.draft_best} <= {7, 50}
    assert [one.target_best for one in found] == [token_ids for _, _, token_ids in answers]


def test_damaged_weights_are_named(models, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(models[1])
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(models[1]).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=rf"{tmp_path}: logits are NaN or infinite in the answer to 'q'"):
        force(models[0], tmp_path, [GivenAnswer("q", [5], [6, 7])])


def test_batches_by_memory_change_nothing(models, answers, audited, monkeypatch):
    monkeypatch.setattr("doubledraft.inference.teacher_forcing.BATCH_BYTES", 1)
    for one, other in zip(force(*models, answers), audited, strict=True):
        assert one.draft_best == other.draft_best
        assert one.p == pytest.approx(other.p, abs=1e-5)


@pytest.mark.parametrize(
    ("agreed", "length", "accepted"),
    [
        ([True], 3, []),  # the prompt's pass emits the only token
        ([False, True, True, True], 2, [2]),
        ([True, False, False, False], 4, [0, 0, 0]),
        ([True] * 9, 3, [3, 3]),
        ([True] * 6, 3, [3, 1]),  # the draft ends where the answer does
    ],
)
def test_replay_by_hand(agreed, length, accepted):
    assert simulated_steps(agreed, length) == accepted
    assert simulated_tokens_per_step(agreed, length) == len(agreed) / (1 + len(accepted))
