"""k nearest neighbours on pooled clips, which says whom it compared with."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from ..errors import StoreError
from .base import FeatureSet, Judgement
from .classical import Classical, classical_needs
from .config import demand
from .linear import Scale
from .saving import whole_file

NEIGHBOURS = "head.npz"


@dataclass(frozen=True)
class Neighbours:
    """The train samples: where they lie, their scores and ids, and the scaling of the features."""

    x: np.ndarray  # float64 [N, D], scaled
    score: np.ndarray  # float64 [N]
    ids: np.ndarray  # str [N]
    centre: np.ndarray  # float64 [D]
    width: np.ndarray  # float64 [D]

    def nearest(self, x: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Euclidean distances and rows [M, count] of the nearest train samples of x [M, D], the nearest first."""
        from sklearn.neighbors import NearestNeighbors

        search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(self.x)
        return search.kneighbors((x - self.centre) / self.width)


@dataclass(frozen=True)
class Knn(Classical):
    """The mean score of the `k` nearest train samples; for a binary target the share of 1 among them.

    `weights` "distance": each weighs 1 / distance, and samples at distance 0 alone count where there are any. A sample
    is never its own neighbour. `scale` as in ridge. k = 5 is scikit-learn's default.
    """

    name: ClassVar[str] = "knn"
    needs = classical_needs(seeded=False, exemplars=True)

    k: int = 5
    weights: Literal["uniform", "distance"] = "uniform"
    scale: Scale = "standard"

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "k", self.k >= 1, "a whole number from 1 on")

    def train(self, x: np.ndarray, train: FeatureSet, seed: int) -> Neighbours:  # noqa: ARG002
        centre, width = np.zeros(x.shape[1]), np.ones(x.shape[1])
        if self.scale == "standard":
            centre, deviation = x.mean(axis=0), x.std(axis=0)
            width = np.where(deviation > 0, deviation, 1.0)
        return Neighbours((x - centre) / width, train.score.astype(np.float64), np.array(train.ids), centre, width)

    def judge(self, model: Neighbours, x: np.ndarray, data: FeatureSet) -> Judgement:
        # One more than asked, for a sample of train finds itself.
        distance, row = model.nearest(x, min(self.k + 1, len(model.x)))
        score, exemplars = np.empty(len(x)), []
        for i, name in enumerate(data.ids):
            others = model.ids[row[i]] != name
            if not others.any():  # the only train sample is this one
                others[:] = True
            rows = row[i][others][: self.k]
            weight = self._weight(distance[i][others][: self.k])
            score[i] = weight @ model.score[rows] / weight.sum()
            exemplars.append(tuple(str(one) for one in model.ids[rows]))
        return Judgement(score, exemplars=tuple(exemplars))

    def _weight(self, distance: np.ndarray) -> np.ndarray:
        if self.weights == "uniform":
            return np.ones(len(distance))
        same = distance == 0
        return same.astype(np.float64) if same.any() else 1.0 / distance

    def describe(self, model: Neighbours) -> dict[str, Any]:
        return {"parameters": int(model.x.size + model.score.size)}

    def write(self, model: Neighbours, folder: Path) -> None:
        with whole_file(folder / NEIGHBOURS) as path, path.open("wb") as file:
            np.savez(file, **vars(model))

    def read(self, folder: Path) -> Neighbours:
        path = folder / NEIGHBOURS
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return Neighbours(**arrays)
        except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
            raise StoreError(f"cannot read: {error}", file=path, hint="fit the head again") from error
