"""The answers that a domain's draft learns from."""

import pytest

from doubledraft.models.folder import ModelError
from doubledraft.records import Question, write_records
from doubledraft.routing.domain_drafts import answer


def test_a_prompt_that_does_not_fit_is_named_before_any_is_answered(tiny_model, tmp_path):
    fields = {"scenario": "chat", "split": "train", "answer": "", "steps": []}
    texts = {"chat-train-0001": "How?", "chat-train-0002": "0123456789" * 110}
    asked = [Question(id=id, question=text, **fields) for id, text in texts.items()]
    write_records(tmp_path / "asked.jsonl", asked)
    with pytest.raises(ModelError, match=r"prompt chat-train-0002 has \d+ tokens, .* 1024 positions of .*'012345"):
        answer(
            model=tiny_model,
            questions=tmp_path / "asked.jsonl",
            out=tmp_path / "answers.jsonl",
            progress=tmp_path / "progress.jsonl",
            max_tokens=8,
            concurrency=4,
            dtype="float32",
        )
    assert [file.name for file in tmp_path.iterdir()] == ["asked.jsonl"]
