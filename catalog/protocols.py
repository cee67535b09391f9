"""Making splits: folds over groups, leave-one-out, and the validation part that is held out of train.

All of it is decided by the ids, the units (subjects, competitions) and the seed; the order of the samples changes
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import SplitError
from .base import Fold


def grouped_folds(
    ids: Sequence[str], units: Sequence[str | None], k: int, *, seed: int, group: str = ""
) -> tuple[Fold, ...]:
    """`k` folds of about the same size in which no unit is both in train and in test; None is a unit of its own.

    With fewer units than `k` there are as many folds as units. Raises SplitError for fewer than two units.
    """
    members = _members(ids, units)
    if len(members) < 2:
        raise SplitError(
            f"{len(members)} subject or event cannot be divided into folds", hint="at least two are needed"
        )
    parts: list[list[str]] = [[] for _ in range(min(k, len(members)))]
    for unit in sorted(_shuffled(members, seed), key=lambda unit: -len(members[unit])):
        min(parts, key=len).extend(members[unit])
    return tuple(_fold(str(i), ids, set(part), group) for i, part in enumerate(parts))


def leave_one_out(ids: Sequence[str], units: Sequence[str], *, group: str = "") -> tuple[Fold, ...]:
    """A fold per unit, sorted and named after it. Raises SplitError for fewer than two units."""
    tests: dict[str, set[str]] = {unit: set() for unit in sorted(set(units))}
    for i, unit in zip(ids, units, strict=True):
        tests[unit].add(i)
    if len(tests) < 2:
        raise SplitError(f"nothing to train on when '{units[0] if units else ''}' is left out: it is the only one")
    return tuple(_fold(unit, ids, test, group) for unit, test in tests.items())


def holdout(
    ids: Sequence[str], subjects: Sequence[str | None], fraction: float = 0.15, *, seed: int = 0
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Divide train into (ids to fit on, ids to select a model on), each in the order of `ids`.

    About `fraction` of the samples are held out. A subject is never in both parts; "" and None are unknown, and such
    samples stand alone. When all samples are one subject's nothing can be held out and the second part is empty.
    """
    members = _members(ids, [subject or None for subject in subjects])
    if len(members) < 2:
        return tuple(ids), ()
    target = fraction * len(ids)
    held: set[str] = set()
    order = _shuffled(members, seed)
    for unit in order:
        if abs(len(held) + len(members[unit]) - target) <= abs(len(held) - target):
            held.update(members[unit])
    if not held:
        held.update(members[min(order, key=lambda unit: len(members[unit]))])
    if len(held) == len(ids):  # a large fraction: the last to be taken is given back
        held.difference_update(members[order[-1]])
    return tuple(i for i in ids if i not in held), tuple(i for i in ids if i in held)


def label_subset(ids: Sequence[str], fraction: float, *, seed: int) -> tuple[str, ...]:
    """The ids whose labels may be used when only `fraction` of them is, in the order of `ids`; at least one.

    Drawn at random, as semi-supervised papers do. With one seed a smaller fraction is part of a larger one.
    """
    order = sorted(ids)
    count = label_count(len(order), fraction)
    chosen = {order[i] for i in np.random.default_rng(seed).permutation(len(order))[:count]}
    return tuple(i for i in ids if i in chosen)


def label_count(samples: int, fraction: float) -> int:
    """How many of `samples` have a label."""
    return max(1, round(fraction * samples))


def _members(ids: Sequence[str], units: Sequence[str | None]) -> dict[tuple[bool, str], list[str]]:
    members: dict[tuple[bool, str], list[str]] = {}
    for i, unit in zip(ids, units, strict=True):
        members.setdefault((False, i) if unit is None else (True, unit), []).append(i)
    return members


def _shuffled(members: dict[tuple[bool, str], list[str]], seed: int) -> list[tuple[bool, str]]:
    units = sorted(members)
    return [units[i] for i in np.random.default_rng(seed).permutation(len(units))]


def _fold(name: str, ids: Sequence[str], test: set[str], group: str) -> Fold:
    return Fold(name, tuple(i for i in ids if i not in test), tuple(i for i in ids if i in test), group)
