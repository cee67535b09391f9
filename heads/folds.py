"""Folds inside train, and out-of-fold judgements: every training sample judged by a head that has not seen it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..catalog.protocols import grouped_folds
from ..errors import UsageError
from .base import FeatureSet, Head, Judgement
from .fusion import fit_head

INNER = 5


def inner_folds(train: FeatureSet, count: int = INNER) -> np.ndarray:
    """int [N]: the fold of every sample, for what a head chooses or scales inside train.

    A subject is in one fold alone; samples of unknown subjects, or of one subject that all of them share, are divided
    one by one. Ids decide, not the order. A single sample is fold 0.
    """
    units = [subject or None for subject in train.subject]
    if len(set(units)) < 2:
        units = [None] * len(train)
    number = dict.fromkeys(train.ids, 0)
    if len(train) > 1:
        for k, part in enumerate(grouped_folds(train.ids, units, count, seed=0)):
            number |= dict.fromkeys(part.test, k)
    return np.array([number[i] for i in train.ids])


def splits(folds: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows of the others, rows of the fold) of every one of `folds`, int [N]; nothing where there is one alone.

    Rows of fold -1 are among the others every time.
    """
    names = np.unique(folds[folds >= 0])
    for name in names if len(names) > 1 else ():
        yield np.flatnonzero(folds != name), np.flatnonzero(folds == name)


def out_of_fold(
    head: Head, train: FeatureSet, *, folds: np.ndarray, seeds: Sequence[int], device: str = "cpu"
) -> list[Judgement]:
    """One judgement of all of `train` per seed, in the order of `train`: part k by the head refitted on the others.

    `folds`: int [N], the part of each sample; what must stay together (a subject, an event) shares a number. Samples of
    part -1 are fitted on every time and not judged (those without labels).

    Raises:
        UsageError: `folds` has not one number per sample, or fewer than two different ones.
    """
    folds = np.asarray(folds)
    if folds.shape != (len(train),):
        raise UsageError(f"folds has shape {list(folds.shape)}, not [{len(train)}]: give one number per sample")
    if len(np.unique(folds[folds >= 0])) < 2:
        raise UsageError("one fold alone leaves nothing to fit on", hint="give at least two folds")
    parts: list[list[Judgement]] = [[] for _ in seeds]
    rows = []
    for rest, index in splits(folds):
        rows.append(index)
        held_out = train.take(index)
        fitted = fit_head(head, train.take(rest), None, seeds=seeds, device=device)
        judged: dict[int, Judgement] = {}  # a head that the seed does not change is one object, predicted once
        for part, one in zip(parts, fitted, strict=True):
            if id(one) not in judged:
                judged[id(one)] = one.predict(held_out)
            part.append(judged[id(one)])
    order = np.argsort(np.concatenate(rows), kind="stable")
    return [_joined(part, order) for part in parts]


def _joined(parts: Sequence[Judgement], order: np.ndarray) -> Judgement:
    """The parts end to end, then put in `order`; what one part lacks, the whole lacks."""
    captions = [caption for part in parts for caption in part.captions]
    exemplars = [ids for part in parts for ids in part.exemplars]
    spread = [part.spread for part in parts if part.spread is not None]
    phases = [part.phases for part in parts if part.phases is not None]
    shared = set.intersection(*(set(part.attributes) for part in parts))
    stages = set.intersection(*(set(part.parts) for part in parts))
    return Judgement(
        score=np.concatenate([part.score for part in parts])[order],
        spread=np.concatenate(spread)[order] if len(spread) == len(parts) else None,
        attributes={name: _stacked([part.attributes[name] for part in parts])[order] for name in sorted(shared)},
        captions=tuple(captions[i] for i in order) if len(captions) == len(order) else (),
        phases=np.concatenate(phases)[order] if len(phases) == len(parts) else None,
        exemplars=tuple(exemplars[i] for i in order) if len(exemplars) == len(order) else (),
        parts={name: np.concatenate([part.parts[name] for part in parts])[order] for name in sorted(stages)},
    )


def _stacked(tables: Sequence[np.ndarray]) -> np.ndarray:
    """Probabilities of all parts; a class that a part's train samples did not have has probability 0 there."""
    classes = max(table.shape[1] for table in tables)
    return np.concatenate([np.pad(table, ((0, 0), (0, classes - table.shape[1]))) for table in tables])
