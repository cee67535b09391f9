"""Metrics of the field, each as published, with None where a number is not defined.

Spearman is scipy's (average ranks on ties). R-l2 is ``mean((|p - t| / (high - low))**2) * 100`` (CoRe, ICCV 2021); its
range is stated with it, because it changes the number: the papers take it from the test scores.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

Metrics = dict[str, float | int | None]

NORMAL_90 = 1.645  # standard deviations on either side that hold 90% of a normal distribution
FISHER_LIMIT = 0.999999  # a correlation of exactly 1 (folds of 7 samples have them) would make every mean 1


def score_metrics(truth: np.ndarray, score: np.ndarray, range_: tuple[float, float]) -> Metrics:
    """Metrics of a score target. `truth`, `score`: [N]; `range_`: lowest and highest score, for R-l2.

    Correlations are None for fewer than two samples or a constant side; R-l2 is None for an empty range.
    """
    error = score - truth
    width = range_[1] - range_[0]
    correlations: Metrics = {"spearman": spearman(truth, score), "kendall": None, "pearson": None}
    if can_correlate(truth, score):
        correlations |= {
            "kendall": _statistic(stats.kendalltau(truth, score)),
            "pearson": _statistic(stats.pearsonr(truth, score)),
        }
    return {
        **correlations,
        "mae": float(np.mean(np.abs(error))),
        "rmse": float(np.sqrt(np.mean(error**2))),
        "r_l2": float(np.mean((error / width) ** 2) * 100) if width > 0 else None,
        "n": len(truth),
    }


def spearman(truth: np.ndarray, score: np.ndarray) -> float | None:
    """Rank correlation of [N] with [N]; None for fewer than two samples or a constant side."""
    return _statistic(stats.spearmanr(truth, score)) if can_correlate(truth, score) else None


def can_correlate(truth: np.ndarray, score: np.ndarray) -> bool:
    return len(truth) > 1 and np.ptp(truth) > 0 and np.ptp(score) > 0


def _statistic(result: Any) -> float:  # scipy's result classes are not typed alike
    return float(result.statistic)


def binary_metrics(truth: np.ndarray, probability: np.ndarray) -> Metrics:
    """Accuracy at 0.5 and area under the ROC curve of a binary target, beside the metrics of a score.

    AUC is the share of (1, 0) pairs that are ranked right, ties counting half; None when one class is missing.
    """
    positive = truth > 0.5
    n1, n0 = int(positive.sum()), int((~positive).sum())
    auc = None
    if n1 and n0:
        ranks = stats.rankdata(probability)
        auc = float((ranks[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))
    return {
        **score_metrics(truth, probability, (0.0, 1.0)),
        "accuracy": float(np.mean((probability > 0.5) == positive)),
        "auc": auc,
    }


def spread_metrics(truth: np.ndarray, score: np.ndarray, spread: np.ndarray | None) -> Metrics:
    """How well `spread`, the standard deviation that a head gives with each score, tells the errors; all are [N].

    `coverage`: share of samples inside of the nominal 90% interval, score +- 1.645 spread. `nll`: mean negative
    log-likelihood of the truth under N(score, spread^2), in nats of points; None where a spread is 0. `sharpness`: mean
    spread; of two heads that cover as they should, the sharper knows more (Gneiting et al., JRSS B 2007). All are None
    where a head gives no spread.
    """
    if spread is None or not len(spread) or not np.isfinite(spread).all():
        return {"coverage": None, "nll": None, "sharpness": None}
    error = np.abs(truth - score)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        nll = float(np.mean(0.5 * (error / spread) ** 2 + np.log(spread)) + 0.5 * math.log(2 * math.pi))
    return {
        "coverage": float(np.mean(error <= NORMAL_90 * spread)),
        "nll": nll if math.isfinite(nll) else None,
        "sharpness": float(np.mean(spread)),
    }


def metrics(
    truth: np.ndarray, score: np.ndarray, spread: np.ndarray | None = None, *, kind: str, range_: tuple[float, float]
) -> Metrics:
    """`binary_metrics` or `score_metrics`, by the kind of the target, and `spread_metrics`."""
    of_score = binary_metrics(truth, score) if kind == "binary" else score_metrics(truth, score, range_)
    return {**of_score, **spread_metrics(truth, score, spread)}


def average(values: Sequence[float | None], rule: str) -> float | None:
    """The mean of correlations: "fisher" = ``tanh(mean(atanh(r)))``, "arithmetic" = the plain mean.

    None if any value is None: an average that leaves out what is not defined would flatter.
    """
    if not values or any(v is None or math.isnan(v) for v in values):
        return None
    return values[0] if len(values) == 1 else float(average_array(np.asarray(values, dtype=np.float64), rule))


def average_array(r: np.ndarray, rule: str) -> np.ndarray:
    """`average` over the first axis of an array of correlations [K, ...]; NaN stays NaN."""
    if rule == "arithmetic":
        return r.mean(axis=0)
    if rule != "fisher":
        raise ValueError(f"correlations are averaged 'fisher' or 'arithmetic', not {rule!r}")
    return np.tanh(np.arctanh(np.clip(r, -FISHER_LIMIT, FISHER_LIMIT)).mean(axis=0))
