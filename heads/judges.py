"""Heads that mark as a panel of judges: what they ask of train, and how marks make a score.

Where a score is a mark times the difficulty, the mark is the sum of the middle three judges (diving); elsewhere it is
the sum of all (the six items of JIGSAWS).
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ..errors import UnmetNeeds
from .base import FeatureSet
from .needs import some
from .torch_head import TorchHead

COUNTED = 3


def need_panel(head: TorchHead, train: FeatureSet) -> None:
    """Raises UnmetNeeds unless every sample of `train` has all its judges, and the rule makes the scores of them."""
    marks, count = train.judges, train.judges.shape[1]
    hint = "choose a head that learns the score"
    without = np.any(~np.isfinite(marks), axis=1)
    if without.any():
        what = f"{head.name} needs the marks of all {count} judges, and they are not all known for"
        raise UnmetNeeds(f"{what} {some(train.ids, without)}", field="judges", hint=hint)
    if train.times_difficulty and (count < COUNTED or count % 2 == 0):
        what = f"{head.name} counts the middle three of an odd number of judges, and there are {count}"
        raise UnmetNeeds(what, field="judges", hint=hint)
    ordered, first = np.sort(marks, axis=1), (count - COUNTED) // 2
    middle = ordered[:, first : first + COUNTED].sum(axis=1) * train.difficulty
    made = middle if train.times_difficulty else marks.sum(axis=1)
    off = np.abs(made - train.score) > 0.05 * (train.range[1] - train.range[0])
    # Some annotated scores differ from their judges (27 of MTL-AQA); scores that are all the same tell nothing.
    if off.mean() > 0.5 and np.ptp(train.score) > 0:
        rule = "the middle three times the difficulty" if train.times_difficulty else "the sum"
        what = f"{head.name} takes {rule} of the {count} judges for the score, and it is not for"
        raise UnmetNeeds(f"{what} {some(train.ids, off)}", field="judges", hint=hint)


def total(mark: Tensor, variance: Tensor, middle: bool) -> tuple[Tensor, Tensor]:
    """Judges' marks and their variances [B, J] -> the sum of the judges that count and its standard deviation, [B].

    `middle`: the middle three count, by their marks; otherwise all. The deviation is that of independent judges.
    """
    if middle:
        first = (mark.shape[1] - COUNTED) // 2
        # Stable: marks are often equal, and which variance counts must not be left to the sorting.
        counted = mark.argsort(dim=1, stable=True)[:, first : first + COUNTED]
        mark, variance = mark.gather(1, counted), variance.gather(1, counted)
    return mark.sum(dim=1), variance.sum(dim=1).sqrt()
