"""What a router is: `router.json` beside its weights, and `routers.json` beside all routers of a study."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterFile:
    """One router."""

    name: str
    kind: str  # centroid | knn | mlp
    features: str  # ngrams | hidden | embedding
    drafts: list[str]  # by the order of its scores
    seed: int
    embedding: str | None  # model of the sentence embedding: name on the hub, or folder


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutersFile:
    """The routers of a study, and the one that is used."""

    chosen: str  # name, which is also its folder
    tokens_per_second: dict[str, float]  # of each by cross-validation over groups, on prompts that no draft learnt from
    best_single: str  # the draft that is fastest on all those prompts
    target: str  # folder of the model that reads the prompts
