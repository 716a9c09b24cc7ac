"""The shortened pass of a training step has the logits and gradients of the plain one."""

import pytest
import torch

from doubledraft.models.inspect import load_model
from doubledraft.training.label_logits import label_logits, padded, shared_prefix, unpadded
from doubledraft.training.rows import IGNORED

PREFIX = [3, 4, 5, 6]
ROWS = [(PREFIX + [7, 8, 9], [IGNORED] * 5 + [8, 9]), (PREFIX + [9, 8, 7, 6, 5], [IGNORED] * 6 + [7, 6, 5])]


def gradients(model, logits, labels):
    model.zero_grad()
    torch.nn.functional.cross_entropy(logits, labels).backward()
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


def test_a_shared_beginning_changes_neither_logits_nor_gradients(tiny_model):
    model = load_model(tiny_model, dtype=torch.float32, attn_implementation="eager")
    batch = padded(ROWS, "cpu")
    plain = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    counts = batch["labels"][:, 1:] != IGNORED
    plain, labels = plain[:, :-1][counts], batch["labels"][:, 1:][counts]
    expected = gradients(model, plain, labels)
    for prefix in (0, len(PREFIX)):
        logits, found = label_logits(model, batch, prefix)
        assert found.equal(labels)
        torch.testing.assert_close(logits, plain, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(gradients(model, logits, labels), expected, rtol=1e-3, atol=1e-5)


def test_a_draft_vocabulary_leaves_its_logits_and_the_labels_among_them(tiny_model):
    model, batch = load_model(tiny_model, dtype=torch.float32), padded(ROWS, "cpu")
    whole, labels = label_logits(model, batch)
    allowed = torch.tensor([5, 7, 9])
    logits, places = label_logits(model, batch, len(PREFIX), allowed)
    counted = torch.isin(labels, allowed)
    assert labels.tolist() == [8, 9, 7, 6, 5] and allowed[places].equal(labels[counted])
    torch.testing.assert_close(logits, whole[counted][:, allowed], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (ROWS, len(PREFIX)),
        (ROWS[:1], 4),  # the last token of a prompt predicts the first label
        ([(ids[1:] + ids[:1], labels) for ids, labels in ROWS], 3),
    ],
)
def test_the_beginning_ends_before_what_predicts_a_label(rows, expected):
    assert shared_prefix([{"input_ids": ids, "labels": labels} for ids, labels in rows]) == expected


def test_a_batch_without_its_padding_is_its_rows():
    assert unpadded(padded(ROWS, "cpu")) == ROWS
