"""The factor that makes a spread as large as the errors of samples that were not fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .base import Judgement


def spread_factor(truth: np.ndarray, score: np.ndarray, spread: np.ndarray) -> float:
    """``s = sqrt(mean((truth - score)^2 / spread^2))`` over held-out samples, whose `spread` must be above 0; all [n].

    s maximises the normal likelihood of their scores (Levi et al., Evaluating and Calibrating Uncertainty Prediction in
    Regression Tasks, Sensors 2022).
    """
    return float(np.sqrt(np.mean(((truth - score) / spread) ** 2)))


def rescaled(judged: Judgement, info: Mapping[str, Any]) -> Judgement:
    """`judged` with its spread, where it has one, times the `spread_scale` of a fitted head's `info`."""
    if judged.spread is None:
        return judged
    return replace(judged, spread=judged.spread * info.get("spread_scale", 1.0))
