"""Measures of many dives, to say where one dive stands among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError, StoreError
from .measures import MEASURES, VERSION, Measured

FORMAT = 1
FEWEST = 20  # dives of one number or position that are a group to be compared with
ALL = ""  # the group of all dives

REBUILD = "make the reference again: aqa measure DATASET --output FILE"


@dataclass(frozen=True, slots=True)
class Standing:
    """`percentile`: 0 to 100, how many of the `of` dives of `group` have a smaller value; ties count half."""

    percentile: float
    of: int
    group: str


@dataclass(frozen=True, slots=True)
class Reference:
    """`values`: measure -> group (dive number, position, "" for all) -> sorted values. `about`: what they are of."""

    about: Mapping[str, Any]
    values: Mapping[str, Mapping[str, Sequence[float]]]

    def standing(self, measured: Measured, kind: str, position: str) -> Standing | None:
        """Among dives of the same number, else of the same position, else all; None without a value or a group."""
        groups = self.values.get(measured.name, {})
        if measured.value is None:
            return None
        for group in _groups(kind, position):
            values = np.asarray(groups.get(group, ()))
            if len(values) >= FEWEST:
                smaller = (values < measured.value).sum() + 0.5 * (values == measured.value).sum()
                return Standing(float(100.0 * smaller / len(values)), len(values), group)
        return None

    def to_json(self) -> dict[str, Any]:
        values = {name: {group: list(v) for group, v in groups.items()} for name, groups in self.values.items()}
        return {"format": FORMAT, "measures": VERSION, **self.about, "values": values}


def collect(dives: Iterable[tuple[str, str, Sequence[Measured]]], about: Mapping[str, Any]) -> Reference:
    """Of (dive number, position, measures) of every dive. Groups of fewer than `FEWEST` values are left out, a measure
    that no group has keeps an empty table. Raises StoreError where not a single measure has enough."""
    found: dict[str, dict[str, list[float]]] = {name: {} for name in MEASURES}
    count = 0
    for kind, position, measured in dives:
        count += 1
        for one in measured:
            if one.value is not None:
                for group in _groups(kind, position):
                    found[one.name].setdefault(group, []).append(one.value)
    values = {
        name: {group: sorted(v) for group, v in sorted(groups.items()) if len(v) >= FEWEST}
        for name, groups in found.items()
    }
    if not any(values.values()):
        said = f"of {count} dives none is measured" if not any(found.values()) else f"{count} dives"
        raise StoreError(f"too few for a reference: {said}, and {FEWEST} with the same measure are needed")
    return Reference({**about, "dives": count}, values)


def from_json(plain: Any, file: str) -> Reference:
    """What `Reference.to_json` gave. Raises DataError, naming `file` and field, for anything else."""
    if not isinstance(plain, dict) or "values" not in plain or "measures" not in plain:
        raise DataError("not a reference of measures", file=file, hint=REBUILD)
    if plain.get("format") != FORMAT or plain["measures"] != VERSION:
        said = f"format {plain.get('format')}, measures {plain['measures']}: this version has {FORMAT} and {VERSION}"
        raise DataError(said, file=file, field="measures", hint=REBUILD)
    values: dict[str, dict[str, Sequence[float]]] = {}
    for name, groups in _items(plain["values"]):
        values[name] = {}
        for group, numbers in _items(groups):
            if not _sorted_numbers(numbers):
                raise DataError("no sorted list of numbers", file=file, field=f"values.{name}.{group}", hint=REBUILD)
            values[name][group] = numbers
    if not any(values.values()):
        raise DataError("there are no values in it", file=file, field="values", hint=REBUILD)
    about = {key: value for key, value in plain.items() if key not in ("format", "measures", "values")}
    return Reference(about, values)


def _items(table: Any) -> Iterable[tuple[str, Any]]:
    return table.items() if isinstance(table, dict) else ()


def _sorted_numbers(values: Any) -> bool:
    try:
        array = np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        return False
    return (
        isinstance(values, list) and array.ndim == 1 and bool(np.isfinite(array).all() and (np.diff(array) >= 0).all())
    )


def _groups(kind: str, position: str) -> list[str]:
    """The groups that a dive belongs to, the narrowest first."""
    return [group for group in dict.fromkeys((kind.upper(), position)) if group] + [ALL]
