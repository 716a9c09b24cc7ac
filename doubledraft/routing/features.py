"""What a router sees of a prompt.

ngrams     counts of its character n-grams, hashed into a fixed number of buckets: no model, under a millisecond
hidden     the target's own hidden state at its end: free, since the target reads the prompt before anything is drafted
embedding  a sentence embedding by a model of its own, such as all-mpnet-base-v2: a pass of that model

Weinberger et al. 2009, arXiv:0902.2206, hash features with a sign, so that collisions cancel on average.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from doubledraft.models.folder import ModelError

if TYPE_CHECKING:
    import torch

NGRAM_SIZES = (2, 3, 4)  # characters
BUCKETS = 1024
LONGEST = 4000  # characters of a prompt that are looked at
LONGEST_EMBEDDED = 384  # tokens, those that all-mpnet-base-v2 was made for


def ngrams(text: str) -> np.ndarray:
    """Return hashed character n-grams of a text, [BUCKETS], of length 1."""
    text, counts = f" {text[:LONGEST].casefold()} ", np.zeros(BUCKETS, dtype=np.float32)
    for size in NGRAM_SIZES:
        for start in range(len(text) - size + 1):
            hashed = crc32(text[start : start + size].encode())
            counts[hashed % BUCKETS] += 1 if hashed >> 31 else -1
    return unit(np.sign(counts) * np.log1p(np.abs(counts)))


def unit(vector: np.ndarray) -> np.ndarray:
    """Return vectors [..., size] of length 1; those of length 0 stay."""
    return vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-12)


class SentenceEncoder:
    """A sentence encoder by its name on the hub or its folder: the mean of its last hidden states, of length 1."""

    def __init__(self, name_or_path: str | Path, device: str = "cpu") -> None:
        """Load the model; weights are safetensors only, and no code of the model's own runs.

        Raise ModelError where it cannot be loaded.
        """
        from transformers import AutoModel, AutoTokenizer

        try:
            self._tokenizer = AutoTokenizer.from_pretrained(name_or_path, trust_remote_code=False)
            model = AutoModel.from_pretrained(name_or_path, trust_remote_code=False, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise ModelError(
                f"sentence encoder {name_or_path}: cannot be loaded from a folder or the hub: {error}"
            ) from None
        self._model = model.to(device).eval()

    def __call__(self, text: str) -> np.ndarray:
        """Return the embedding of a text, [size]."""
        import torch

        encoded = self._tokenizer(text, truncation=True, max_length=LONGEST_EMBEDDED, return_tensors="pt")
        with torch.inference_mode():
            states = self._model(**encoded.to(self._model.device)).last_hidden_state
        return unit(_mean(states, encoded["attention_mask"]).float().cpu().numpy())[0]


def _mean(states: "torch.Tensor", mask: "torch.Tensor") -> "torch.Tensor":
    """Return the mean [batch, size] of states [batch, tokens, size] where the mask is 1."""
    mask = mask.unsqueeze(-1).to(states.dtype)
    return (states * mask).sum(1) / mask.sum(1)


def of_texts(kind: str, texts: Sequence[str], hidden: np.ndarray, encoder: SentenceEncoder | None) -> np.ndarray:
    """Return the features of prompts, [prompts, size]; `hidden` [prompts, size] are the target's states."""
    if kind == "hidden":
        return hidden
    return np.stack([ngrams(text) if kind == "ngrams" else encoder(text) for text in texts])
