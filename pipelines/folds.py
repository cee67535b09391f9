"""Folds of a protocol: which are chosen, what they are scored by, and that no network has seen what they test on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..catalog.base import Dataset, Fold, Protocol, Range, Target
from ..errors import SplitError, UnknownName

if TYPE_CHECKING:
    from ..cache.store import FeatureStore


def folds_of(protocol: Protocol, group: str) -> list[Fold]:
    """The folds of a group, in order."""
    return [fold for fold in protocol.folds if fold.group == group]


def folds_in(dataset: Dataset, protocol: Protocol, group: str | None) -> list[Fold]:
    """The folds of `group`, or all. Raises UnknownName."""
    if group is not None and group not in protocol.groups:
        raise UnknownName(f"group of {dataset.name}", group, protocol.groups)
    return [fold for fold in protocol.folds if group in (None, fold.group)]


def chosen_folds(dataset: Dataset, folds: Sequence[Fold], name: str | None) -> list[Fold]:
    """Those of `folds` that have the name, or all. Raises UnknownName for one that none has."""
    if name is not None and name not in {one.name for one in folds}:
        raise UnknownName(f"fold of {dataset.name}", name, {one.name for one in folds})
    return [one for one in folds if name in (None, one.name)]


def r_l2_range(dataset: Dataset, protocol: Protocol, fold: Fold, target: Target, range_: Range) -> Range:
    """What R-l2 divides by: `range_`, or where the protocol says so, lowest and highest test score of the group."""
    if protocol.r_l2 != "test":
        return range_
    tested = {i for one in folds_of(protocol, fold.group) for i in one.test}
    scores = [dataset.by_id[i].targets[target.name] for i in tested]
    return min(scores), max(scores)


def seen_by_stores(stores: Sequence[FeatureStore]) -> dict[str, Mapping[str, Any]]:
    """Store -> what its network was fine-tuned on, of those that were (`extract/backbones/tuned.py`)."""
    return {store.name: seen for store in stores if (seen := store.provenance.get("trained_on")) is not None}


def refuse_seen(dataset: Dataset, fold: Fold, trained_on: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises SplitError where a network was trained on the scores of samples that `fold` tests on. `trained_on`: what
    it makes -> the samples."""
    every = [(name, one) for name, seen in trained_on.items() for one in (seen, *seen.get("earlier", ()))]
    for name, seen in every:
        shared = sorted(set(seen["ids"]).intersection(fold.test)) if seen["dataset"] == dataset.name else []
        if shared:
            what = f"the backbone of {name} was trained on {len(shared)} test samples of fold {fold.name}"
            hint = f"take the network that was trained on this fold ({seen['protocol']}, fold {seen['fold']} it is)"
            raise SplitError(f"{what}: {', '.join(shared[:5])}{'...' * (len(shared) > 5)}", hint=hint)
