"""Distillation from the target's distributions: TRL's GKD trainer with the losses of `losses.py`.

GKD (Agarwal et al. 2023, arXiv:2306.13649) trains on fixed text, here the target's own answers, or on what the draft
generates, for a share `lmbda` of the batches. Under greedy decoding only the target's text is ever drafted from.

The target reads a row once in the whole training. What is kept are its last hidden states where a label counts: the
output head makes the exact logits of them again, at a cost of size instead of vocabulary numbers a token (for
SmolLM2-135M 576 instead of 49,152), so that no cache of the likeliest tokens, with its remainder, is needed. Rows are
read one by one, without padding, so that a training that is resumed computes the same bits.
"""

from collections.abc import Sequence
from pathlib import Path

from doubledraft import machine
from doubledraft.models.inspect import load_model
from doubledraft.models.safety import refuse_unsafe
from doubledraft.training import losses
from doubledraft.training.label_logits import (
    Row,
    first_label,
    label_logits,
    label_states,
    padded,
    shared_prefix,
    unpadded,
)
from doubledraft.training.rows import IGNORED


class Teacher:
    """The target, as a source of logits for the rows that a draft is trained and judged on."""

    def __init__(self, folder: str | Path, dtype: str) -> None:
        """Load the merged target; raise ModelError where it is unsafe or incomplete."""
        import torch

        refuse_unsafe(folder)
        self.model = load_model(folder, dtype=getattr(torch, dtype)).to(machine.device()).eval()
        self._states: dict[tuple[int, ...], torch.Tensor] = {}

    def logits(self, rows: Sequence[Row], *, keep: bool = True):
        """Return the target's logits [labels, vocabulary] at all labels of the rows, in order, in float32.

        `keep` is for rows that will come again.
        """
        import torch

        with torch.no_grad():
            states = torch.cat([self._read(row, keep) for row in rows])
            return self.model.get_output_embeddings()(states.to(self.model.device)).float()

    def forget_layers(self) -> None:
        """Free the layers; from now on only rows whose hidden states were kept have logits."""
        self.model.model.layers = None

    def _read(self, row: Row, keep: bool):
        key = tuple(row[0])
        if (states := self._states.get(key)) is None:
            states = label_states(self.model, padded([row], self.model.device))[0].cpu()
            if keep:
                self._states[key] = states
        return states


def distillation_trainer(
    model,
    teacher: Teacher,
    tokenizer,
    rows: Sequence[dict],
    arguments,
    *,
    loss: str,
    weights: str,
    allowed: Sequence[int] | None,
):
    """Return the trainer of a draft `model` on encoded rows, with a loss and weights named in `losses.py`.

    Both distributions are over the `allowed` tokens, ascending; None for all.
    """
    import torch
    from datasets import Dataset
    from trl.experimental.gkd import GKDTrainer

    row_ids = {tuple(row["input_ids"]) for row in rows}
    prefix = 0 if torch.cuda.is_available() else shared_prefix(rows)
    allowed_ids = None if allowed is None else torch.tensor(allowed, device=machine.device())

    class DraftTrainer(GKDTrainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            batch = unpadded(inputs)  # what was generated is padded on the left
            with self.accelerator.autocast():
                draft, tokens = label_logits(model, padded(batch, model.device), prefix, allowed_ids)
            target = teacher.logits(batch, keep=row_ids.issuperset(tuple(ids) for ids, _ in batch))
            position = positions(batch, draft.device)
            if allowed_ids is not None:
                counted = torch.isin(label_tokens(batch, draft.device), allowed_ids)
                target, position = target[counted][:, allowed_ids], position[counted]
            return mean_loss(draft.float(), target, tokens, position, loss, weights)

    trainer = DraftTrainer(
        model=model,
        teacher_model=teacher.model,
        processing_class=tokenizer,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        data_collator=lambda examples: collated(examples, tokenizer.pad_token_id),
    )
    trainer.model_accepts_loss_kwargs = False  # the mean of a batch; TRL divides it by the batches of a step
    return trainer


def mean_loss(draft, target, tokens, position, loss: str, weights: str):
    """Return the mean over tokens of a loss, each with its weight; 0 where a small draft vocabulary leaves none."""
    token_losses = losses.LOSSES[loss](draft, target)
    if not len(token_losses):
        return token_losses.sum()
    weight = losses.weights(weights, draft, target, tokens, position)
    return (token_losses if weight is None else token_losses * weight).mean()


def positions(rows: Sequence[Row], device):
    """Return for each label of the rows its index in the answer."""
    import torch

    return torch.cat([torch.arange(sum(label != IGNORED for label in labels)) for _, labels in rows]).to(device)


def label_tokens(rows: Sequence[Row], device):
    """Return the tokens of all labels of the rows, in order."""
    import torch

    return torch.tensor([label for _, labels in rows for label in labels if label != IGNORED], device=device)


def collated(examples: Sequence[dict], pad: int) -> dict:
    """Return encoded rows as a batch, with the prompts, padded on the left, that the draft may have to answer."""
    import torch

    prompts = [row["input_ids"][: first_label(row["labels"])] for row in examples]
    width = max(map(len, prompts))
    return padded([(row["input_ids"], row["labels"]) for row in examples], "cpu") | {
        "prompts": torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts]),
        "prompt_attention_mask": torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]),
    }
