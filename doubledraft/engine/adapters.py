"""One draft in memory and a LoRA adapter for each kind of text; one adapter at a time is merged into its weights.

Switching writes W + s B A, computed in float32 and rounded once, over the matrices that passes read: the weights of the
merged model, so a pass costs what it costs without adapters. A copy of the draft's own matrices W is kept beside them.
Subtracting the last adapter instead would need no copy, but would leave a rounding error at every switch. Hu et al.
2021, arXiv:2106.09685.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from doubledraft.engine.backend import Backend, Texts
from doubledraft.engine.proposers import DraftModel
from doubledraft.engine.weights import MATRICES
from doubledraft.models.folder import ModelError
from doubledraft.models.safety import read_settings, refuse_unsafe_adapter

if TYPE_CHECKING:
    import torch

PREFIX, A, B = "base_model.model.model.layers.", ".lora_A.weight", ".lora_B.weight"  # names in PEFT's files
Factors = tuple["torch.Tensor", "torch.Tensor"]  # B [rows, rank], the scale in it, and A [rank, columns]


class SharedDraft:
    """A draft whose adapters take turns in its weights."""

    def __init__(self, draft: Backend, adapters: Mapping[str, str | Path]) -> None:
        """Read the adapters, folders by name, of the model that `draft` was loaded from.

        Raise ModelError for an adapter that is unsafe, of another model, or that changes more than matrices of layers.
        """
        self.draft, self.name = draft, None
        self._live = draft.matrices()
        self._own = [{name: matrix.clone() for name, matrix in layer.items()} for layer in self._live]
        self._adapters = {name: self._read(Path(folder)) for name, folder in adapters.items()}

    def proposers(self) -> dict[str, DraftModel]:
        """Return a proposer for every adapter; each puts its adapter into the weights before it reads prompts."""
        return {name: _Adapted(self, name) for name in self._adapters}

    def use(self, name: str | None) -> None:
        """Put an adapter into the weights in the place of the one that is there; None takes it off."""
        if name == self.name:
            return
        adapter = {} if name is None else self._adapters[name]
        for index, (live, original) in enumerate(zip(self._live, self._own, strict=True)):
            for matrix, parts in MATRICES.items():
                for rows, part in zip(self._rows(matrix), parts, strict=True):
                    factors, base = adapter.get((index, part)), original[matrix][rows]
                    live[matrix][rows].copy_((factors[0] @ factors[1]).add_(base) if factors else base)
        self.name = name
        self.draft.read_beginning([])  # its keys and values are of the other weights

    @property
    def adapter_bytes(self) -> int:
        """Bytes of all adapters together, as they are held."""
        return sum(half.nbytes for adapter in self._adapters.values() for pair in adapter.values() for half in pair)

    @property
    def copied_bytes(self) -> int:
        """Bytes of the draft's own matrices, which are kept beside those that passes read."""
        return sum(matrix.nbytes for layer in self._own for matrix in layer.values())

    def _rows(self, matrix: str) -> list[slice]:
        """Return the rows of each projection that is part of a matrix."""
        draft = self.draft
        query, key = draft.heads * draft.head_dim, draft.key_heads * draft.head_dim
        rows = self._own[0][matrix].shape[0]
        ends = {"query_key_value": [0, query, query + key, rows], "gate_up": [0, rows // 2, rows]}.get(
            matrix, [0, rows]
        )
        return [slice(start, end) for start, end in zip(ends, ends[1:], strict=False)]

    def _read(self, folder: Path) -> dict[tuple[int, str], Factors]:
        """Return the factors of an adapter by layer and projection."""
        from safetensors.torch import load_file

        refuse_unsafe_adapter(folder, self.draft.name)
        config, tensors = read_settings(folder / "adapter_config.json"), load_file(folder / "adapter_model.safetensors")
        if config.get("use_dora"):
            raise ModelError(f"{folder}: DoRA scales rows by their length, and only plain LoRA is switched: merge it")
        factors = {}
        for key in [key for key in tensors if key.endswith(A)]:
            module = key.removesuffix(A)
            a, b = tensors[key].float(), tensors.get(module + B)
            layer, _, part = module.removeprefix(PREFIX).partition(".")
            part = part.rpartition(".")[2]
            if b is None or not layer.isdigit() or not any(part in parts for parts in MATRICES.values()):
                raise ModelError(f"{folder}: {key}: expected a pair of factors of a matrix of a layer")
            factors[int(layer), part] = (
                (b.float() * _scale(config, module, len(a))).to(self.draft.device),
                a.to(self.draft.device),
            )
        if 2 * len(factors) != len(tensors):
            raise ModelError(f"{folder}: holds more than pairs of factors of the matrices of layers: merge it")
        return factors


class _Adapted(DraftModel):
    """A draft model that takes its adapter before it reads a prompt."""

    def __init__(self, shared: SharedDraft, name: str) -> None:
        super().__init__(shared.draft)
        self._shared, self._name = shared, name

    def read_beginning(self, ids: Sequence[int]) -> None:
        """Do nothing: keys and values read with one adapter are wrong for another."""

    def start(self, target: Backend, prompts: Texts, *state: object) -> None:
        """Put the adapter into the weights, and read the prompts."""
        self._shared.use(self._name)
        super().start(target, prompts, *state)


def _scale(config: Mapping, module: str, rank: int) -> float:
    """Return the scale of the product of the factors, as PEFT computes it."""
    alpha = (config.get("alpha_pattern") or {}).get(module.removeprefix("base_model.model."), config["lora_alpha"])
    return alpha / (rank**0.5 if config.get("use_rslora") else rank)
