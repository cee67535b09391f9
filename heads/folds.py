"""Out-of-fold judgements: every training sample judged by a head that has not seen it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import UsageError
from .base import FeatureSet, Head, Judgement
from .fusion import fit_head


def out_of_fold(
    head: Head, train: FeatureSet, *, folds: np.ndarray, seeds: Sequence[int], device: str = "cpu"
) -> list[Judgement]:
    """One judgement of all of `train` per seed, in the order of `train`: part k by the head refitted on the others.

    `folds`: int [N], the part of each sample; what must stay together (a subject, an event) shares a number.

    Raises:
        UsageError: `folds` has not one number per sample, or fewer than two different ones.
    """
    folds = np.asarray(folds)
    if folds.shape != (len(train),):
        raise UsageError(f"folds has shape {list(folds.shape)}, not [{len(train)}]: give one number per sample")
    names = np.unique(folds)
    if len(names) < 2:
        raise UsageError("one fold alone leaves nothing to fit on", hint="give at least two folds")
    indices = [np.flatnonzero(folds == name) for name in names]
    parts: list[list[Judgement]] = [[] for _ in seeds]
    for index in indices:
        held_out = train.take(index)
        rest = train.take(np.setdiff1d(np.arange(len(train)), index))
        fitted = fit_head(head, rest, None, seeds=seeds, device=device)
        judged: dict[int, Judgement] = {}  # a head that the seed does not change is one object, predicted once
        for part, one in zip(parts, fitted, strict=True):
            if id(one) not in judged:
                judged[id(one)] = one.predict(held_out)
            part.append(judged[id(one)])
    order = np.argsort(np.concatenate(indices), kind="stable")
    return [_joined(part, order) for part in parts]


def _joined(parts: Sequence[Judgement], order: np.ndarray) -> Judgement:
    """The parts end to end, then put in `order`; what one part lacks, the whole lacks."""
    captions = [caption for part in parts for caption in part.captions]
    exemplars = [ids for part in parts for ids in part.exemplars]
    spread = [part.spread for part in parts if part.spread is not None]
    phases = [part.phases for part in parts if part.phases is not None]
    shared = set.intersection(*(set(part.attributes) for part in parts))
    return Judgement(
        score=np.concatenate([part.score for part in parts])[order],
        spread=np.concatenate(spread)[order] if len(spread) == len(parts) else None,
        attributes={name: _stacked([part.attributes[name] for part in parts])[order] for name in sorted(shared)},
        captions=tuple(captions[i] for i in order) if len(captions) == len(order) else (),
        phases=np.concatenate(phases)[order] if len(phases) == len(parts) else None,
        exemplars=tuple(exemplars[i] for i in order) if len(exemplars) == len(order) else (),
    )


def _stacked(tables: Sequence[np.ndarray]) -> np.ndarray:
    """Probabilities of all parts; a class that a part's train samples did not have has probability 0 there."""
    classes = max(table.shape[1] for table in tables)
    return np.concatenate([np.pad(table, ((0, 0), (0, classes - table.shape[1]))) for table in tables])
