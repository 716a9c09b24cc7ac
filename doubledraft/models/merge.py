"""An adapter merged into its base model in float32, checked against base + adapter, then cast.

On a few prompts the merged float32 logits must equal those of base + adapter within a tolerance; the rounding that the
cast adds is measured and recorded. An adapter trained on 4-bit weights is merged into the 16-bit base it came from.
Memory for the whole model in float32 is needed.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from doubledraft import prompts as prompt_files
from doubledraft.files import whole_directory
from doubledraft.log import log
from doubledraft.machine import use_own_cores
from doubledraft.models import chat_template
from doubledraft.models.folder import (
    DRAFT_VOCABULARY,
    ITEM_BYTES,
    ModelError,
    copy_tokenizer,
    read_config,
    require_space,
    sha256,
    write_manifest,
)
from doubledraft.models.inspect import load_model, load_tokenizer
from doubledraft.models.safety import refuse_unsafe, refuse_unsafe_adapter
from doubledraft.records import Question, read_records

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

ADAPTER = "adapter_model.safetensors"
TOLERANCE = 1e-3  # logits in float32: W x + B (A x) and (W + B A) x differ by rounding alone, some 1e-5 here
TIED = {"lm_head", "embed_tokens"}  # one matrix where a model ties them
CHECKED_PROMPTS = 4
CHECKED_POSITIONS = 16  # at the end of each prompt


def merge_from_files(
    base: str | Path, adapter: str | Path, questions: str | Path, prompt: str | Path, out: str | Path, *, dtype: str
) -> dict[str, object]:
    """Merge as `merge` does, checked on the first questions of a file, asked by a prompt file."""
    template = prompt_files.load(prompt)
    rows = read_records(questions, Question)[:CHECKED_PROMPTS]
    messages = [prompt_files.messages(template, question.question, few_shot=False) for question in rows]
    return merge(base, adapter, out, dtype=dtype, prompts=messages)


def merge(
    base: str | Path,
    adapter: str | Path,
    out: str | Path,
    *,
    dtype: str,
    prompts: Sequence[list[dict[str, str]]],
) -> dict[str, object]:
    """Write base + adapter as a plain model of `dtype` to folder `out`; return the comparison for its manifest.

    `prompts` are chat messages. Raise ModelError where a float32 logit of the merged model is further than TOLERANCE
    from base + adapter, where the adapter changes a matrix that the model uses twice, or where the disk is too small.
    """
    import torch

    use_own_cores()
    model = _load_base(base, adapter)
    require_space(Path(out).parent, model.num_parameters() * ITEM_BYTES[dtype], str(out))
    tokenizer = load_tokenizer(base)
    inputs = [_encoded(tokenizer, messages) for messages in prompts]
    model = _with_adapter(model, base, adapter).eval()
    expected = _logits(model, inputs)
    model = model.merge_and_unload()
    exact = _compare(expected, _logits(model, inputs))
    if not exact["largest_difference"] <= TOLERANCE:  # also when it is NaN
        raise ModelError(
            f"merging {adapter} into {base} moved a logit by {exact['largest_difference']:.2g}, more than "
            f"{TOLERANCE:g}; train the adapter again"
        )
    model = model.to(getattr(torch, dtype))
    comparison = {
        "prompts": len(inputs),
        "positions": sum(len(logits) for logits in expected),
        "tolerance": TOLERANCE,
        "float32": exact,
        dtype: _compare(expected, _logits(model, inputs)),
    }
    with whole_directory(out) as folder:
        model.save_pretrained(folder)
        copy_tokenizer(base, folder)
        if (vocabulary := Path(adapter) / DRAFT_VOCABULARY).exists():
            shutil.copy(vocabulary, folder)
        origin = {"source": "merge", "base": Path(base).name, "adapter": Path(adapter).name}
        origin["adapter_sha256"] = sha256(Path(adapter) / ADAPTER)
        write_manifest(folder, origin, parent=base, logits_compared_with_adapter=comparison)
    log.info("merged %s into %s: %s", adapter, base, comparison)
    return comparison


def merged(base: str | Path, adapter: str | Path, *, dtype: str) -> "PreTrainedModel":
    """Return base + adapter as a plain model of `dtype` in memory: the weights that `merge` writes, not compared."""
    import torch

    model = _with_adapter(_load_base(base, adapter), base, adapter)
    return model.merge_and_unload().to(getattr(torch, dtype))


def _load_base(base: str | Path, adapter: str | Path) -> "PreTrainedModel":
    """Load a base in float32; raise ModelError where the adapter is unsafe or cannot be merged into it."""
    import torch

    refuse_unsafe(base)
    refuse_unsafe_adapter(adapter, base)
    model = load_model(base, dtype=torch.float32)
    if model.config.tie_word_embeddings:
        _refuse_tied(base, adapter)
    return model


def _with_adapter(model: "PreTrainedModel", base: str | Path, adapter: str | Path) -> "PeftModel":
    """Put an adapter on its base; raise ModelError where its tensors are not those that its config asks for.

    PEFT only warns of a missing tensor, which then changes nothing, or is random.
    """
    from peft import PeftModel

    try:
        model = PeftModel.from_pretrained(model, adapter)
        report = model.load_adapter(adapter, "default")  # once more, since this one tells what did not fit
    except (RuntimeError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{adapter}: does not fit {base}: {reason:.300}; give the model it was trained on") from None
    if mismatched := sorted({*report.missing_keys, *report.unexpected_keys}):
        raise ModelError(
            f"{adapter}: {ADAPTER} and what adapter_config.json asks for in {base} differ in {len(mismatched)} "
            f"tensors, first {mismatched[0]}; give the model it was trained on, or train it again"
        )
    return model


def _refuse_tied(base: str | Path, adapter: str | Path) -> None:
    """Refuse an adapter of a head or an embedding that are one matrix: merged into one it would change the other."""
    config = read_config(adapter, "adapter_config.json")
    named = {*config["target_modules"], *(config.get("modules_to_save") or ())}
    if tied := sorted(name for name in named if name.rpartition(".")[2] in TIED):
        raise ModelError(
            f"{adapter}: the adapter changes {' and '.join(tied)}, which in {base} is one matrix with "
            "tie_word_embeddings, so that merging would change head and embedding at once: train the adapter without "
            "it, or untie the base model first"
        )


def _encoded(tokenizer, messages: Sequence[dict[str, str]]) -> dict:
    text = chat_template.render(tokenizer, messages, prompt=True)
    return tokenizer(text, add_special_tokens=False, return_tensors="pt")


def _logits(model, inputs: Sequence[dict]) -> "list[torch.Tensor]":
    """Return the last logits of each prompt, [positions, vocabulary] in float32."""
    import torch

    with torch.inference_mode():
        return [model(**encoded, logits_to_keep=CHECKED_POSITIONS).logits[0].float() for encoded in inputs]


def _compare(expected: "Sequence[torch.Tensor]", actual: "Sequence[torch.Tensor]") -> dict[str, float]:
    import torch

    a, b = torch.cat(list(expected)), torch.cat(list(actual))
    same = (a.argmax(-1) == b.argmax(-1)).float().mean().item()
    return {"largest_difference": (a - b).abs().max().item(), "same_best_token": same}
