"""Ridge regression and support vector regression on pooled clips, with scikit-learn.

Both are deterministic: the seed changes nothing. Their classifiers give margins, which become probabilities by Platt's
sigmoid (Platt, 1999) fitted to margins of held-out folds inside train.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from .base import FeatureSet
from .classical import Classical, classical_needs
from .config import demand

Scale = Literal["standard", "none"]

# Twelve decades hold the best value for features of any magnitude; half decades, for its error is flat there.
ALPHAS = np.logspace(-4, 8, 25)


@dataclass(frozen=True)
class Ridge(Classical):
    """Least squares with an L2 penalty `alpha` on the weights.

    `alpha` "cv" takes that of 25 values in 1e-4 .. 1e8 with the least leave-one-out error inside train, which ridge has
    in closed form. `scale`: "standard" brings every feature to mean 0 and deviation 1 of train before, "none" does not.
    For a binary target: ridge on -1 and 1, its margin calibrated.
    """

    name: ClassVar[str] = "ridge"
    needs = classical_needs(seeded=False)

    alpha: float | Literal["cv"] = "cv"
    scale: Scale = "standard"

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "alpha", self.alpha == "cv" or float(self.alpha) > 0, "a number above 0, or cv")

    def train(self, x: np.ndarray, train: FeatureSet, seed: int) -> Any:  # noqa: ARG002
        from sklearn import linear_model

        binary = train.target_kind == "binary"
        if self.alpha == "cv" and len(x) > 2:
            model = (linear_model.RidgeClassifierCV if binary else linear_model.RidgeCV)(ALPHAS)
        else:
            alpha = 1.0 if self.alpha == "cv" else self.alpha
            model = (linear_model.RidgeClassifier if binary else linear_model.Ridge)(alpha)
        return fitted(model, x, train, self.scale)

    def describe(self, model: Any) -> dict[str, Any]:
        last = estimator(model)
        alpha = last.alpha_ if hasattr(last, "alpha_") else last.alpha
        return {"parameters": int(last.coef_.size) + 1, "alpha": float(alpha)}


@dataclass(frozen=True)
class Svr(Classical):
    """Support vector regression with the radial kernel exp(-gamma |x - x'|^2), on scores in points.

    `C` none: max(|mean - 3 sd|, |mean + 3 sd|) of the train scores (Cherkassky and Ma, Neural Networks 17, 2004); 1 for
    a classifier. `epsilon` (the width, in points, in which an error costs nothing) none: a tenth of the deviation of
    the train scores, scikit-learn's .1 for scores of deviation 1. `gamma` "scale": 1 / (D variance of the features),
    "auto": 1 / D. `scale` as in ridge. For a binary target: a support vector classifier, its margin calibrated.
    """

    name: ClassVar[str] = "svr"
    needs = classical_needs(seeded=False)

    C: float | None = None
    epsilon: float | None = None
    gamma: float | Literal["scale", "auto"] = "scale"
    scale: Scale = "standard"

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "C", self.C is None or self.C > 0, "a number above 0, or none")
        demand(self, "epsilon", self.epsilon is None or self.epsilon >= 0, "a number from 0 on, or none")
        demand(self, "gamma", isinstance(self.gamma, str) or self.gamma > 0, "a number above 0, scale or auto")

    def train(self, x: np.ndarray, train: FeatureSet, seed: int) -> Any:  # noqa: ARG002
        from sklearn.svm import SVC, SVR

        kernel: dict[str, Any] = {"kernel": "rbf", "gamma": self.gamma}
        if train.target_kind == "binary":
            return fitted(SVC(C=self.C or 1.0, **kernel), x, train, self.scale)
        mean, deviation = float(train.score.mean()), float(train.score.std())
        cost = self.C or max(abs(mean - 3 * deviation), abs(mean + 3 * deviation))
        epsilon = 0.1 * deviation if self.epsilon is None else self.epsilon
        return fitted(SVR(C=cost, epsilon=epsilon, **kernel), x, train, self.scale)

    def describe(self, model: Any) -> dict[str, Any]:
        last = estimator(model)
        return {
            "parameters": int(last.support_vectors_.size + last.dual_coef_.size) + 1,
            "support_vectors": len(last.support_),
            "C": float(last.C),
            **({"epsilon": float(last.epsilon)} if last.epsilon else {}),
        }


def fitted(model: Any, x: np.ndarray, train: FeatureSet, scale: Scale) -> Any:
    """`model`, after standardisation where asked and before calibration where the target is binary, fitted to train."""
    pipeline = scaled(model, scale)
    if train.target_kind != "binary":
        return pipeline.fit(x, train.score)
    from sklearn.calibration import CalibratedClassifierCV

    y = train.score.astype(np.int64)
    rarest = int(np.bincount(y, minlength=2).min())
    if rarest < 2:  # nothing can be held out: the logistic function of the margin stands in (score_of)
        return pipeline.fit(x, y)
    folds: dict[str, Any] = {"ensemble": False, "cv": min(5, rarest)}
    return CalibratedClassifierCV(pipeline, **folds).fit(x, y)


def scaled(model: Any, scale: Scale) -> Any:
    """A pipeline of `model` alone, or after standardisation."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), model) if scale == "standard" else make_pipeline(model)


def estimator(model: Any) -> Any:
    """The last step of a pipeline, out of its calibration where it has one."""
    pipeline = model.calibrated_classifiers_[0].estimator if hasattr(model, "calibrated_classifiers_") else model
    return pipeline[-1]
