"""The model of a training: loaded so that a part of it learns, and written as an adapter of its base.

lora  matrices of low rank beside those of every layer: unsloth, then PEFT
full  every matrix of the layers itself, in float32; embedding, head and norms are frozen, since an adapter cannot hold
      them
"""

from pathlib import Path

from doubledraft.models.inspect import load_model
from doubledraft.summaries.training_summary import TrainingSettings
from doubledraft.training.difference import LINEAR, is_matrix_of_layer, save_difference


def load(base: str | Path, settings: TrainingSettings, dtype: str):
    """Return the model in folder `base`, ready to be trained in `dtype` as the settings say, and its tokenizer."""
    import torch
    from transformers import AutoTokenizer

    gpu = torch.cuda.is_available()
    # torch's fused CPU attention has a slow backward: plain attention makes a whole step 1.4 times faster
    attention = {} if gpu else {"attn_implementation": "eager"}
    if settings.update == "lora":
        return _with_lora(base, settings, dtype, gpu, attention)
    model = load_model(base, dtype=torch.float32, **attention)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_matrix_of_layer(name))
    return model, AutoTokenizer.from_pretrained(base)


def _with_lora(base: str | Path, settings: TrainingSettings, dtype: str, gpu: bool, attention: dict[str, str]):
    """Load with unsloth, which must be imported before trl and transformers' trainer: it patches both."""
    from unsloth import FastLanguageModel  # isort: skip
    import torch

    shared = {"max_seq_length": settings.max_length, "use_gradient_checkpointing": "unsloth" if gpu else False}
    model, tokenizer = FastLanguageModel.from_pretrained(
        str(base), dtype=getattr(torch, dtype), load_in_4bit=settings.load_in_4bit, **attention, **shared
    )
    model = FastLanguageModel.get_peft_model(
        model,
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=LINEAR,
        lora_dropout=0,
        bias="none",
        random_state=settings.seed,
        **shared,
    )
    return model, tokenizer


def trained_weights(model) -> dict:
    """Return the parameters that learn, by name, on the CPU."""
    learning = ((name, value) for name, value in model.named_parameters() if value.requires_grad)
    return {name: value.detach().cpu().contiguous() for name, value in learning}


def as_plain_model(model, start: str | Path, dtype: str):
    """Return a model in `dtype` without adapters, of the weights in folder `start` as trained so far."""
    import torch

    plain = load_model(start, dtype=torch.float32)
    with torch.no_grad():
        if not hasattr(model, "peft_config"):
            plain.load_state_dict(model.state_dict())
        else:
            for name, module in model.get_base_model().named_modules():
                if hasattr(module, "get_delta_weight"):
                    plain.get_submodule(name).weight += module.get_delta_weight("default").float().cpu()
    return plain.to(getattr(torch, dtype))


def save_adapter(model, base: str | Path, start: str | Path, out: str | Path) -> None:
    """Write what was trained, from the weights in folder `start`, as an adapter of the model in `base` to `out`."""
    if not hasattr(model, "peft_config") or Path(start) != Path(base):
        save_difference(as_plain_model(model, start, "float32").state_dict(), base, out)
        return
    for config in model.peft_config.values():
        config.target_modules = sorted(config.target_modules)  # a set, whose order is another in every process
    model.save_pretrained(out)
    (Path(out) / "README.md").unlink(missing_ok=True)  # an unfilled model card that PEFT adds
