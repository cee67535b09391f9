"""Which train samples a sample is compared with.

Groups are samples of the same difficulty or kind, or all. A group that is too small borrows from the nearest
difficulty (TPT, ECCV 2022); CoRe pairs a sample that is alone with itself, and gives up on the rest. Nobody is compared
with itself, and the bank holds train samples only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import UnmetNeeds
from .base import FeatureSet
from .needs import some

By = Literal["difficulty", "kind", "any"]


@dataclass(frozen=True)
class Bank:
    """The train samples by their labels; their features lie beside it in the same order."""

    ids: tuple[str, ...]
    difficulty: np.ndarray  # float64 [N], NaN unknown
    kind: tuple[str, ...]
    by: By
    votes: int  # exemplars per judged sample, at most N - 1

    @classmethod
    def of(cls, train: FeatureSet, by: By, votes: int) -> Bank:
        """Raises UnmetNeeds for fewer than two samples, or labels that `by` needs and `train` does not have."""
        if len(train) < 2:
            raise UnmetNeeds("exemplars need at least two train samples", hint="train on more samples")
        unknown = missing(train, by)
        if unknown.any():
            raise UnmetNeeds(f"exemplars by {by}: it is unknown for {some(train.ids, unknown)}", field=by)
        return cls(train.ids, train.difficulty, train.kind, by, min(votes, len(train) - 1))

    def groups(self) -> np.ndarray:
        """int64 [N]: samples with the same number are in one group."""
        keys = {"difficulty": self.difficulty, "kind": np.asarray(self.kind), "any": np.zeros(len(self.ids))}[self.by]
        return np.unique(keys, return_inverse=True)[1].astype(np.int64)

    def nearest(self, queries: FeatureSet, seed: int) -> np.ndarray:
        """int64 [N, votes]: rows of the bank to compare each query with.

        First its group, in an order that the seed shuffles once for all queries; then the others, nearest difficulty
        first. So a judgement depends on the sample and the seed alone. A query that is in the bank is left out by id.

        Raises:
            UnmetNeeds: queries without the difficulty or the kind that exemplars are chosen by.
        """
        unknown = missing(queries, self.by)
        if unknown.any():
            raise UnmetNeeds(f"exemplars by {self.by}: it is unknown for {some(queries.ids, unknown)}", field=self.by)
        shuffled = np.random.default_rng([seed, 1]).permutation(len(self.ids))
        rows_of = {sample: row for row, sample in enumerate(self.ids)}
        chosen = np.empty((len(queries), self.votes), dtype=np.int64)
        for i, (sample, difficulty, kind) in enumerate(zip(queries.ids, queries.difficulty, queries.kind, strict=True)):
            far, strange = self._apart(difficulty, kind)
            order = np.lexsort((shuffled, far, strange))
            chosen[i] = order[order != rows_of.get(sample, -1)][: self.votes]
        return chosen

    def _apart(self, difficulty: float, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """[N], [N]: how far each sample's difficulty is off (0 where either is unknown), and whether it is of another
        group."""
        if self.by == "any":
            return np.zeros(len(self.ids)), np.zeros(len(self.ids), dtype=bool)
        far = np.nan_to_num(np.abs(self.difficulty - difficulty))
        strange = far > 0 if self.by == "difficulty" else np.asarray(self.kind) != kind
        return far, strange


class Partners:
    """For every train sample the rows that it may be paired with: its group, or for one that is alone the samples of
    the nearest difficulty. Every epoch `draw` picks one for each."""

    def __init__(self, bank: Bank) -> None:
        groups = bank.groups()
        members = [np.flatnonzero(groups == group) for group in range(groups.max() + 1)]
        self.own = np.empty(len(groups), dtype=np.int64)  # where a sample stands in its own group
        for group in members:
            self.own[group] = np.arange(len(group))
        pools = [_borrowed(bank, group[0]) if len(group) == 1 else group for group in members]
        sizes = np.array([len(one) for one in pools])
        self.flat = np.concatenate(pools)
        self.start = (np.cumsum(sizes) - sizes)[groups]
        self.borrows = np.array([len(group) == 1 for group in members])[groups]
        self.count = sizes[groups] - ~self.borrows  # in its group a sample is not its own partner

    def draw(self, uniform: np.ndarray) -> np.ndarray:
        """int64 [N]: a partner for each train sample, by `uniform` [N] in [0, 1)."""
        pick = np.minimum((uniform * self.count).astype(np.int64), self.count - 1)
        pick += ~self.borrows & (pick >= self.own)
        return self.flat[self.start + pick]


def missing(data: FeatureSet, by: By) -> np.ndarray:
    """bool [N]: samples whose difficulty or kind is not known, where exemplars are chosen by it."""
    known: dict[By, np.ndarray] = {
        "difficulty": np.isfinite(data.difficulty),
        "kind": np.asarray([bool(kind) for kind in data.kind], dtype=bool),
        "any": np.ones(len(data), dtype=bool),
    }
    return ~known[by]


def choose_by(train: FeatureSet) -> By:
    """The closest grouping that the labels of `train` allow: difficulty, else kind, else any."""
    order: tuple[By, ...] = ("difficulty", "kind", "any")
    return next(by for by in order if not missing(train, by).any())


def _borrowed(bank: Bank, alone: int) -> np.ndarray:
    """The other samples of the nearest difficulty; all others where it is not known."""
    others = np.delete(np.arange(len(bank.ids)), alone)
    if bank.by == "any":
        return others
    far = np.nan_to_num(np.abs(bank.difficulty[others] - bank.difficulty[alone]))
    return others[far == far.min()]
