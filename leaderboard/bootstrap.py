"""Bootstrap over test samples, on the same resamples for every head, so that differences are paired.

A resample is a vector of counts, one per sample. The ranks that samples have within a resample are a matrix product,
counts [R, N] times which-sample-is-below-which [N, N], so nothing is sorted more than once, and the ranks of the truth
are shared by all heads.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .metrics import average_array

RESAMPLES = 10_000
BLOCK = 500  # resamples at a time: a few [BLOCK, N] arrays stay in the cache
LARGE = 2_000  # samples from which on cumulative counts are cheaper than an [N, N] matrix


def resamples(n: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Counts [count, n], each row a draw of n samples with replacement."""
    draws = rng.integers(0, n, size=(count, n)) + (np.arange(count) * n)[:, None]
    return np.bincount(draws.ravel(), minlength=count * n).reshape(count, n).astype(np.float64)


class Ranks:
    """Average ranks of `values` [N] within resamples, minus their mean, which is the same in every resample."""

    def __init__(self, values: np.ndarray) -> None:
        self.n = len(values)
        self.below = None
        if self.n < LARGE:
            self.below = (values[:, None] < values) + 0.5 * (values[:, None] == values)
        else:
            self.order = np.argsort(values, kind="stable")
            self.starts = np.flatnonzero(np.diff(values[self.order], prepend=np.nan) != 0)  # one group of ties each

    def within(self, counts: np.ndarray) -> np.ndarray:
        """Centred ranks [R, N] for `counts` [R, N]; of samples that a resample lacks, where they would stand."""
        if self.below is not None:
            return counts @ self.below - self.n / 2
        group = np.add.reduceat(counts[:, self.order], self.starts, axis=1)
        rank = np.cumsum(group, axis=1) - group / 2 - self.n / 2
        out = np.empty(counts.shape)
        out[:, self.order] = np.repeat(rank, np.diff(self.starts, append=self.n), axis=1)
        return out


def bootstrap_spearman(
    truths: Sequence[np.ndarray],
    predictions: Sequence[Sequence[np.ndarray]],
    *,
    rule: str = "fisher",
    count: int = RESAMPLES,
    seed: int = 0,
) -> np.ndarray:
    """Spearman of every head in every resample: [heads, count], NaN where it is not defined.

    `truths`: one array per fold; `predictions`: per head one array per fold. Samples are drawn within folds, and the
    folds' correlations are averaged by `rule`.
    """
    per_fold = [
        _one_fold(truth, [folds[k] for folds in predictions], count, np.random.default_rng((seed, k)))
        for k, truth in enumerate(truths)
    ]
    return average_array(np.stack(per_fold), rule) if len(per_fold) > 1 else per_fold[0]


def _one_fold(truth: np.ndarray, predictions: Sequence[np.ndarray], count: int, rng: np.random.Generator) -> np.ndarray:
    true_ranks, ranks = Ranks(truth), [Ranks(prediction) for prediction in predictions]
    out = np.full((len(predictions), count), np.nan)
    for start in range(0, count, BLOCK):
        rows = slice(start, min(start + BLOCK, count))
        counts = resamples(len(truth), rows.stop - start, rng)
        x = true_ranks.within(counts)
        weighted = counts * x
        xx = np.einsum("rn,rn->r", weighted, x)
        for h, one in enumerate(ranks):
            y = one.within(counts)
            xy = np.einsum("rn,rn->r", weighted, y)
            norm = np.sqrt(xx * np.einsum("rn,rn->r", counts, y * y))
            np.divide(xy, norm, out=out[h, rows], where=norm > 1e-9)
    return out


def interval(draws: np.ndarray, level: float = 0.95) -> tuple[float | None, float | None]:
    """The percentile interval of draws [R]; (None, None) if more than a tenth of the draws is not defined."""
    defined = draws[np.isfinite(draws)]
    if len(defined) < 0.9 * len(draws) or not len(defined):
        return None, None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
