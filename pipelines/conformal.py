"""A 90% interval for any head: split conformal prediction from the predictions that a run keeps of held-out samples."""

from __future__ import annotations

import math

import numpy as np

LEVEL = 0.9


def half_width(truth: np.ndarray, score: np.ndarray, level: float = LEVEL) -> float | None:
    """Half the width of the interval around a prediction (Vovk; Lei et al., JASA 2018).

    The ``ceil((n + 1) * level)``-th smallest absolute residual of the held-out samples; None where n is too small for
    the level. It covers `level` of new samples drawn like the held-out ones, and of no others.
    """
    residuals = np.sort(np.abs(truth - score))
    k = math.ceil((len(residuals) + 1) * level)
    return float(residuals[k - 1]) if 0 < k <= len(residuals) else None
