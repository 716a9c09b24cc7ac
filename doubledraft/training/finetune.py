"""LoRA training of the target and of the draft: unsloth, then TRL's SFTTrainer, then PEFT; one path for CPU and GPU.

The rows come encoded (`rows.py`), so the trainer does not choose the tokens that count in the loss. Checkpoints are
kept outside the output folder (`checkpoints.py`), so that a killed run continues; the adapter and the loss curve appear
when complete.
"""

import csv
import ctypes
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from doubledraft import prompts
from doubledraft.files import naming, whole_directory, whole_file
from doubledraft.log import log
from doubledraft.machine import OFFLINE, use_own_cores
from doubledraft.models.folder import sha256
from doubledraft.models.safety import refuse_unsafe
from doubledraft.records import Generation, Question, Trace, read_records
from doubledraft.summaries import json_file
from doubledraft.summaries.provenance import recorded
from doubledraft.summaries.training_summary import TrainingSettings, TrainingSummary
from doubledraft.training.checkpoints import folder_of_run, newest_whole_checkpoint, seal
from doubledraft.training.rows import TrainingError, encode_all, rows_from_generations, rows_from_traces

# every matrix of a decoder layer
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
WARM_UP = 0.05  # share of the steps in which the learning rate rises
CHECKPOINTS = 4  # saved per run, evenly spaced
PATH_ARGUMENTS = ("rows", "out", "checkpoints", "loss_csv")  # of train(), left out of the run's identity
CSV_COLUMNS = ("step", "epoch", "loss", "learning_rate")


def train_target(*, base, traces, prompt, out, **settings) -> None:
    """Train the target's adapter on a trace file, with the prompt of the benchmark; settings as in `train`."""
    rows = rows_from_traces(read_records(traces, Trace), prompts.load(prompt))
    train(base, rows, out, **settings)


def train_draft(*, base, distilled, questions, prompt, out, **settings) -> None:
    """Train the draft's adapter on the trained target's own answers; settings as in `train`."""
    generations = read_records(distilled, Generation)
    rows = rows_from_generations(generations, read_records(questions, Question), prompts.load(prompt))
    train(base, rows, out, **settings)


def train(
    base: str | Path,
    rows: Sequence[dict],
    out: str | Path,
    *,
    checkpoints: str | Path,
    loss_csv: str | Path,
    learning_rate: float,
    epochs: int,
    rank: int,
    alpha: int,
    batch: int,
    accumulate: int,
    max_length: int,
    seed: int,
    dtype: str = "bfloat16",
    load_in_4bit: bool = False,
    report_to: str = "none",
    run_name: str | None = None,
) -> None:
    """Train a LoRA adapter of `base` on `rows`; write it to `out` with `training.json`, and the loss as a table.

    `checkpoints` is a folder of this run alone, removed when all is written. A step sees batch * accumulate rows.
    """
    settings = {name: value for name, value in locals().items() if name not in PATH_ARGUMENTS}
    settings["dtype"] = computing_dtype(dtype)
    _check(load_in_4bit)
    refuse_unsafe(base)  # not `inspect`: unsloth must be imported before transformers, and fetch has inspected it
    folder = folder_of_run(Path(checkpoints), _identity(settings, rows))
    with tempfile.TemporaryDirectory(prefix="unsloth.") as compiled:
        _set_switches(compiled)
        trainer, facts = _trainer(base, rows, folder, settings)
        started = time.monotonic()
        with naming(folder), _no_needless_casts(trainer):
            trainer.train(resume_from_checkpoint=newest_whole_checkpoint(folder))
        facts["seconds"] = round(time.monotonic() - started, 1)
    losses = [entry for entry in trainer.state.log_history if "loss" in entry]
    if not all(math.isfinite(entry["loss"]) for entry in losses):
        raise TrainingError(f"the loss of {out} is not a number any more; lower learning_rate = {learning_rate:g}")
    facts |= {"steps": trainer.state.global_step, "final_loss": losses[-1]["loss"]}
    _write_losses(loss_csv, losses)
    for config in trainer.model.peft_config.values():
        config.target_modules = sorted(config.target_modules)  # a set, whose order is another in every process
    with whole_directory(out) as adapter:
        trainer.model.save_pretrained(adapter)
        (adapter / "README.md").unlink(missing_ok=True)  # a form to fill in, that PEFT adds
        trained = TrainingSettings(**settings | {"base": str(base)})
        json_file.write(adapter / "training.json", TrainingSummary(**facts, settings=trained, provenance=recorded()))
    log.info("trained %s: %s", out, facts)
    shutil.rmtree(checkpoints)


def computing_dtype(dtype: str) -> str:
    """Return float32 in place of bfloat16 where products of bfloat16 matrices are slow: on CPUs without AVX-512.

    There [526, 576] x [576, 1536], forward and backward, took 0.116 s in bfloat16 and 0.018 s in float32.
    """
    import torch

    if dtype != "bfloat16" or torch.cuda.is_available() or torch.backends.cpu.get_cpu_capability() == "AVX512":
        return dtype
    log.info("training computes in float32: this processor has no AVX-512, so bfloat16 would be slower")
    return "float32"


