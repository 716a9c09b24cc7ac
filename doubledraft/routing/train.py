"""The routers of a study, learnt on validation prompts, which no draft was trained on; one of them is chosen.

The config lists routers from the simplest to the most complex. Each is judged by cross-validation over groups, and the
first that its successor does not beat by 1 % is chosen, so that a complex router is used only where it is faster.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from doubledraft.files import whole_directory
from doubledraft.log import log
from doubledraft.records import Question, read_records
from doubledraft.routing import matrix as matrices
from doubledraft.routing.collect import read_hidden
from doubledraft.routing.features import SentenceEncoder, of_texts
from doubledraft.routing.matrix import DraftMatrix
from doubledraft.routing.router import fit
from doubledraft.summaries import json_file
from doubledraft.summaries.router_file import RouterFile, RoutersFile

FOLDS = 5
WORTH = 1.01  # speed of the next router, relative to this one, from which it is preferred
ROUTERS = "routers.json"


def train(
    *,
    matrix: str | Path,
    hidden: str | Path,
    prompts: Sequence[str | Path],
    target: str | Path,
    routers: Mapping[str, Mapping[str, str]],
    embedding: str | None,
    seed: int,
    out: str | Path,
) -> None:
    """Write all routers of the config into a folder, each into one of its name, and which is chosen."""
    full_matrix = matrices.read(matrix)
    configs = {
        name: RouterFile(
            name=name,
            **entry,
            drafts=full_matrix.drafts,
            seed=seed,
            embedding=embedding if entry["features"] == "embedding" else None,
        )
        for name, entry in routers.items()
    }
    features = features_of(configs.values(), texts_of(prompts, full_matrix.prompts), read_hidden(hidden))
    at = full_matrix.splits == "validation"
    validation, features = full_matrix.take(at), {kind: rows[at] for kind, rows in features.items()}
    speeds = {name: cross_validated(config, features[config.features], validation) for name, config in configs.items()}
    trained = RoutersFile(
        chosen=simplest(speeds), tokens_per_second=speeds, best_single=best_single(validation), target=str(target)
    )
    log.info("chosen of %s: %s; best single draft: %s", speeds, trained.chosen, trained.best_single)
    with whole_directory(out) as folder:
        for name, config in configs.items():
            fit(config, features[config.features], validation.advantage).save(folder / name)
        json_file.write(folder / ROUTERS, trained)


def texts_of(prompts: Iterable[str | Path], ids: Sequence[str]) -> list[str]:
    """Return the texts of prompts by their ids, from files of questions."""
    texts = {question.id: question.question for path in prompts for question in read_records(path, Question)}
    return [texts[id] for id in ids]


def features_of(routers: Iterable[RouterFile], texts: Sequence[str], hidden: np.ndarray) -> dict[str, np.ndarray]:
    """Return the features [prompts, size] of each kind that a router has; `hidden` [prompts, size] is one of them."""
    encoders = {router.features: router.embedding and SentenceEncoder(router.embedding) for router in routers}
    return {kind: of_texts(kind, texts, hidden, encoder) for kind, encoder in encoders.items()}


def best_single(matrix: DraftMatrix) -> str:
    """Return the draft that answers all prompts of a matrix in the least time."""
    return matrix.drafts[int(matrix.seconds.sum((0, 2)).argmin())]


def cross_validated(config: RouterFile, features: np.ndarray, matrix: DraftMatrix) -> float:
    """Return the tokens per second of a router on prompts whose groups it did not learn from."""
    folds = np.array([sorted(set(matrix.groups)).index(group) for group in matrix.groups]) % FOLDS
    seconds = 0.0
    for fold in sorted(set(folds)):
        held_out = folds == fold
        if held_out.all():
            raise ValueError(
                f"config key domains.sets: all validation prompts are of the group {str(matrix.groups[0])!r}, so no "
                "router can be judged; raise `validation`, or take sources with more groups"
            )
        router = fit(config, features[~held_out], matrix.take(~held_out).advantage)
        chosen = router.scores(features[held_out]).argmax(1)
        seconds += matrix.seconds[held_out].mean(2)[np.arange(len(chosen)), chosen].sum()
    return float(matrix.tokens.sum() / seconds)


def simplest(speeds: Mapping[str, float]) -> str:
    """Return the first router, in order of complexity, that the next one does not beat by the factor WORTH."""
    names = list(speeds)
    for name, following in zip(names, names[1:], strict=False):
        if speeds[following] <= WORTH * speeds[name]:
            return name
    return names[-1]
