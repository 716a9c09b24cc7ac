"""Routers: from the features of a prompt to a score for every draft, learnt from a matrix.

What is learnt is each draft's advantage on a prompt: the logarithm of its tokens per second, less the mean over drafts.

centroid  the mean features of the prompts that each draft was best for; the nearest one is chosen
knn       the mean advantage of each draft over the nearest prompts
mlp       one hidden layer, as wide as SpecDecode's, that predicts the advantages

Scores are computed in numpy, in microseconds; a router is saved as safetensors and JSON. Drafts are known by name, so
one that was never best shifts no other.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from doubledraft.files import whole_directory
from doubledraft.records import RecordError
from doubledraft.routing.features import unit
from doubledraft.summaries import json_file
from doubledraft.summaries.router_file import RouterFile

WEIGHTS, CONFIG = "router.safetensors", "router.json"
NEIGHBOURS = 8
WIDTH = 256  # of the hidden layer
EPOCHS, LEARNING_RATE, WEIGHT_DECAY = 150, 1e-3, 0.1


@dataclass(frozen=True, slots=True)
class Router:
    """A router that has learnt."""

    config: RouterFile
    weights: dict[str, np.ndarray]  # what `fit` learnt, by name

    @property
    def inputs(self) -> int:
        """How many features of a prompt it takes."""
        return len(self.weights["mean"])

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Return a score for every draft, [prompts, drafts], from features [prompts, size]; the largest is chosen."""
        inputs = unit((features - self.weights["mean"]) / self.weights["scale"])
        return SCORES[self.config.kind](self.weights, inputs)

    def save(self, folder: str | Path) -> None:
        """Write the router into a folder of its own."""
        from safetensors.numpy import save_file

        with whole_directory(folder) as partial:
            save_file({name: np.ascontiguousarray(value) for name, value in self.weights.items()}, partial / WEIGHTS)
            json_file.write(partial / CONFIG, self.config)


def load(folder: str | Path) -> Router:
    """Load a router from its folder; raise RecordError where its files cannot be read, or do not fit each other."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        router = Router(json_file.read(Path(folder) / CONFIG, RouterFile), load_file(Path(folder) / WEIGHTS))
        scores = router.scores(np.zeros((1, router.inputs), dtype=np.float32))
    except (OSError, SafetensorError) as error:
        raise RecordError(f"{folder}: no router can be read from it: {error}: make it again") from None
    except KeyError as error:
        raise RecordError(f"{folder}: {WEIGHTS} or the kind in {CONFIG} is another router's: {error}") from None
    if scores.shape != (1, len(router.config.drafts)):
        raise RecordError(f"{folder}: {CONFIG} has {len(router.config.drafts)} drafts, {WEIGHTS} {scores.shape[1]}")
    return router


def fit(config: RouterFile, features: np.ndarray, advantage: np.ndarray) -> Router:
    """Return a router that has learnt from features [prompts, size] and advantages [prompts, drafts]."""
    mean, scale = features.mean(0), features.std(0)
    scale = np.where(scale > 1e-6, scale, 1.0)
    inputs = unit((features - mean) / scale)
    learnt = FIT[config.kind](inputs, advantage, config.seed)
    weights = {"mean": mean, "scale": scale, **learnt}
    return Router(config, {name: value.astype(np.float32) for name, value in weights.items()})


def _fit_centroid(inputs: np.ndarray, advantage: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    best = advantage.argmax(1)
    at = range(advantage.shape[1])
    means = [inputs[best == draft].mean(0) if (best == draft).any() else np.zeros(inputs.shape[1]) for draft in at]
    return {"centroids": unit(np.stack(means)), "counts": np.bincount(best, minlength=advantage.shape[1])}


def _score_centroid(weights: dict[str, np.ndarray], inputs: np.ndarray) -> np.ndarray:
    return np.where(weights["counts"] > 0, inputs @ weights["centroids"].T, -np.inf)


def _fit_knn(inputs: np.ndarray, advantage: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    return {"prompts": inputs, "advantage": advantage}


def _score_knn(weights: dict[str, np.ndarray], inputs: np.ndarray) -> np.ndarray:
    count = min(NEIGHBOURS, len(weights["prompts"]))
    nearest = np.argsort(-inputs @ weights["prompts"].T, axis=1, kind="stable")[:, :count]
    return weights["advantage"][nearest].mean(1)


def _fit_mlp(inputs: np.ndarray, advantage: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Train by AdamW on all prompts at once; the seed decides the first weights, and nothing else is drawn."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = torch.nn.Sequential(
            torch.nn.Linear(inputs.shape[1], WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, advantage.shape[1])
        )
    inputs, outputs = (torch.tensor(values, dtype=torch.float32) for values in (inputs, advantage))
    outputs = outputs / outputs.std().clamp_min(1e-6)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(inputs), outputs).backward()
        optimizer.step()
    names = ("in_weight", "in_bias", "out_weight", "out_bias")
    return {name: value.detach().numpy() for name, value in zip(names, model.parameters(), strict=True)}


def _score_mlp(weights: dict[str, np.ndarray], inputs: np.ndarray) -> np.ndarray:
    hidden = np.maximum(inputs @ weights["in_weight"].T + weights["in_bias"], 0)
    return hidden @ weights["out_weight"].T + weights["out_bias"]


FIT = {"centroid": _fit_centroid, "knn": _fit_knn, "mlp": _fit_mlp}
SCORES = {"centroid": _score_centroid, "knn": _score_knn, "mlp": _score_mlp}
