"""Published results, from `published.toml` beside this file, which says what its keys mean."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import StoreError
from .metrics import average

FILE = Path(__file__).with_name("published.toml")
AVERAGE = "average"  # the group of a table's row over all groups

TEXTS = ("method", "dataset", "target", "given", "setting", "backbone", "averaged", "source", "evidence", "note")
NUMBERS = ("labelled", "srcc", "r_l2")
NAMES, COLUMNS = ("groups", "targets"), ("each", "each_r_l2")
KEYS = {*TEXTS, *NUMBERS, *NAMES, *COLUMNS, "selected_on_test"}
REQUIRED = ("method", "dataset", "given", "source", "evidence", "selected_on_test")
CHOICES: Mapping[str, tuple[Any, ...]] = {
    "given": ("", "difficulty", "dive number", "unknown"),
    "averaged": ("", "fisher", "arithmetic"),
    "evidence": ("own table", "quoted elsewhere", "log"),
    "selected_on_test": (True, False, "unknown"),
}


@dataclass(frozen=True)
class Published:
    """One printed result. `srcc` is Spearman, `r_l2` R-l2 x 100; None where none is printed.

    `groups`, `groups_r_l2`: the columns over which `srcc` is the average, by `averaged`. `targets`: the same where the
    columns are targets; `target` is then "". `selected_on_test` is None where it is not known.
    """

    method: str
    year: int
    venue: str
    dataset: str
    target: str
    given: str
    source: str
    evidence: str
    selected_on_test: bool | None
    srcc: float | None = None
    r_l2: float | None = None
    groups: Mapping[str, float] = field(default_factory=dict)
    groups_r_l2: Mapping[str, float] = field(default_factory=dict)
    targets: Mapping[str, float] = field(default_factory=dict)
    averaged: str = ""
    setting: str = ""
    labelled: float = 1.0
    backbone: str = ""
    note: str = ""


def published_for(dataset: str, target: str, group: str = "") -> list[Published]:
    """The results that compare with a row of a leaderboard, best first. Where `given`, `setting` or `labelled` differ,
    they do not compare with each other.

    `group` "" or "average": what is printed for the set, which is the average where it has groups. Another group: that
    group's column, as an entry of its own. `target` "": averages over targets.
    """
    found = []
    for entry in load():
        if entry.dataset != dataset:
            continue
        if target in entry.targets:
            entry = replace(entry, target=target, srcc=entry.targets[target], r_l2=None, targets={}, averaged="")
        if entry.target != target:
            continue
        if group not in ("", AVERAGE):
            srcc, r_l2 = entry.groups.get(group), entry.groups_r_l2.get(group)
            entry = replace(entry, srcc=srcc, r_l2=r_l2, groups={}, groups_r_l2={}, averaged="")
        if entry.srcc is not None:
            found.append((-entry.srcc, entry.year, entry.method, len(found), entry))
    return [entry for *_, entry in sorted(found)]


def recomputed(entry: Published) -> float | None:
    """The average of the printed columns by the rule of the entry, beside which `srcc` can be shown; None without
    columns or rule."""
    columns = entry.groups or entry.targets
    return average(list(columns.values()), entry.averaged) if columns and entry.averaged else None


@cache
def load(file: Path = FILE) -> tuple[Published, ...]:
    """Every entry of the file, in its order. Raises StoreError for what is wrong in it, naming entry and key."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"published results cannot be read: {error}", file=file, hint="correct the file") from error
    methods, tables = content.get("methods"), content.get("tables")
    if not isinstance(methods, dict) or not isinstance(tables, list):
        raise StoreError("wanted [methods] and [[tables]]", file=file, hint="correct the file")
    entries = []
    for number, table in enumerate(tables, start=1):
        shared = {key: value for key, value in table.items() if key != "rows"}
        for row in table.get("rows", ()):
            merged = {**shared, **row}
            try:
                entries.append(_entry(merged, methods))
            except _WrongKeyError as error:
                what, key = error.args
                name = f"{merged.get('method', '?')} in table {number}, {merged.get('dataset', '?')}"
                raise StoreError(what, file=file, sample=name, field=key, hint="correct the entry") from error
    return tuple(entries)


class _WrongKeyError(Exception):
    """(what is wrong, the key)."""


def _entry(row: Mapping[str, Any], methods: Mapping[str, Any]) -> Published:
    _check(row)
    kind = "targets" if "targets" in row else "groups"
    columns: dict[str, dict[str, float]] = {}
    for key in COLUMNS:
        numbers = row.get(key, ())
        if numbers and len(numbers) != len(row.get(kind, ())):
            raise _WrongKeyError(f"{len(numbers)} numbers for {len(row.get(kind, ()))} columns", key)
        columns[key] = dict(zip(row.get(kind, ()), numbers, strict=False))  # no numbers: averages alone are printed
    origin = methods.get(row["method"])
    if not isinstance(origin, dict) or origin.keys() != {"year", "venue"}:
        raise _WrongKeyError("[methods] does not have it, with year and venue", "method")
    values: dict[str, Any] = {key: row[key] for key in (*TEXTS, *NUMBERS) if key in row}
    values |= {**origin, kind: columns["each"], "groups_r_l2": columns["each_r_l2"]}
    values["selected_on_test"] = None if row["selected_on_test"] == "unknown" else row["selected_on_test"]
    return Published(**{"target": "", **values})


def _check(row: Mapping[str, Any]) -> None:
    for key, value in row.items():
        if key not in KEYS:
            raise _WrongKeyError("unknown key", key)
        if key in TEXTS and not isinstance(value, str):
            raise _WrongKeyError(f"wanted a text, got {value!r}", key)
        if key in (*NAMES, *COLUMNS) and not isinstance(value, list):
            raise _WrongKeyError(f"wanted a list, got {value!r}", key)
        if key in NAMES and not all(isinstance(name, str) for name in value):
            raise _WrongKeyError(f"wanted names, got {value!r}", key)
        for number in [value] if key in NUMBERS else value if key in COLUMNS else ():
            if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
                raise _WrongKeyError(f"wanted a number, got {number!r}", key)
            if key in ("srcc", "each") and abs(number) > 1:
                raise _WrongKeyError(f"a correlation is in -1..1, not {number}", key)
        if key in CHOICES and value not in CHOICES[key]:
            raise _WrongKeyError(f"{value!r} is none of {', '.join(map(repr, CHOICES[key]))}", key)
    for key in REQUIRED:
        if row.get(key) is None or (row[key] == "" and key != "given"):
            raise _WrongKeyError("missing", key)
    if ("target" in row) == ("targets" in row):
        raise _WrongKeyError("wanted either target or targets", "target")
    if "srcc" not in row and "each" not in row:
        raise _WrongKeyError("missing", "srcc")
