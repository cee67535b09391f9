"""What the heads over scikit-learn and LightGBM share: clips pooled to a vector, a model of it, files.

They predict the score itself, never score / difficulty. The target decides what is fitted: a regressor for scores, a
classifier for binary targets, whose judgement is the probability of 1. Numbers are float64 from the pooling on. Where
every train score is the same, that score is the judgement. No parameter is chosen on `val`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..errors import StoreError
from .base import FeatureSet, Fitted, Judgement, Log, Needs
from .needs import FittedOn, ready_to_fit
from .pooling import parse_pool, pool
from .saving import dump_estimator, load_estimator, read_head, write_head
from .spread import rescaled

ESTIMATOR = "head.skops"


def classical_needs(*, seeded: bool, exemplars: bool = False) -> Needs:
    """One stream of clips of any shape, for scores and for binary targets."""
    return Needs(shape=None, targets=("score", "binary"), seeded=seeded, exemplars=exemplars)


@dataclass(frozen=True)
class Classical:
    """A head that makes one vector of a sample's clips (`pool`, see pooling.py) and gives it to a model."""

    name: ClassVar[str]
    needs: ClassVar[Needs]

    pool: str = "mean"

    def __post_init__(self) -> None:
        parse_pool(self.pool)

    def train(self, x: np.ndarray, train: FeatureSet, seed: int) -> Any:
        """A model fitted to x [N, D] and the scores of `train`, or the one score that every sample is given."""
        raise NotImplementedError

    def judge(self, model: Any, x: np.ndarray, data: FeatureSet) -> Judgement:  # noqa: ARG002
        return Judgement(score_of(model, x))

    def describe(self, model: Any) -> dict[str, Any]:
        """What `info` says of a model: its number of parameters, and what was chosen inside train."""
        raise NotImplementedError

    def write(self, model: Any, folder: Path) -> None:
        dump_estimator(folder / ESTIMATOR, model)

    def read(self, folder: Path) -> Any:
        path = folder / ESTIMATOR
        model = load_estimator(path)
        if not hasattr(model, "predict"):
            raise StoreError("no estimator in it", file=path, hint="fit the head again")
        return model

    def fit(
        self,
        train: FeatureSet,
        val: FeatureSet | None = None,  # noqa: ARG002
        *,
        seeds: Sequence[int],
        device: str = "cpu",  # noqa: ARG002
        log: Log | None = None,  # noqa: ARG002
    ) -> list[Fitted]:
        """One fitted head per seed, in threads; fitted once and returned for every seed if the seed changes nothing."""
        from joblib import Parallel, delayed

        ready_to_fit(self, train)
        fitted_on = FittedOn.of(self, train)
        x = inputs(self, train)
        if np.ptp(train.score) == 0 and not self.needs.exemplars:
            info = {"selected_on": "none", "parameters": 1}
            return [FittedClassical(self, float(train.score[0]), fitted_on, info)] * len(seeds)

        def fit_one(seed: int) -> Fitted:
            model = self.train(x, train, seed)
            said = {"parameters": 1} if isinstance(model, float) else self.describe(model)
            return FittedClassical(self, model, fitted_on, {"selected_on": "none", **said})

        if not self.needs.seeded:
            return [fit_one(0)] * len(seeds)
        run: Any = Parallel(n_jobs=-1, prefer="threads")
        return list(run(delayed(fit_one)(seed) for seed in seeds))

    def load(self, folder: Path, device: str = "cpu") -> Fitted:  # noqa: ARG002
        plain = read_head(folder)
        constant = plain["state"].get("constant")
        model = self.read(Path(folder)) if constant is None else float(constant)
        return FittedClassical(self, model, FittedOn.from_json(plain["fitted_on"]), plain["info"])


@dataclass
class FittedClassical:
    """`model`: what the head's `train` made, or one score for everything."""

    head: Classical
    model: Any
    fitted_on: FittedOn
    info: Mapping[str, Any]

    def predict(self, data: FeatureSet) -> Judgement:
        self.fitted_on.check(self.head, data)
        if isinstance(self.model, float) or len(data) == 0:
            spread = np.zeros(len(data)) if "spread" in self.head.needs.gives else None
            return Judgement(np.full(len(data), self.model if isinstance(self.model, float) else 0.0), spread)
        stream = next(iter(self.fitted_on.streams))
        return rescaled(self.head.judge(self.model, inputs(self.head, data, stream), data), self.info)

    def save(self, folder: Path) -> None:
        constant = isinstance(self.model, float)
        if not constant:
            self.head.write(self.model, folder)
        write_head(folder, self.head, self.fitted_on, self.info, {"constant": self.model} if constant else {})


def inputs(head: Classical, data: FeatureSet, stream: str | None = None) -> np.ndarray:
    """[N, D] float64: the pooled clips of `stream` (by default the only one).

    Raises:
        StoreError: features that are not finite, with the sample and the stream.
    """
    name = stream or next(iter(data.streams))
    x = pool(data.streams[name], head.pool)
    bad = ~np.isfinite(x).all(axis=1)
    if bad.any():
        sample = data.ids[int(np.flatnonzero(bad)[0])]
        raise StoreError(
            f"{bad.sum()} of {len(data)} samples have features that are not finite",
            sample=sample,
            field=name,
            hint="extract them again (aqa extract --overwrite always), or leave the samples out",
        )
    return x


def score_of(model: Any, x: np.ndarray) -> np.ndarray:
    """[N] float64 of an estimator of scikit-learn: a regressor's prediction, a classifier's probability of class 1."""
    from scipy.special import expit

    if hasattr(model, "predict_proba"):
        return model.predict_proba(x)[:, 1]
    if hasattr(model, "decision_function"):
        return expit(model.decision_function(x))
    return np.asarray(model.predict(x), dtype=np.float64).reshape(len(x))
