"""A draft learns from its target's distributions, along the target's text and along its own."""

import pytest
import torch

from doubledraft.engine.draft_vocabulary import learn
from doubledraft.models.inspect import load_model, load_tokenizer
from doubledraft.summaries.training_summary import TrainingSettings
from doubledraft.training.knowledge_distillation import Teacher, collated, distillation_trainer, mean_loss, positions
from doubledraft.training.label_logits import padded
from doubledraft.training.rows import IGNORED, encode_all
from doubledraft.training.trainer import arguments_for
from tests.helpers.training_runs import ROWS, SETTINGS

SHORT = [([3, 4, 5, 6], [IGNORED, IGNORED, 5, 6]), ([3, 4, 7, 8, 9], [IGNORED, IGNORED, IGNORED, 8, 9])]


def test_logits_made_from_kept_states_are_those_of_a_plain_pass(tiny_model):
    teacher = Teacher(tiny_model, "float32")
    batch = padded(SHORT, "cpu")
    with torch.no_grad():
        plain = teacher.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    expected = plain[:, :-1][batch["labels"][:, 1:] != IGNORED]
    torch.testing.assert_close(teacher.logits(SHORT), expected, rtol=1e-4, atol=1e-4)
    teacher.forget_layers()
    torch.testing.assert_close(teacher.logits(SHORT[::-1]), torch.cat((expected[2:], expected[:2])))


def test_rows_that_come_once_are_not_kept(tiny_model):
    teacher = Teacher(tiny_model, "float32")
    teacher.logits(SHORT, keep=False)
    teacher.forget_layers()
    with pytest.raises(TypeError):
        teacher.logits(SHORT)


def test_a_batch_has_its_prompts_padded_on_the_left():
    batch = collated([{"input_ids": ids, "labels": labels} for ids, labels in SHORT], pad=0)
    assert batch["prompts"].tolist() == [[0, 3, 4], [3, 4, 7]]
    assert batch["prompt_attention_mask"].tolist() == [[0, 1, 1], [1, 1, 1]]
    assert positions(SHORT, "cpu").tolist() == [0, 1, 0, 1]


def test_weights_shift_the_loss_to_their_tokens():
    draft, target = torch.zeros(2, 3), torch.tensor([[9.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    tokens = torch.tensor([0, 0])
    plain = mean_loss(draft, target, tokens, torch.tensor([0, 1]), "tv", "none")
    assert plain.item() == pytest.approx(1 / 3, abs=1e-3), "2/3 at the first token, 0 at the second"
    late = mean_loss(draft, target, tokens, torch.tensor([5, 0]), "tv", "decay")
    assert late < plain < mean_loss(draft, target, tokens, torch.tensor([0, 1]), "tv", "decay")


@pytest.mark.parametrize("weights", ["none", "cat", "top"])
def test_a_batch_without_a_token_of_the_draft_vocabulary_changes_nothing(weights):
    draft, none = torch.zeros(0, 3, requires_grad=True), torch.zeros(0, dtype=torch.long)
    loss = mean_loss(draft, torch.zeros(0, 3), none, none, "kl", weights)
    loss.backward()
    assert loss.item() == 0 and draft.grad.shape == (0, 3)


@pytest.mark.slow
@pytest.mark.parametrize(("lmbda", "tokens"), [(0.0, None), (1.0, None), (0.0, 40)])
def test_a_draft_comes_nearer_to_its_target(tiny_model, tiny_draft, tmp_path, lmbda, tokens):
    tokenizer = load_tokenizer(tiny_draft)
    rows, _ = encode_all(tokenizer, ROWS, 256)
    settings = TrainingSettings(base="draft", start="base", **SETTINGS | {"learning_rate": 2e-3, "epochs": 6})
    more = {"lmbda": lmbda, "temperature": 1.0, "max_new_tokens": 12}
    arguments = arguments_for(tmp_path, settings, "float32", len(rows), **more)
    draft, teacher = load_model(tiny_draft, dtype=torch.float32), Teacher(tiny_model, "float32")
    allowed = (
        learn(([label for label in row["labels"] if label != IGNORED] for row in rows), tokens) if tokens else None
    )
    trainer = distillation_trainer(
        draft, teacher, tokenizer, rows, arguments, loss="kl", weights="none", allowed=allowed
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert sum(losses[-4:]) < 0.95 * sum(losses[:4]), losses
