"""A 90% interval for any head: split conformal prediction from the predictions that a run keeps of held-out samples.

The interval is ``score +- factor``, or ``score +- factor * spread`` where the head gives a spread (locally weighted, so
that samples of which it is sure get a narrower one). It covers `level` of new samples drawn like the held-out ones, and
of no others: a leaderboard prints what it covers on test.
"""

from __future__ import annotations

import math

import numpy as np

LEVEL = 0.9


def factor(
    truth: np.ndarray, score: np.ndarray, spread: np.ndarray | None = None, level: float = LEVEL
) -> float | None:
    """Half the width of the interval, in points, or in spreads where `spread` is given; all are [n] held-out samples.

    The ``ceil((n + 1) * level)``-th smallest absolute residual (Vovk et al. 2005; Lei et al., JASA 2018, 2.2 and 5.2).
    None where n is too small for the level, or a spread is 0 or unknown.
    """
    residuals = np.abs(truth - score)
    if spread is not None:
        if not (np.isfinite(spread).all() and (spread > 0).all()):
            return None
        residuals = residuals / spread
    k = math.ceil((len(residuals) + 1) * level)
    return float(np.sort(residuals)[k - 1]) if 0 < k <= len(residuals) else None


def bounds(score: np.ndarray, spread: np.ndarray | None, factor: float) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper ends [N] of the intervals of new samples; `spread` None for the plain form."""
    half = np.full(len(score), factor) if spread is None else factor * spread
    return score - half, score + half
