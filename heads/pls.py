"""Partial least squares on pooled clips, with scikit-learn: regression on a few directions that vary with the score."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from .base import FeatureSet, Needs
from .classical import Classical
from .config import demand
from .folds import inner_folds, splits
from .linear import Scale, estimator, scaled

MOST = 20  # components that are tried: one that follows the score any closer has learned its noise


@dataclass(frozen=True)
class Pls(Classical):
    """Least squares on the `components` directions of greatest covariance with the score (Wold et al., 2001).

    `components` "cv" takes that number in 1 .. 20 with the least squared error in five folds inside train, no subject
    in two of them. There are never more than the features have dimensions. `scale` as in ridge.
    """

    name: ClassVar[str] = "pls"
    needs: ClassVar[Needs] = Needs(shape=None, seeded=False)

    components: int | Literal["cv"] = "cv"
    scale: Scale = "standard"

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "components", self.components == "cv" or int(self.components) >= 1, "a number from 1 on, or cv")

    def train(self, x: np.ndarray, train: FeatureSet, seed: int) -> Any:  # noqa: ARG002
        count = self.components
        if count == "cv":
            count = 1 + int(np.argmin(self.errors(x, train.score, inner_folds(train))))
        model = self.regression(x, train.score, count)
        return float(train.score.mean()) if model is None else model

    def errors(self, x: np.ndarray, y: np.ndarray, folds: np.ndarray) -> np.ndarray:
        """[20]: the squared errors of `folds`, int [N], judged with 1, 2, .. components fitted to the other ones."""
        total = np.zeros(MOST)
        for rest, held_out in splits(folds):
            judged = np.full((len(held_out), MOST), y[rest].mean())
            model = self.regression(x[rest], y[rest], MOST)
            if model is not None:  # components are fitted one after the other: each adds to what the ones before say
                last = estimator(model)
                added = model.transform(x[held_out]) * last.y_loadings_[0]
                judged[:, : added.shape[1]] += added.cumsum(axis=1)
                judged[:, added.shape[1] :] = judged[:, [added.shape[1] - 1]]
            total += ((judged - y[held_out, None]) ** 2).sum(axis=0)
        return total

    def regression(self, x: np.ndarray, y: np.ndarray, count: int) -> Any:
        """A pipeline with `count` components, or as many as x [N, D] has dimensions; None where it has none."""
        from sklearn.cross_decomposition import PLSRegression

        count = min(count, dimensions(scaled("passthrough", self.scale).fit_transform(x)))
        if count == 0:
            return None
        with warnings.catch_warnings():
            # What is left of the score is nothing: the components after that stay zero, as they should.
            warnings.filterwarnings("ignore", "y residual is constant", UserWarning)
            return scaled(PLSRegression(count, scale=False), self.scale).fit(x, y)

    def describe(self, model: Any) -> dict[str, Any]:
        last = estimator(model)
        return {"parameters": int(last.coef_.size) + 1, "components": int(last.n_components)}


def dimensions(x: np.ndarray) -> int:
    """The rank of centred x [N, D]: its singular values above 1e-5 of the largest, rounding left out."""
    z = x - x.mean(axis=0)
    squares = np.linalg.eigvalsh(z @ z.T if len(z) < z.shape[1] else z.T @ z)
    return int((squares > max(1e-10 * squares[-1], 1e-24 * float((x**2).sum()))).sum())
