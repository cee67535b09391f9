"""Which epoch is kept: the one that judges the validation part best, each seed for itself."""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from .base import FeatureSet
from .batches import Batch, Exemplars
from .exemplars import Bank
from .fitted_torch import judge_all
from .together import Together


class Selection:
    """Judges `val` after every epoch and remembers for each seed the best one by the head's `quality`: that with the
    highest Spearman correlation, among equals (and where it is not defined) the lowest squared error."""

    def __init__(
        self, val: FeatureSet, rows: Batch, bank: Bank | None, exemplars: Exemplars | None, seeds: list[int]
    ) -> None:
        self.val, self.rows, self.exemplars = val, rows, exemplars
        chosen = None if bank is None else np.stack([bank.nearest(val, seed) for seed in seeds])
        self.chosen = None if chosen is None else torch.from_numpy(chosen).to(rows.score.device)
        self.highest, self.lowest = np.full(len(seeds), -np.inf), np.full(len(seeds), np.inf)
        self.epoch = np.zeros(len(seeds), dtype=np.int64)
        self.state: dict[str, Tensor] = {}

    def update(self, nets: Together, epoch: int) -> dict[str, np.ndarray]:
        """Look at the networks after `epoch` (from 1). Returns what the history says of it, each [S]."""
        said = judge_all(nets.judge, nets.encoded, self.rows, self.exemplars, self.chosen, (nets.count,))
        found = nets.head.quality({name: value.cpu().double().numpy() for name, value in said.items()}, self.val)
        high, low = found.values()
        high = np.where(np.isnan(high), -2.0, high)
        better = (high > self.highest) | ((high == self.highest) & (low < self.lowest))
        now = nets.state()
        mask = torch.from_numpy(better).to(self.rows.score.device)
        for name, value in now.items() if better.any() else ():
            old = self.state.get(name, value)
            self.state[name] = torch.where(mask.reshape(-1, *[1] * (value.ndim - 1)), value, old)
        self.highest, self.lowest = np.where(better, high, self.highest), np.where(better, low, self.lowest)
        self.epoch[better] = epoch
        return found


def spearman(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """[S]: rank correlation of each row of `scores` [S, N] with `truth` [N]; NaN where one of them is constant."""
    ranks = rankdata(scores, axis=1)
    ranks, truth_ranks = ranks - ranks.mean(axis=1, keepdims=True), rankdata(truth)
    truth_ranks = truth_ranks - truth_ranks.mean()
    norm = np.sqrt((ranks**2).sum(axis=1) * (truth_ranks**2).sum())
    return np.divide(ranks @ truth_ranks, norm, out=np.full(len(scores), np.nan), where=norm > 0)
