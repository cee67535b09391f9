"""Learning to rank: boosted trees that put train in order, pair by pair (LightGBM), and a line from there to points."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock
from typing import Any, ClassVar

import numpy as np

from .base import FeatureSet, Needs
from .folds import inner_folds, splits
from .trees import LightGbm

ALONE = Lock()  # LightGBM has one table of gains for all threads (its issue 399): seeds are ranked one after the other
LEAST_SLOPE = 1e-3  # of the deviation of the scores: the line never turns the order round, nor ties what was apart


@dataclass(frozen=True)
class Rank(LightGbm):
    """Boosted trees trained by LambdaRank (Burges, MSR-TR-2010-82) on all pairs of train samples.

    All of train is one query: a score must tell the order of any two samples. The relevance of a sample is the place
    of its score among the different ones, gains are linear in it and no pair is left out: the whole order counts, not
    its top. LightGBM divides the gradients of a query by their sum, so a penalty slows a large query down: `l2` is 0
    here. The other parameters are those of lightgbm. Scores in points are a line of the ranking, by least squares
    through out-of-fold rankings inside train.
    """

    name: ClassVar[str] = "rank"
    needs = Needs(shape=None, most_samples=10_000)  # LightGBM compares no more with each other

    l2: float = 0.0

    def train(self, x: np.ndarray, train: FeatureSet, seed: int) -> Any:
        order = np.argsort(train.ids)  # where trees tie, the order of the rows decides
        x, y, folds = x[order], train.score[order], inner_folds(train)[order]
        apart = np.zeros(len(y))
        for rest, held_out in splits(folds):
            apart[held_out] = self.ranker(x[rest], y[rest], seed).predict(x[held_out], num_threads=1)
        if np.ptp(apart) == 0:  # too few samples for a tree
            return float(y.mean())
        return in_points(self.ranker(x, y, seed), *line(apart, y))

    def ranker(self, x: np.ndarray, y: np.ndarray, seed: int) -> Any:
        """Trees whose sum over x [N, D] is ordered like y [N]."""
        levels, relevance = np.unique(y, return_inverse=True)
        with ALONE:
            return self.boosted(
                x,
                relevance,
                seed,
                group=[len(y)],
                objective="lambdarank",
                label_gain=np.arange(len(levels), dtype=float).tolist(),
                lambdarank_truncation_level=len(y),
            )


def line(ranking: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    """Slope (above 0) and intercept of the least squares of `score` [N] by `ranking` [N], which is not constant."""
    centred = ranking - ranking.mean()
    slope = float(centred @ score / (centred @ centred))
    slope = max(slope, LEAST_SLOPE * float(score.std() / ranking.std()))
    return slope, float(score.mean() - slope * ranking.mean())


def in_points(booster: Any, slope: float, intercept: float) -> Any:
    """`booster` with the line put into its leaves, so that it predicts slope * what it did + intercept."""
    for k, tree in enumerate(booster.dump_model()["tree_info"]):
        for leaf in range(tree["num_leaves"]):
            value = slope * booster.get_leaf_output(k, leaf) + (intercept if k == 0 else 0.0)
            booster.set_leaf_output(k, leaf, value)
    return booster
