"""What the trainers of this project change in TRL's."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from doubledraft.models.inspect import load_model, load_tokenizer
from doubledraft.summaries.training_summary import TrainingSettings
from doubledraft.training.label_logits import label_logits, padded
from doubledraft.training.rows import IGNORED, encode_all
from doubledraft.training.trainer import arguments_for, supervised_trainer
from tests.helpers.training_runs import ROWS, SETTINGS


@pytest.mark.slow
@pytest.mark.parametrize("left_out", [0, 1])
def test_the_loss_of_a_step_is_over_the_tokens_that_a_draft_may_propose(tiny_draft, tmp_path, left_out):
    tokenizer, model = load_tokenizer(tiny_draft), load_model(tiny_draft, dtype=torch.float32)
    rows, _ = encode_all(tokenizer, ROWS[:4], 256)
    labels = [label for row in rows for label in row["labels"] if label != IGNORED]
    allowed = sorted(set(labels))[left_out:]
    batch = padded([(row["input_ids"], row["labels"]) for row in rows], "cpu")
    with torch.no_grad():
        expected = cross_entropy(*label_logits(model, batch, 0, torch.tensor(allowed)), reduction="sum") / len(labels)
        whole = cross_entropy(*label_logits(model, batch), reduction="sum") / len(labels)
    settings = TrainingSettings(base="draft", start="base", **SETTINGS | {"epochs": 1})
    arguments = arguments_for(tmp_path, settings, "float32", len(rows))
    trainer = supervised_trainer(model, tokenizer, rows, arguments, allowed)
    trainer.train()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(expected.item(), rel=1e-4)
    assert expected < whole
