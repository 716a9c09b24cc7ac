"""Which models the native engine runs: one architecture, under the names of its families."""

from pathlib import Path

from doubledraft.models.folder import ModelError, read_config

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")  # values of `model_type` in config.json
OTHERWISE = "use another model, or in a study vLLM: benchmark.engine: vllm and train.draft.held_out: 0"
FIXED_ROTARY = ("default", "linear", "llama3", "yarn")  # kinds whose frequencies do not change with the length


def supported_config(folder: str | Path):
    """Return transformers' config of a model folder.

    Raise ModelError where it asks for something that the forward pass of `engine.backend.Backend` does not do.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    kind = read_config(folder).get("model_type")
    if kind not in FAMILIES:  # also one that transformers has never heard of
        raise ModelError(
            f"{folder}: the native engine runs {', '.join(FAMILIES)}, not model_type {kind!r}; {OTHERWISE}"
        )
    try:
        config = AutoConfig.from_pretrained(folder)
    except (ValueError, KeyError, TypeError, StrictDataclassError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{folder}: config.json is not valid for {kind}: {reason:.300}; fetch it again") from None
    requirements = {
        "hidden_act": (config.hidden_act, ("silu",)),
        "rope_type": (config.rope_parameters["rope_type"], FIXED_ROTARY),
        "quantization_config": (getattr(config, "quantization_config", None), (None,)),
        "layer_types": (set(getattr(config, "layer_types", None) or ["full_attention"]), ({"full_attention"},)),
    }
    if config.model_type == "mistral":
        requirements["sliding_window"] = (config.sliding_window, (None,))
    for key, (value, known) in requirements.items():
        if value not in known:
            choices = " or ".join(map(repr, known))
            raise ModelError(f"{folder}: {key} is {value!r}, and the native engine runs only {choices}; {OTHERWISE}")
    return config
