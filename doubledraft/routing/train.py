"""The routers of a study, learnt on validation prompts, which no draft was trained on; one of them is chosen.

Routers stand in the config from the simplest on. Each is judged by cross-validation over groups, and the first is taken
that the next one does not beat by a hundredth, so that nothing complicated is used where something simple does.
"""

from collections.abc import Mapping, Sequence
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
WORTH = 1.01  # times faster that the next router has to be
FACTS = "routers.json"


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
    whole = matrices.read(matrix)
    learnt = whole.splits == "validation"
    seen = {name: facts for name, facts in describe(routers, whole.drafts, embedding, seed).items()}
    features = features_of(seen.values(), prompts, read_hidden(hidden), whole.prompts)
    known = whole.take(learnt)
    speeds = {name: cross_validated(facts, features[facts.features][learnt], known) for name, facts in seen.items()}
    facts = RoutersFile(
        chosen=first_within_reach(speeds),
        tokens_per_second=speeds,
        best_single=best_single(known),
        target=str(target),
    )
    log.info("chosen of %s: %s; best single draft: %s", speeds, facts.chosen, facts.best_single)
    with whole_directory(out) as folder:
        for name, router in seen.items():
            fit(router, features[router.features][learnt], known.advantage).save(folder / name)
        json_file.write(folder / FACTS, facts)


def describe(
    routers: Mapping[str, Mapping[str, str]], drafts: Sequence[str], embedding: str | None, seed: int
) -> dict[str, RouterFile]:
    """Return the description of every router of the config."""
    return {
        name: RouterFile(
            name=name,
            **entry,
            drafts=list(drafts),
            seed=seed,
            embedding=embedding if entry["features"] == "embedding" else None,
        )
        for name, entry in routers.items()
    }


def features_of(
    routers: Sequence[RouterFile], prompts: Sequence[str | Path], hidden: np.ndarray, order: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return the features [prompts, size] of each kind that a router has, prompts in the `order` of the matrix."""
    texts = {question.id: question.question for path in prompts for question in read_records(path, Question)}
    encoders = {router.features: router.embedding and SentenceEncoder(router.embedding) for router in routers}
    asked = [texts[id] for id in order]
    return {kind: of_texts(kind, asked, hidden, encoder) for kind, encoder in encoders.items()}


def best_single(matrix: DraftMatrix) -> str:
    """Return the draft that answers all prompts of a matrix in the least time."""
    return matrix.drafts[int(matrix.seconds.sum((0, 2)).argmin())]


def cross_validated(facts: RouterFile, features: np.ndarray, matrix: DraftMatrix) -> float:
    """Return the tokens per second of a router on prompts whose groups it did not learn from."""
    folds = np.array([sorted(set(matrix.groups)).index(group) for group in matrix.groups]) % FOLDS
    seconds = 0.0
    for fold in sorted(set(folds)):
        held = folds == fold
        if held.all():
            raise ValueError("the validation prompts are all of one group: no router can be judged; take more groups")
        router = fit(facts, features[~held], matrix.take(~held).advantage)
        chosen = router.scores(features[held]).argmax(1)
        seconds += matrix.seconds[held].mean(2)[np.arange(len(chosen)), chosen].sum()
    return float(matrix.tokens.sum() / seconds)


def first_within_reach(speeds: Mapping[str, float]) -> str:
    """Return the first router that the next one does not beat by WORTH."""
    names = list(speeds)
    for name, following in zip(names, names[1:], strict=False):
        if speeds[following] <= WORTH * speeds[name]:
            return name
    return names[-1]
