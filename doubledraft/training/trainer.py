"""TRL's trainers as this project runs them: learning rate, checkpoints and the loss of a step."""

import ctypes
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from doubledraft import machine
from doubledraft.log import Progress
from doubledraft.summaries.training_summary import TrainingSettings
from doubledraft.training.checkpoints import seal
from doubledraft.training.label_logits import label_logits, shared_prefix
from doubledraft.training.tracking import TrackedRun

WARM_UP = 0.05  # share of the steps in which the learning rate rises
TRACKED = ("loss", "learning_rate", "grad_norm", "epoch")  # of what the trainer logs at each step
CHECKPOINTS = 4  # saved per run, evenly spaced


def supervised_trainer(model, tokenizer, rows: Sequence[dict], arguments, allowed: Sequence[int] | None):
    """Return the trainer whose loss is the cross-entropy of the rows' labels, over the `allowed` tokens; None for all.

    On a GPU, LoRA over all tokens is left to unsloth, whose kernels compute a step their own way.
    """
    import torch
    from datasets import Dataset
    from torch.nn.functional import cross_entropy
    from trl import SFTTrainer

    class LabelTrainer(SFTTrainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            with self.accelerator.autocast():
                logits, labels = label_logits(model, inputs, prefix, allowed_ids)
            return cross_entropy(logits.float(), labels, reduction="sum") / num_items_in_batch

    gpu = torch.cuda.is_available()
    prefix = 0 if gpu else shared_prefix(rows)
    allowed_ids = None if allowed is None else torch.tensor(allowed, device=machine.device())
    kind = SFTTrainer if gpu and allowed_ids is None and hasattr(model, "peft_config") else LabelTrainer
    trainer = kind(model=model, processing_class=tokenizer, args=arguments, train_dataset=Dataset.from_list(rows))
    if kind is LabelTrainer:
        trainer.model_accepts_loss_kwargs = True  # the sum is divided by the tokens of the whole optimizer step
    return trainer


def arguments_for(folder: Path, settings: TrainingSettings, dtype: str, rows: int, **more: object):
    """Return the arguments of a trainer that writes checkpoints to `folder`; `more` are those of distillation."""
    import torch

    if more:
        from trl.experimental.gkd import GKDConfig as Config
    else:
        from trl import SFTConfig as Config
    gpu = torch.cuda.is_available()
    steps = settings.steps or settings.epochs * math.ceil(rows / settings.batch / settings.accumulate)
    return Config(
        output_dir=str(folder),
        per_device_train_batch_size=settings.batch,
        gradient_accumulation_steps=settings.accumulate,
        num_train_epochs=settings.epochs,
        max_steps=settings.steps or -1,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=math.ceil(WARM_UP * steps),
        weight_decay=0.0,
        max_length=settings.max_length,
        completion_only_loss=True,
        train_sampling_strategy="random",  # not by length, though that pads less: docs/explanation/drafts.md
        gradient_checkpointing=gpu,
        dataloader_pin_memory=gpu,
        bf16=dtype == "bfloat16",
        fp16=dtype == "float16",
        seed=settings.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=math.ceil(steps / CHECKPOINTS),
        save_total_limit=2,
        report_to="none",  # `callback` sends the losses
        disable_tqdm=True,
        **more,
    )


def callback(at_checkpoint: Callable[[Path, int], None] | None, tracked: TrackedRun):
    """Return the trainer's callback: it shows progress, sends every loss to a tracker's run, and seals checkpoints.

    `at_checkpoint`, if any, is called with the folder and the step before a checkpoint is sealed.
    """
    from transformers import TrainerCallback

    class Callback(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            if at_checkpoint:
                at_checkpoint(checkpoint, state.global_step)
            seal(checkpoint)

        def on_log(self, args, state, control, logs=None, **kwargs):
            if logs and "loss" in logs:
                tracked.log({f"train/{name}": logs[name] for name in TRACKED if name in logs}, state.global_step)
                self.progress.show(state.global_step, f"loss {logs['loss']:.4f}")

        def on_train_begin(self, args, state, control, **kwargs):
            self.progress = Progress("training", state.max_steps, "steps", begun=state.global_step)

    return Callback()


def no_needless_casts(trainer):
    """Stop PEFT from raising every LoRA input to float32, which autocast lowers again: same numbers, fewer copies."""
    from peft.helpers import disable_input_dtype_casting

    return disable_input_dtype_casting(trainer.model, active=trainer.args.bf16 or trainer.args.fp16)


def keep_memory() -> None:
    """Let glibc keep freed memory: fetching it anew for every large tensor costs a third of a training step on CPU."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(-3, 2**30)  # M_MMAP_THRESHOLD: below it memory comes from the heap
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: free heap that is given back to the system
