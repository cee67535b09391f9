"""A Gaussian process on pooled clips, with scikit-learn: a score, and a spread that grows away from train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from .base import FeatureSet, Fitted, Judgement, Log, Needs
from .classical import Classical, FittedClassical
from .folds import inner_folds, out_of_fold
from .linear import Scale, estimator, fitted, scaled
from .spread import spread_factor

Kernel = Literal["rbf", "matern"]

# The search: variances are in units of that of the train scores, lengths in median distances between train samples.
STARTS = np.log([(1.0, 0.3, 0.1), (1.0, 3.0, 0.1)])  # one short and one long length; the higher likelihood wins
BOUNDS = np.log([(1e-3, 1e3), (1e-2, 1e2), (1e-5, 10.0)])  # the least noise keeps the matrix positive definite


@dataclass(frozen=True)
class Gp(Classical):
    """score = mean + f(x) + noise, f drawn from a Gaussian process (Rasmussen and Williams, 2006, chapter 2).

    The covariance of f is amplitude * k(|x - x'| / length): `kernel` "rbf" exp(-r^2 / 2), the common first choice;
    "matern" the rougher one with nu = 5/2. Amplitude, length and noise maximise the marginal likelihood of train
    (5.4.1). The spread is that of a new score, noise included; `calibrate` multiplies it by the one factor that makes
    the errors of out-of-fold judgements inside train as large as it says. `scale` as in ridge.
    """

    name: ClassVar[str] = "gp"
    # a step of the search takes some N^3 operations, ten seconds at the most samples
    needs: ClassVar[Needs] = Needs(shape=None, most_samples=5000, seeded=False, gives=("spread",))

    kernel: Kernel = "rbf"
    scale: Scale = "standard"
    calibrate: bool = True

    def fit(
        self,
        train: FeatureSet,
        val: FeatureSet | None = None,
        *,
        seeds: Sequence[int],
        device: str = "cpu",
        log: Log | None = None,
    ) -> list[Fitted]:
        """One fitted head, for every seed."""
        (one,) = super().fit(train, val, seeds=[0], device=device, log=log)
        assert isinstance(one, FittedClassical)
        return [replace(one, info={**one.info, **self.scaling(train)})] * len(seeds)

    def scaling(self, train: FeatureSet) -> dict[str, Any]:
        """What `info` says of the factor of the spread: 1 where none is asked for, or there is nothing to take it from
        (a single sample, or parts of train whose scores are all the same)."""
        folds = inner_folds(train)
        if self.calibrate and len(np.unique(folds)) > 1:
            (judged,) = out_of_fold(replace(self, calibrate=False), train, folds=folds, seeds=[0])
            if judged.spread is not None and (judged.spread > 0).all():
                factor = spread_factor(train.score, judged.score, judged.spread)
                return {"spread_scale": factor, "spread_scaled_on": "oof", "spread_samples": len(train)}
        return {"spread_scale": 1.0, "spread_scaled_on": "none", "spread_samples": 0}

    def train(self, x: np.ndarray, train: FeatureSet, seed: int) -> Any:  # noqa: ARG002
        from scipy.spatial.distance import pdist, squareform
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, WhiteKernel

        distance = squareform(pdist(scaled("passthrough", self.scale).fit_transform(x)))
        y = (train.score - train.score.mean()) / train.score.std()
        amplitude, length, noise = most_likely(distance, y, self.kernel)
        shape = RBF(length) if self.kernel == "rbf" else Matern(length, nu=2.5)
        covariance = ConstantKernel(amplitude) * shape + WhiteKernel(noise)
        given: dict[str, Any] = {"optimizer": None, "normalize_y": True, "random_state": 0}
        process = GaussianProcessRegressor(covariance, **given)
        return fitted(process, x, train, self.scale)

    def judge(self, model: Any, x: np.ndarray, data: FeatureSet) -> Judgement:  # noqa: ARG002
        return Judgement(*model.predict(x, return_std=True))

    def describe(self, model: Any) -> dict[str, Any]:
        process = estimator(model)
        found = dict(zip(("amplitude", "length", "noise"), np.exp(process.kernel_.theta).tolist(), strict=True))
        likelihood = float(process.log_marginal_likelihood_value_)
        return {"parameters": process.X_train_.size + len(process.alpha_), **found, "log_likelihood": likelihood}


def most_likely(distance: np.ndarray, y: np.ndarray, kernel: Kernel) -> tuple[float, float, float]:
    """Amplitude, length and noise of the highest marginal likelihood of scores y [N], standardised, whose samples are
    `distance` [N, N] apart.

    Distances are taken once and climbed on from two starts, so that a step costs no pass over the features.
    """
    from scipy.optimize import minimize

    middle = float(np.median(distance[np.triu_indices(len(y), 1)])) or 1.0
    climbs = [
        minimize(minus_likelihood, start, (distance / middle, y, kernel), "L-BFGS-B", jac=True, bounds=BOUNDS)
        for start in STARTS
    ]
    amplitude, length, noise = np.exp(min(climbs, key=lambda climb: climb.fun).x)
    return float(amplitude), float(length * middle), float(noise)


def minus_likelihood(
    theta: np.ndarray, distance: np.ndarray, y: np.ndarray, kernel: Kernel
) -> tuple[float, np.ndarray]:
    """-log p(y) and its gradient by theta = log (amplitude, length, noise): Rasmussen and Williams, (5.8) and (5.9)."""
    from scipy.linalg import cho_factor, cho_solve

    amplitude, length, noise = np.exp(theta)
    r = distance / length
    if kernel == "rbf":
        k = np.exp(-(r**2) / 2)
        by_length = r**2 * k
    else:
        t = np.sqrt(5) * r
        k = (1 + t + t**2 / 3) * np.exp(-t)
        by_length = t**2 * (1 + t) / 3 * np.exp(-t)
    covariance = amplitude * k
    covariance[np.diag_indices_from(covariance)] += noise
    factor = cho_factor(covariance, lower=True, check_finite=False)
    alpha = cho_solve(factor, y, check_finite=False)
    value = y @ alpha / 2 + np.log(np.diag(factor[0])).sum() + len(y) / 2 * np.log(2 * np.pi)
    weight = (cho_solve(factor, np.eye(len(y)), check_finite=False) - np.outer(alpha, alpha)) / 2
    return float(value), np.array(
        [amplitude * (weight * k).sum(), amplitude * (weight * by_length).sum(), noise * np.trace(weight)]
    )
