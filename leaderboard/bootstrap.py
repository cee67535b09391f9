"""Bootstrap over test samples, on the same resamples for every head, so that differences are paired.

A resample is a vector of counts, one per sample. Spearman of a resample needs no sorting: ranks of the resampled values
are cumulative counts along the one order of the original values, so R resamples of N samples cost O(R N).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .metrics import average_array

RESAMPLES = 10_000
BLOCK = 2_000  # resamples at a time: bounds the memory to a few [BLOCK, N] arrays


def resamples(n: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Counts [count, n], each row a draw of n samples with replacement."""
    return rng.multinomial(n, np.full(n, 1.0 / n), size=count)


def weighted_ranks(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Average ranks [R, N] that the samples have within each resample (`values` [N], `counts` [R, N])."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=np.nan) != 0)  # one tie group each
    group = np.add.reduceat(counts[:, order], starts, axis=1)
    before = np.cumsum(group, axis=1) - group
    rank = before + (group + 1) / 2
    sizes = np.diff(starts, append=len(values))
    out = np.empty(counts.shape)
    out[:, order] = np.repeat(rank, sizes, axis=1)
    return out


def weighted_pearson(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Pearson [R] of columns x, y [R, N] with weights `counts`; NaN where a side is constant."""
    total = counts.sum(axis=1)
    mx = (counts * x).sum(axis=1) / total
    my = (counts * y).sum(axis=1) / total
    dx, dy = x - mx[:, None], y - my[:, None]
    cov = (counts * dx * dy).sum(axis=1)
    norm = np.sqrt((counts * dx * dx).sum(axis=1) * (counts * dy * dy).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(norm > 1e-9, cov / norm, np.nan)


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
    rng = np.random.default_rng(seed)
    out = np.empty((len(predictions), count))
    for start in range(0, count, BLOCK):
        size = min(BLOCK, count - start)
        per_fold = np.empty((len(truths), len(predictions), size))
        for k, truth in enumerate(truths):
            counts = resamples(len(truth), size, rng)
            true_ranks = weighted_ranks(truth, counts)
            for h, folds in enumerate(predictions):
                per_fold[k, h] = weighted_pearson(true_ranks, weighted_ranks(folds[k], counts), counts)
        out[:, start : start + size] = average_array(per_fold, rule) if len(truths) > 1 else per_fold[0]
    return out


def interval(draws: np.ndarray, level: float = 0.95) -> tuple[float | None, float | None]:
    """The percentile interval of draws [R]; (None, None) if more than a tenth of the draws is not defined."""
    defined = draws[np.isfinite(draws)]
    if len(defined) < 0.9 * len(draws) or not len(defined):
        return None, None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
