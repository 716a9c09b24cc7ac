"""LoRA training of the target and of the draft: unsloth, then TRL's SFTTrainer, then PEFT; one path for CPU and GPU.

Rows are turned into token ids here, not by the trainer, so that what is learned can be read and tested: the prompt is
what the engine will be given (chat template, generation prompt), the completion is what it should emit up to and
including the end-of-turn token, and only the completion counts in the loss. A row that does not fit is refused or
dropped with its count; nothing is cut. Checkpoints live outside the output folder, so that a killed run continues
from the newest whole one.
"""

import csv
import ctypes
import importlib.util
import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from doubledraft import plots, prompts
from doubledraft.models import refuse_unsafe, sha256
from doubledraft.records import Generation, Question, Trace, read_records, whole_directory, whole_file, write_json
from doubledraft.runtime import OFFLINE, config_hash, log, provenance, use_own_cores

LINEAR = [
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
]  # every matrix of a decoder layer
WARM_UP = 0.05  # share of the steps in which the learning rate rises
CHECKPOINTS = 4  # saved a run, evenly spaced
CSV_COLUMNS = ("step", "epoch", "loss", "learning_rate")
SEAL = "sealed.json"
IGNORED = -100  # label of a token that does not count in the loss (torch's cross_entropy default)


class TrainingError(ValueError):
    """A training run that cannot start or did not work; the message says what to change."""


def train_target(*, base, traces, prompt, out, loss_csv, loss_figure, **settings) -> None:
    """Train the target's adapter on a trace file, asked with the benchmark's own prompt file; settings as in `train`."""
    rows = rows_from_traces(read_records(traces, Trace), prompts.load(prompt))
    train(base, rows, out, loss_csv=loss_csv, **settings)
    plots.loss_figure(loss_csv, loss_figure)


def train_draft(*, base, distilled, questions, prompt, out, loss_csv, loss_figure, **settings) -> None:
    """Train the draft's adapter on the trained target's own answers; settings as in `train`."""
    generations = read_records(distilled, Generation)
    rows = rows_from_generations(generations, read_records(questions, Question), prompts.load(prompt))
    train(base, rows, out, loss_csv=loss_csv, **settings)
    plots.loss_figure(loss_csv, loss_figure)


def rows_from_traces(traces: Sequence[Trace], prompt: prompts.Prompt) -> list[dict]:
    """Give one {"prompt": messages, "completion": messages} row a trace."""
    return [_row(prompt, trace.question, trace.text) for trace in traces]


def rows_from_generations(
    generations: Sequence[Generation], questions: Sequence[Question], prompt: prompts.Prompt
) -> list[dict]:
    """Give one row a generation, joined to its question by id; raises TrainingError when the question is not there."""
    texts = {question.id: question.question for question in questions}
    for generation in generations:
        if generation.id not in texts:
            raise TrainingError(f"generation {generation.id!r} answers a question that is not in the question file")
    return [_row(prompt, texts[generation.id], generation.text) for generation in generations]


def _row(prompt: prompts.Prompt, question: str, answer: str) -> dict:
    return {
        "prompt": prompts.messages(prompt, question, few_shot=False),
        "completion": [{"role": "assistant", "content": answer}],
    }


def encode(tokenizer, row: dict) -> dict[str, list[int]]:
    """Give `input_ids` and `labels` of one row; labels are IGNORED on the prompt and end with the end-of-turn token.

    Raises TrainingError when the chat template does not begin the whole conversation with the prompt as the engine will
    see it, or does not end the turn with the tokenizer's end-of-sequence token.
    """
    prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=True)["input_ids"]
    whole = tokenizer.apply_chat_template(row["prompt"] + row["completion"], return_dict=True)["input_ids"]
    if whole[: len(prompt)] != prompt:
        raise TrainingError(
            "the chat template changes the prompt when an answer follows; use a model with another template"
        )
    end = len(whole)
    while end > len(prompt) and whole[end - 1] != tokenizer.eos_token_id:
        end -= 1  # what a template writes after the turn (a newline) is never generated
    if end == len(prompt) or tokenizer.decode(whole[end:]).strip():
        raise TrainingError(
            f"the chat template does not end a turn with {tokenizer.eos_token!r}, so answers would not stop"
        )
    return {"input_ids": whole[:end], "labels": [IGNORED] * len(prompt) + whole[len(prompt) : end]}


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
    """Train a LoRA adapter of `base` on `rows`; write it to folder `out` with `training.json`, and the loss to `loss_csv`.

    `checkpoints` is a folder of this run alone, removed when training is complete. A step sees batch * accumulate rows.
    """
    settings = {
        name: value for name, value in locals().items() if name not in ("rows", "out", "checkpoints", "loss_csv")
    }
    _check(load_in_4bit, report_to)
    refuse_unsafe(base)
    folder = _checkpoint_folder(
        Path(checkpoints), {**settings, "base": sha256(Path(base) / "config.json"), "rows": list(rows)}
    )
    with tempfile.TemporaryDirectory(prefix="unsloth.") as compiled:
        _set_switches(compiled)
        trainer, facts = _trainer(base, rows, folder, settings)
        started = time.monotonic()
        with _no_needless_casts(trainer):
            trainer.train(resume_from_checkpoint=newest_whole_checkpoint(folder))
        facts["seconds"] = round(time.monotonic() - started, 1)
    losses = [entry for entry in trainer.state.log_history if "loss" in entry]
    facts |= {"steps": trainer.state.global_step, "final_loss": losses[-1]["loss"]}
    _write_losses(loss_csv, losses)
    with whole_directory(out) as adapter:
        trainer.model.save_pretrained(adapter)
        (adapter / "README.md").unlink(missing_ok=True)  # a form to fill in, that PEFT adds
        write_json(
            adapter / "training.json",
            {**facts, "settings": {**settings, "base": str(base)}, "provenance": provenance()},
        )
    log.info("trained %s: %s", out, facts)
    shutil.rmtree(checkpoints)