def _identity(settings: dict, rows: Sequence[dict]) -> dict:
    """Return what decides the weights, and so whose checkpoints may be continued; where losses are sent does not."""
    deciding = {name: value for name, value in settings.items() if name not in ("report_to", "run_name")}
    return {**deciding, "base": _fingerprint(settings["base"]), "rows": list(rows)}


def _fingerprint(base: str | Path) -> str:
    manifest = Path(base) / "manifest.json"  # lists the digest of every file
    return sha256(manifest if manifest.exists() else Path(base) / "config.json")


def _check(load_in_4bit: bool) -> None:
    import torch

    if load_in_4bit and not torch.cuda.is_available():
        raise TrainingError(
            "train.load_in_4bit needs a GPU, and torch sees none here; set it to false to train in 16 or 32 bits"
        )


def _set_switches(compiled: str) -> None:
    """Set what unsloth and the hub client read when imported; unsloth writes code to `compiled`, not the cwd."""
    switches = {**OFFLINE, "UNSLOTH_COMPILE_LOCATION": compiled}
    os.environ.update(switches)
    # unsloth tries whether vLLM's extension loads. On CPU it is built for AVX-512, and other processors end the process
    # with an illegal instruction (vLLM itself picks another file there). None makes it a module that is not installed.
    sys.modules.setdefault("vllm._C", None)
    log.info("environment of the training: %s", switches)


def _trainer(base, rows: Sequence[dict], folder: Path, settings: dict):
    """Build the trainer and the facts about its data; unsloth must be imported before trl, which it patches."""
    from unsloth import FastLanguageModel  # isort: skip
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTTrainer

    use_own_cores()
    gpu = torch.cuda.is_available()
    if not gpu:
        _keep_memory()
    encoded, facts = encode_all(AutoTokenizer.from_pretrained(base), rows, settings["max_length"])
    shared = {"max_seq_length": settings["max_length"], "use_gradient_checkpointing": "unsloth" if gpu else False}
    # torch's fused CPU attention has a slow backward: plain attention makes a whole step 1.4 times faster
    attention = {} if gpu else {"attn_implementation": "eager"}
    model, tokenizer = FastLanguageModel.from_pretrained(
        str(base), dtype=getattr(torch, settings["dtype"]), load_in_4bit=settings["load_in_4bit"], **attention, **shared
    )
    model = FastLanguageModel.get_peft_model(
        model,
        r=settings["rank"],
        lora_alpha=settings["alpha"],
        target_modules=LINEAR,
        lora_dropout=0,
        bias="none",
        random_state=settings["seed"],
        **shared,
    )
    arguments = _arguments(folder, settings, len(encoded), gpu)
    trainer = SFTTrainer(
        model=model, processing_class=tokenizer, args=arguments, train_dataset=Dataset.from_list(encoded)
    )
    trainer.add_callback(_callback())
    return trainer, facts


def _no_needless_casts(trainer):
    """Stop PEFT from raising every LoRA input to float32, which autocast lowers again: same numbers, fewer copies."""
    from peft.helpers import disable_input_dtype_casting

    return disable_input_dtype_casting(trainer.model, active=trainer.args.bf16 or trainer.args.fp16)


def _keep_memory() -> None:
    """Let glibc keep freed memory: fetching it anew for every large tensor costs a third of a training step on CPU."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(-3, 2**30)  # M_MMAP_THRESHOLD: below it memory comes from the heap
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: free heap that is given back to the system


def _arguments(folder: Path, settings: dict, rows: int, gpu: bool):
    from trl import SFTConfig

    steps = settings["epochs"] * math.ceil(rows / settings["batch"] / settings["accumulate"])
    return SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=settings["batch"],
        gradient_accumulation_steps=settings["accumulate"],
        num_train_epochs=settings["epochs"],
        learning_rate=settings["learning_rate"],
        lr_scheduler_type="cosine",
        warmup_steps=math.ceil(WARM_UP * steps),
        weight_decay=0.0,
        max_length=settings["max_length"],
        completion_only_loss=True,
        train_sampling_strategy="group_by_length",  # little padding: the CPU path can neither pack nor skip it
        gradient_checkpointing=gpu,
        bf16=settings["dtype"] == "bfloat16",
        fp16=settings["dtype"] == "float16",
        seed=settings["seed"],
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=math.ceil(steps / CHECKPOINTS),
        save_total_limit=2,
        report_to=settings["report_to"],
        run_name=settings["run_name"],
        disable_tqdm=True,
    )


def _callback():
    """Return the trainer's callback: it seals every checkpoint and logs the loss of every step."""
    from transformers import TrainerCallback

    class Callback(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            seal(Path(args.output_dir) / f"checkpoint-{state.global_step}")

        def on_log(self, args, state, control, logs=None, **kwargs):
            if logs and "loss" in logs:
                log.info("step %d of %d: loss %.4f", state.global_step, state.max_steps, logs["loss"])

    return Callback()


def _write_losses(path: str | Path, losses: Sequence[dict]) -> None:
    with whole_file(path) as file:
        table = csv.DictWriter(file, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(losses)
