"""From cached features and a data set's table to what heads are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..catalog.base import Dataset, Range, Target
from ..errors import StoreError
from ..heads.base import FeatureSet, Ragged

if TYPE_CHECKING:
    from ..cache.store import FeatureStore


def feature_set(
    dataset: Dataset, streams: Mapping[str, Ragged], ids: Sequence[str], target: Target, range_: Range
) -> FeatureSet:
    """The samples `ids` with their `streams` (in the same order) and all that the table knows of them."""
    samples = [dataset.by_id[i] for i in ids]
    judges = max((len(sample.judges) for sample in samples), default=0)
    return FeatureSet(
        ids=tuple(ids),
        streams=streams,
        score=np.array([sample.targets.get(target.name, np.nan) for sample in samples], dtype=np.float64),
        range=range_,
        target_kind=target.kind,
        times_difficulty=target.times_difficulty,
        difficulty=np.array([np.nan if s.difficulty is None else s.difficulty for s in samples], dtype=np.float64),
        judges=np.array([s.judges + (np.nan,) * (judges - len(s.judges)) for s in samples]).reshape(len(ids), judges),
        group=tuple(sample.group for sample in samples),
        kind=tuple(sample.kind or "" for sample in samples),
        event=tuple(sample.event or "" for sample in samples),
        subject=tuple(sample.subject or "" for sample in samples),
        caption=tuple(sample.caption or "" for sample in samples),
        attributes=_attributes(dataset, ids),
        phases=tuple(sample.phases for sample in samples),
    )


def by_stream(stores: Sequence[FeatureStore]) -> dict[str, FeatureStore]:
    """The stores by the names that heads know them by: their streams, with the digits of the fingerprint
    ("i3d@1a2b3c4d") where several are of one stream."""
    names = [store.stream for store in stores]
    return {store.name if names.count(store.stream) > 1 else store.stream: store for store in stores}


def read_streams(stores: Sequence[FeatureStore], ids: Sequence[str]) -> dict[str, Ragged]:
    """The features of `ids` from every store, under the names of `by_stream`."""
    return {name: Ragged(*store.read(ids)) for name, store in by_stream(stores).items()}


def usable_ids(dataset: Dataset, stores: Sequence[FeatureStore], ids: Sequence[str], allow_missing: bool) -> list[str]:
    """Those of `ids` that every store has.

    Raises StoreError naming the missing ones, unless `allow_missing`, or when nothing is left.
    """
    missing: dict[str, str] = {}
    for store in stores:
        there = set(store.ids())
        missing |= {i: store.stream for i in ids if i not in there}
    if missing and (not allow_missing or len(missing) == len(set(ids))):
        some = ", ".join(list(missing)[:5]) + ("..." if len(missing) > 5 else "")
        raise StoreError(
            f"{len(missing)} of {len(set(ids))} samples have no {next(iter(missing.values()))} features: {some}",
            file=dataset.name,
            hint="`aqa extract` again to finish them, or --allow-missing to leave them out (the table will say so)",
        )
    return [i for i in ids if i not in missing]


def _attributes(dataset: Dataset, ids: Sequence[str]) -> dict[str, np.ndarray]:
    """Class indices per attribute; texts are numbered in sorted order over the whole set, -1 is unknown."""
    names = dict.fromkeys(name for sample in dataset.samples for name in sample.attributes)
    out: dict[str, np.ndarray] = {}
    for name in names:
        values = {sample.attributes[name] for sample in dataset.samples if name in sample.attributes}
        if all(isinstance(v, int) for v in values):
            index = {v: int(v) for v in values}
        elif all(isinstance(v, str) for v in values):
            index = {v: k for k, v in enumerate(sorted(values, key=str))}
        else:
            continue  # a real number is not a class
        found = (dataset.by_id[i].attributes.get(name) for i in ids)
        out[name] = np.array([-1 if v is None else index[v] for v in found], dtype=np.int64)
    return out
