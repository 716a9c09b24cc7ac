"""A model of which whole matrices were trained, stored as a LoRA adapter of its base.

The difference of each matrix is factored by singular value decomposition: trained - base = (U sqrt(S)) (sqrt(S) V^T),
of as many ranks as the difference has. So the product is exact to the rounding of float32, and merging, cards and
uploads take the adapter like any other. It is larger than the matrices: twice for square ones.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from doubledraft.models.inspect import load_model
from doubledraft.training.rows import TrainingError

if TYPE_CHECKING:
    import torch

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]  # every matrix of a layer


def is_matrix_of_layer(parameter: str) -> bool:
    """Return whether the name of a parameter is that of a matrix of a decoder layer, which an adapter can hold."""
    return any(parameter.endswith(f".{name}.weight") for name in LINEAR)


def save_difference(weights: "Mapping[str, torch.Tensor]", base: str | Path, out: str | Path) -> None:
    """Write trained weights, by name of parameter, as an adapter of the model in folder `base` into folder `out`.

    Raise TrainingError where they differ from the base in anything but the matrices of its layers.
    """
    import torch
    from peft import LoraConfig
    from safetensors.torch import save_file

    tensors, ranks = {}, {}
    for name, original in load_model(base, dtype=torch.float32).state_dict().items():
        difference = weights[name].detach().float().cpu() - original
        if not difference.any():
            continue
        if not is_matrix_of_layer(name):
            raise TrainingError(f"{name} differs from that of {base}, and an adapter holds only {', '.join(LINEAR)}")
        module = name.removesuffix(".weight")
        a, b = factors(difference)
        ranks[module] = len(a)
        tensors |= {f"base_model.model.{module}.lora_{half}.weight": x for half, x in (("A", a), ("B", b))}
    if not ranks:
        raise TrainingError(f"training changed no matrix of {base}: raise the learning rate or train for more steps")
    largest = max(ranks.values())
    LoraConfig(
        r=largest,
        lora_alpha=largest,  # with the patterns below, every scale alpha / r is 1
        rank_pattern=ranks,
        alpha_pattern=ranks,
        target_modules=sorted(ranks),
        base_model_name_or_path=str(base),
        task_type="CAUSAL_LM",
        inference_mode=True,
    ).save_pretrained(out)
    config = Path(out) / "adapter_config.json"
    config.write_text(_with_sorted_modules(config.read_text()))
    save_file(tensors, Path(out) / "adapter_model.safetensors", metadata={"format": "pt"})


def factors(difference: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
    """Return A [rank, columns] and B [rows, rank] whose product B A is the matrix, without what is rounding of it."""
    import torch

    u, s, v = torch.linalg.svd(difference.double(), full_matrices=False)
    rank = max(1, int((s > s[0] * torch.finfo(torch.float32).eps).sum()))
    root = s[:rank].sqrt()
    return (root.unsqueeze(1) * v[:rank]).float().contiguous(), (u[:, :rank] * root).float().contiguous()


def _with_sorted_modules(config: str) -> str:
    import json

    values = json.loads(config)
    values["target_modules"].sort()  # PEFT keeps a set, whose order is another in every process
    return json.dumps(values, indent=2, sort_keys=True)
