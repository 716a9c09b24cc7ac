"""Two models and text in Python: the lines of docs/python.md, as they stand there, on tiny models."""

import json
import re
from pathlib import Path

import pytest

from doubledraft.engine.decode import decode
from doubledraft.engine.load import create_backend
from doubledraft.engine.proposers import NGram
from doubledraft.engine.sampling import Sampling
from doubledraft.inference.load_pair import OptionError, Pair, load_pair
from doubledraft.inference.tokenizing import prompt_ids, stop_ids
from doubledraft.models.inspect import load_tokenizer
from doubledraft.models.merge import merge
from doubledraft.records import RecordError
from tests.helpers.tiny_models import build_adapter

PAGE = Path(__file__).parents[2] / "docs" / "python.md"
QUESTION = "Nina has 4 boxes with 6 pencils each."


@pytest.fixture(scope="module")
def pair(tiny_model, tiny_draft) -> Pair:
    return load_pair(tiny_model, tiny_draft, dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def alone(tiny_model) -> list[int]:
    """Return the target's own tokens."""
    target, tokenizer = create_backend(tiny_model, "float32", "cpu"), load_tokenizer(tiny_model)
    asked = prompt_ids(tokenizer, [{"role": "user", "content": QUESTION}])
    [ids], _ = decode(target, [asked], 24, stop_ids=stop_ids(tiny_model, tokenizer))
    return ids


def test_the_lines_of_the_page_run_and_are_at_most_eight(tiny_model, tiny_draft, tmp_path, monkeypatch, capsys):
    code, *_ = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(code.splitlines()) <= 8
    for name, model in (("target", tiny_model), ("draft", tiny_draft)):
        folder = tmp_path / "results" / "cod_hard" / f"{name}_merged"
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.symlink_to(model)
    monkeypatch.chdir(tmp_path)
    values = {}
    exec(code, values)
    answer, shown = values["answer"], capsys.readouterr().out
    assert shown == f"{answer.text}\n{answer.acceptance_rate} {answer.tokens_per_second}\n"
    assert 0 < answer.acceptance_rate <= 1 and answer.tokens_per_second > 0 and answer.text


@pytest.mark.parametrize("length", [1, 4, "adaptive"])
def test_the_answer_is_the_targets_own(pair, alone, length: int | str):
    answer = pair.answer(QUESTION, 24, draft_length=length)
    assert answer.metrics.answers[0].token_ids == alone
    assert answer.text == pair.text(alone)
    assert 0 < answer.acceptance_rate < 1
    assert answer.tokens_per_second == len(alone) / answer.metrics.seconds


def test_without_a_draft_nothing_is_accepted_and_n_grams_may_draft(tiny_model, alone):
    for draft in (None, NGram(fewest=1)):
        answer = load_pair(tiny_model, draft, dtype="float32", device="cpu").answer(QUESTION, 24)
        assert answer.metrics.answers[0].token_ids == alone
        assert (answer.acceptance_rate is None) == (draft is None)


def test_draws_repeat_with_their_seed(pair):
    def text(seed: int) -> str:
        return pair.answer(QUESTION, 24, sampling=Sampling(temperature=1.0), seed=seed).text

    assert text(1) == text(1) != text(2)


def test_an_empty_question_is_refused(pair):
    with pytest.raises(OptionError, match="the prompt is empty"):
        pair.answer("  ")


def test_a_draft_proposes_the_tokens_that_its_adapter_learnt_to_choose_among(tiny_model, tiny_draft, alone, tmp_path):
    adapter, draft = build_adapter(tiny_draft, tmp_path / "adapter", seed=1), tmp_path / "draft"
    listed = sorted({0, *alone})
    (adapter / "draft_vocabulary.json").write_text(json.dumps({"token_ids": listed}))
    merge(tiny_draft, adapter, draft, dtype="float32", prompts=[[{"role": "user", "content": "How?"}]])
    pair = load_pair(tiny_model, draft, dtype="float32", device="cpu")
    assert pair.proposer.draft.allowed_tokens.tolist() == listed
    assert pair.answer(QUESTION, 24).metrics.answers[0].token_ids == alone
    (draft / "draft_vocabulary.json").write_text(json.dumps({"token_ids": "0"}))
    with pytest.raises(RecordError, match=r"draft_vocabulary.json.*token_ids"):
        load_pair(tiny_model, draft, dtype="float32", device="cpu")