def _check(load_in_4bit: bool, report_to: str) -> None:
    import torch

    if load_in_4bit and not torch.cuda.is_available():
        raise TrainingError(
            "train.load_in_4bit needs a GPU, and torch sees none here; set it to false to train in 16 or 32 bits"
        )
    if report_to != "none" and importlib.util.find_spec(report_to) is None:
        raise TrainingError(
            f"train.report_to is {report_to!r}, but that package is not installed: `pip install {report_to}`, or none"
        )


def _set_switches(compiled: str) -> None:
    """Set what unsloth and the hub client read when imported; by default unsloth writes code below the working folder."""
    switches = {**OFFLINE, "UNSLOTH_COMPILE_LOCATION": compiled}
    os.environ.update(switches)
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
    encoded, facts = _encode_all(AutoTokenizer.from_pretrained(base), rows, settings["max_length"])
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
    trainer.add_callback(_seal_checkpoints())
    return trainer, facts


def _no_needless_casts(trainer):
    """Stop PEFT from raising every LoRA input to float32, which autocast would lower again: same numbers, fewer copies."""
    from peft.helpers import disable_input_dtype_casting

    return disable_input_dtype_casting(trainer.model, active=trainer.args.bf16 or trainer.args.fp16)


def _keep_memory() -> None:
    """Let glibc keep freed memory: fetching it anew for every large tensor costs a third of a training step on CPU."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(-3, 2**30)  # M_MMAP_THRESHOLD: below it memory comes from the heap
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: free heap that is given back to the system


def _encode_all(tokenizer, rows: Sequence[dict], max_length: int) -> tuple[list[dict], dict[str, int]]:
    encoded = [encode(tokenizer, row) for row in rows]
    kept = [row for row in encoded if len(row["input_ids"]) <= max_length]
    if not kept:
        raise TrainingError(f"none of {len(rows)} training rows fits in max_length = {max_length} tokens")
    facts = {
        "rows": len(kept),
        "rows_too_long": len(encoded) - len(kept),
        "tokens": sum(len(row["input_ids"]) for row in kept),
        "completion_tokens": sum(label != IGNORED for row in kept for label in row["labels"]),
        "longest_row": max(len(row["input_ids"]) for row in encoded),
    }
    if facts["rows_too_long"]:
        log.warning("dropped %d rows longer than max_length = %d tokens", facts["rows_too_long"], max_length)
    return kept, facts


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
        save_strategy="steps",
        save_steps=math.ceil(steps / CHECKPOINTS),
        save_total_limit=2,
        report_to=settings["report_to"],
        run_name=settings["run_name"],
        disable_tqdm=True,
    )


def _seal_checkpoints():
    """Give a callback that ends every checkpoint with a list of its files' sha256, by which a whole one is known."""
    from transformers import TrainerCallback

    class Seal(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            write_json(folder / SEAL, {file.name: sha256(file) for file in sorted(folder.iterdir())})

        def on_log(self, args, state, control, logs=None, **kwargs):
            if logs and "loss" in logs:
                log.info("step %d of %d: loss %.4f", state.global_step, state.max_steps, logs["loss"])

    return Seal()


def newest_whole_checkpoint(folder: Path) -> str | None:
    """Give the newest checkpoint whose files are all as written, removing torn ones with a warning; None without any."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]), reverse=True)
    for checkpoint in found:
        try:
            seal = json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))
            if all(sha256(checkpoint / name) == digest for name, digest in seal.items()):
                log.info("continuing from %s", checkpoint)
                return str(checkpoint)
        except (OSError, ValueError):
            pass
        log.warning("%s is torn and is skipped", checkpoint)
        shutil.rmtree(checkpoint)
    return None


def _checkpoint_folder(root: Path, identity: dict) -> Path:
    """Give the folder for checkpoints of exactly this run; those of other settings or rows are removed, not continued."""
    folder = root / config_hash(identity)
    for other in root.glob("*"):
        if other != folder:
            log.info("removing checkpoints of another run: %s", other)
            shutil.rmtree(other)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write_losses(path: str | Path, losses: Sequence[dict]) -> None:
    with whole_file(path) as file:
        table = csv.DictWriter(file, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows(losses)
