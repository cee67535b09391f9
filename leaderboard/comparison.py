"""Which heads can be told apart: every pair on the same resamples, corrected for how many pairs there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

from .metrics import FISHER_LIMIT

LEVEL = 0.05


def paired_p(observed: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Two-sided p [H, H] of equal correlations; NaN where one is not defined.

    `observed`: correlations [H] on the test samples; `draws`: those of the same heads in the same resamples [H, R].
    The difference of the Fisher z over its standard deviation in the resamples is taken as normal. Counting resamples
    instead would need more than a million of them to tell 50 heads apart after Holm's correction.
    """
    z = np.arctanh(np.clip(observed, -FISHER_LIMIT, FISHER_LIMIT))
    zs = np.arctanh(np.clip(draws, -FISHER_LIMIT, FISHER_LIMIT))
    variance = _variances(zs)
    difference = np.abs(z[:, None] - z)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * stats.norm.sf(difference / np.sqrt(np.maximum(variance, 0)))
    return np.where(difference <= 1e-12, 1.0, p)  # the same predictions have no variance either


def _variances(zs: np.ndarray) -> np.ndarray:
    """Variance [H, H] of the differences of rows of `zs` [H, R], over the resamples in which every defined row is."""
    defined = np.isfinite(zs).any(axis=1)
    kept = np.flatnonzero(np.isfinite(zs[defined]).all(axis=0))
    out = np.full((len(zs), len(zs)), np.nan)
    if len(kept) > 1:
        product = np.atleast_2d(np.cov(zs[defined][:, kept]))
        out[np.ix_(defined, defined)] = np.diag(product)[:, None] + np.diag(product) - 2 * product
    return out


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down adjustment of p-values [K] (Scandinavian Journal of Statistics 1979); NaN stays NaN."""
    adjusted = np.full(len(p), np.nan)
    defined = np.flatnonzero(np.isfinite(p))
    order = defined[np.argsort(p[defined], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return adjusted


def holm_matrix(p: np.ndarray) -> np.ndarray:
    """`holm` over the pairs of a symmetric matrix [H, H]."""
    upper = np.triu_indices(len(p), 1)
    out = np.full(p.shape, np.nan)
    out[upper] = holm(p[upper])
    out.T[upper] = out[upper]
    return out


def p_best(draws: np.ndarray) -> np.ndarray:
    """Share of resamples in which each head [H] has the highest correlation; ties are shared out."""
    known = np.where(np.isfinite(draws), draws, -np.inf)
    top = (known == known.max(axis=0)) & np.isfinite(draws)
    return (top / np.maximum(top.sum(axis=0), 1)).mean(axis=1)


def letters(p: np.ndarray, level: float = LEVEL) -> list[str]:
    """One text per head: heads that share a letter cannot be told apart (adjusted `p` [H, H] not below `level`).

    Heads are given best first, and so are letters. Every set of heads among which no pair differs, and to which no
    other head could be added, is a letter (a maximal clique; Piepho, Journal of Computational and Graphical Statistics
    2004). A head whose `p` are NaN has none.
    """
    import networkx

    graph = networkx.Graph()
    defined = [h for h in range(len(p)) if len(p) == 1 or np.isfinite(np.delete(p[h], h)).any()]
    graph.add_nodes_from(defined)
    graph.add_edges_from((i, j) for i in defined for j in defined if i < j and p[i, j] >= level)
    sets = sorted(sorted(clique) for clique in networkx.find_cliques(graph))
    return ["".join(letter(k) for k, members in enumerate(sets) if h in members) for h in range(len(p))]


def letter(k: int) -> str:
    """a, b, ..., z, then a1, b1, ..."""
    return chr(ord("a") + k % 26) + (str(k // 26) if k >= 26 else "")


def borda(ranks: Sequence[Sequence[float]]) -> list[float]:
    """Points of each head [H], given its ranks in several data sets [D][H]: one for every head below it in a data set,
    half a one for a tie (average ranks), added up."""
    return [float(sum(len(row) - row[h] for row in ranks)) for h in range(len(ranks[0]))]


def wilcoxon_p(scores: np.ndarray) -> np.ndarray:
    """Holm-adjusted p [H, H] of the signed-rank test over data sets, for `scores` [D, H] (Demsar, JMLR 2006)."""
    count = scores.shape[1]
    p = np.full((count, count), np.nan)
    for i in range(count):
        for j in range(i):
            difference = scores[:, i] - scores[:, j]
            if (difference == 0).all():
                p[i, j] = p[j, i] = 1.0
            else:
                result: Any = stats.wilcoxon(difference, zero_method="zsplit")
                p[i, j] = p[j, i] = float(result.pvalue)
    return holm_matrix(p)
