"""One inspection of a model folder, which fetch, prune, merge, the native engine and vLLM all rely on.

transformers fills what a checkpoint lacks with random numbers and warns; vLLM reads every weight file that it finds.
So before a model is used, one set of weights is found in its folder, and transformers itself reports which tensors of
the architecture are missing or have another shape, and which ones it does not have. The report comes from a load
onto the meta device, which takes seconds whatever the size. Pre-quantised models are exempt: only their quantiser knows
their tensors.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from doubledraft.models.folder import ITEM_BYTES, ModelError, read_config, weight_files
from doubledraft.models.safety import refuse_unsafe

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

SHOWN = 3  # names of tensors in a message
HEAD_AND_EMBEDDING = ("lm_head.weight", "embed_tokens.weight")  # one matrix where a model ties them
SCALED_IN_CONFIG = ("llama3", "longrope", "su", "mrope", "default")  # max_position_embeddings holds the scaled length


def inspect(folder: str | Path) -> None:
    """Raise ModelError where a model folder is unsafe, or has not exactly one set of weights that fills the model."""
    refuse_unsafe(folder)
    if "quantization_config" not in read_config(folder):
        load_model(folder, device_map="meta")


def load_model(folder: str | Path, **options: object) -> "PreTrainedModel":
    """Load a checked folder as transformers does; raise ModelError where its tensors are not those of the model."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoModelForCausalLM

    logging.getLogger("transformers.modeling_utils").addFilter(_is_no_table)
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            folder, output_loading_info=True, ignore_mismatched_sizes=True, **{"dtype": "auto"} | options
        )
    except (ValueError, KeyError, TypeError, AttributeError, StrictDataclassError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{folder}: transformers cannot build a causal language model of it: {reason:.300}; use another model"
        ) from None
    if missing := sorted(report["missing_keys"]):
        raise ModelError(
            f"{folder}: the weights lack {len(missing)} tensors of the model, which would be random: "
            f"{_some(missing)}; fetch it again, or take another checkpoint"
        )
    if mismatched := sorted(report["mismatched_keys"]):
        shapes = [f"{name} is {list(stored)}, expected {list(shape)}" for name, stored, shape in mismatched]
        raise ModelError(f"{folder}: the weights do not fit config.json: {_some(shapes)}; fetch the model again")
    if unexpected := sorted(report["unexpected_keys"]):
        raise ModelError(
            f"{folder}: the weights hold {len(unexpected)} tensors that the model of config.json does not have "
            f"and that would be ignored: {_some(unexpected)}; correct config.json, or take another checkpoint"
        )
    if getattr(model.config, "tie_word_embeddings", False):
        _refuse_second_head(Path(folder))
    return model


def _is_no_table(record: logging.LogRecord) -> bool:
    """Drop transformers' table of tensors that do not fit: the ModelError says the same in a line."""
    return "LOAD REPORT" not in record.getMessage()


def _refuse_second_head(folder: Path) -> None:
    """Refuse a head beside the embedding that it is tied to: transformers would take it, and vLLM the embedding."""
    import torch
    from safetensors import safe_open

    matrices = []
    for file in weight_files(folder):
        with safe_open(file, framework="pt") as tensors:
            matrices += [tensors.get_tensor(name) for name in tensors.keys() if name.endswith(HEAD_AND_EMBEDDING)]  # noqa: SIM118
    if len(matrices) == 2 and not torch.equal(*matrices):
        raise ModelError(
            f"{folder}: config.json ties the head to the embedding, but the weights hold two different matrices, and "
            "engines would differ; set tie_word_embeddings to false in config.json, or remove lm_head.weight"
        )


def refuse_not_finite(folder: str | Path) -> None:
    """Raise ModelError naming a tensor of a checked folder that holds NaN or infinity.

    It reads all weights: 0.1 s of a core for 270 MB, so 10 s for the 28 GB of a model with 14 B parameters.
    """
    import torch
    from safetensors import safe_open

    for file in weight_files(Path(folder)):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (not a dict)
                tensor = tensors.get_tensor(name)
                dtype = str(tensor.dtype).removeprefix("torch.")
                if dtype not in ITEM_BYTES or not tensor.numel():  # 8-bit weights of a quantiser
                    continue
                if not all(bound.isfinite() for bound in torch.aminmax(tensor)):  # a tenth of the time of isfinite
                    raise ModelError(
                        f"{folder}: {name} holds NaN or infinity: the weights are damaged, or exceed the range of "
                        f"{dtype}; fetch the model again, or take another checkpoint"
                    )


def load_tokenizer(folder: str | Path) -> "PreTrainedTokenizerBase":
    """Load the tokenizer of a folder; raise ModelError where it has none."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(
            f"{folder}: no tokenizer can be loaded from it; copy the tokenizer files of its model there: {reason:.300}"
        ) from None


def refuse_tokens_without_row(folder: str | Path, tokenizer: "PreTrainedTokenizerBase") -> None:
    """Raise ModelError where the tokenizer has a token that the model's embedding has no row for."""
    rows = read_config(folder)["vocab_size"]
    token, last = max(tokenizer.get_vocab().items(), key=lambda item: item[1])
    if last >= rows:
        raise ModelError(
            f"{folder}: the tokenizer gives {token!r} the id {last}, but the model has rows for 0 to {rows - 1} only; "
            f"set `pad_vocabulary_to: {last + 1}` or more in models.sources, or remove the token"
        )


def end_ids(folder: str | Path) -> set[int]:
    """Return the ids that end an answer besides the tokenizer's own, as Hugging Face and vLLM take them.

    They stand in generation_config.json, and in config.json where there is no such file. `folder` may be the name of a
    model on the hub.
    """
    from transformers import AutoConfig, GenerationConfig

    try:
        settings = GenerationConfig.from_pretrained(folder)
    except OSError:
        settings = GenerationConfig.from_model_config(AutoConfig.from_pretrained(folder))
    ids = settings.eos_token_id
    return {ids} if isinstance(ids, int) else set(ids or ())


def positions(folder: str | Path) -> int | None:
    """Return the longest text, in tokens, that the model's positions reach; None where its config does not say."""
    config = read_config(folder)
    longest = config.get("max_position_embeddings")
    rotary = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = rotary.get("rope_type", rotary.get("type", "default"))
    if longest is None or kind in SCALED_IN_CONFIG:
        return longest
    original = rotary.get("original_max_position_embeddings", longest)
    return max(longest, int(original * rotary.get("factor", 1)))


def _some(items: list[str]) -> str:
    return ", ".join(items[:SHOWN]) + (", ..." if len(items) > SHOWN else "")
