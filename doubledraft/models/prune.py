"""A draft cut from a larger model by keeping some of its layers."""

from collections.abc import Sequence
from pathlib import Path

from doubledraft.files import whole_directory
from doubledraft.models.folder import ModelError, copy_tokenizer, require_space, write_manifest
from doubledraft.models.inspect import load_model
from doubledraft.models.safety import refuse_unsafe


def prune(source: str | Path, layers: Sequence[int], out: str | Path) -> None:
    """Keep only the named decoder layers of a model (0-based, ascending), embeddings and head unchanged.

    Depth pruning, the cheapest way to a draft with the target's tokenizer; quality comes back by training.
    """
    from torch.nn import ModuleList

    refuse_unsafe(source)
    model = load_model(source)
    depth = model.config.num_hidden_layers
    if not layers or list(layers) != sorted(set(layers)) or not 0 <= layers[0] <= layers[-1] < depth:
        raise ModelError(
            f"layers should be ascending, different and within 0..{depth - 1} ({source}); found {list(layers)}"
        )
    model.model.layers = ModuleList(model.model.layers[index] for index in layers)
    for index, layer in enumerate(model.model.layers):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):  # the slot of this layer in the key-value cache
                module.layer_idx = index
    model.config.num_hidden_layers = len(layers)
    if types := getattr(model.config, "layer_types", None):
        model.config.layer_types = [types[index] for index in layers]
    require_space(Path(out).parent, model.num_parameters() * model.dtype.itemsize, "the pruned model")
    with whole_directory(out) as folder:
        model.save_pretrained(folder)
        copy_tokenizer(source, folder)
        write_manifest(folder, {"source": "prune", "of": Path(source).name, "layers": list(layers)}, parent=source)
