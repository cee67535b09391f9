"""Whether a run is what it says, and whether runs can stand in one table: asked of runs that are shared."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SplitError, StoreError
from .labels import CAPTION, CLASS, PHASES, REFERENCE, TRUE
from .runs import Run, RunKey, json_text
from .table import SAME

PARTS = ("val", "oof", "test")
ONE_TABLE = ("folds", "groups", "average", "pooled", "target_kind")  # with another value the table would not be one
FRAMES = r"\d{1,6} \d{1,6}"  # of a cell of phases
SHOWN = 10  # ids in a message


def _number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e300


def _range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_number, value))


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _name(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _object(value: Any) -> bool:
    return isinstance(value, dict)


# What listing, comparing and resuming read of run.json.
FIELDS: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("dataset", "protocol", "target", "head"), ("a name", _name)),
    **dict.fromkeys(("group", "run_id", "digest", "range_source", "selected_on"), ("a text", _text)),
    **dict.fromkeys(("features", "groups", "flags"), ("a list of texts", _texts)),
    **dict.fromkeys(("format", "fold", "folds", "seed"), ("a whole number", _count)),
    **dict.fromkeys(("identity", "config", "changed", "metrics"), ("an object", _object)),
    **dict.fromkeys(("pooled", "floor", "seeded"), ("true or false", lambda value: isinstance(value, bool))),
    **dict.fromkeys(("fit_seconds", "predict_ms"), ("a number", _number)),
    "range": ("two numbers", _range),
    "average": ("fisher or arithmetic", lambda value: value in ("fisher", "arithmetic")),
    "target_kind": ("score or binary", lambda value: value in ("score", "binary")),
    "parameters": ("a whole number or null", lambda value: value is None or _count(value)),
}
OPTIONAL: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "r_l2_range": ("two numbers", _range),
    **dict.fromkeys(("asked", "streams", "fitted"), ("an object", _object)),
}


def check_info(run: Run, place: Path) -> RunKey:
    """The key of `run` from the fields of its run.json, which must name the folder at the end of `place`.

    Raises:
        StoreError: a field is missing or of another type, or the run is not the one that its folder says.
    """
    info, path = run.info, run.folder / "run.json"
    for name, (what, fits) in {**FIELDS, **OPTIONAL}.items():
        if name not in info and name in FIELDS:
            raise StoreError("is not there", file=path, field=name)
        if name in info and not fits(info[name]):
            raise StoreError(f"must be {what}, not {_short(info[name])}", file=path, field=name)
    spearman = info["metrics"].get("spearman", "")
    if not (spearman is None or _number(spearman)):
        raise StoreError("must be a number or null", file=path, field="metrics.spearman")
    if info["fold"] >= info["folds"]:
        raise StoreError(f"is {info['fold']} of {info['folds']} folds", file=path, field="fold")
    if info["group"] not in info["groups"]:
        raise StoreError(f"'{info['group']}' is not among the groups", file=path, field="group")
    try:
        json_text(info).encode()
    except UnicodeEncodeError as error:
        raise StoreError(f"no text: {error}", file=path) from error
    names = ("dataset", "protocol", "target", "group", "head", "identity", "fold", "seed")
    key = RunKey(**{name: info[name] for name in names}, features=tuple(info["features"]))
    for name, value in (("digest", key.digest), ("run_id", key.run_id)):
        if info[name] != value:
            raise StoreError(f"is {info[name]}, but the other fields make it {value}", file=path, field=name)
    parts = key.folder.parts
    if place.parts[-len(parts) :] != parts:
        raise StoreError(f"lies in another folder than its fields say, {key.folder.as_posix()}", file=path)
    return key


def check_predictions(run: Run) -> None:
    """Raises StoreError unless predictions.csv has all columns, each id once in a part, and finite test scores."""
    path = run.folder / "predictions.csv"
    if not path.is_file():
        raise StoreError("is not there", file=path)
    rows = run.predictions
    unknown = sorted(set(rows["part"]) - set(PARTS))
    if unknown:
        raise StoreError(f"unknown part '{unknown[0]}'", file=path, field="part", hint=f"known: {', '.join(PARTS)}")
    pairs = {name: TRUE + name.removeprefix(CLASS) for name in rows if name.startswith(CLASS)}
    pairs |= {CAPTION: REFERENCE, PHASES: TRUE + PHASES}
    for name, true in pairs.items():
        if name in rows and true not in rows:
            raise StoreError(f"no column '{true}' beside '{name}'", file=path, field=true)
    again = rows.loc[rows.duplicated(["part", "id"])]
    if len(again):
        raise StoreError("the id is there twice", file=path, sample=again["id"].iloc[0], field="id")
    test = run.part("test")
    if test.empty:
        raise StoreError("there are no test predictions", file=path, field="part")
    for name in ("truth", "score"):
        wrong = test.loc[~np.isfinite(test[name])]
        if len(wrong):
            sample = wrong["id"].iloc[0]
            raise StoreError(f"is not finite: {wrong[name].iloc[0]}", file=path, sample=sample, field=name)
    for name in (PHASES, TRUE + PHASES) if PHASES in rows else ():
        form = FRAMES if name == PHASES else f"({FRAMES})?"
        wrong = test.loc[~test[name].str.fullmatch(form)]
        if len(wrong):
            what = f"not two frames with a blank between: {_short(wrong[name].iloc[0])}"
            raise StoreError(what, file=path, sample=wrong["id"].iloc[0], field=name)


def table_of(run: Run) -> tuple[str, ...]:
    """Runs that agree in this are compared in one table."""
    return tuple(run.info[name] for name in SAME)


class OneTable:
    """Takes runs and refuses one that would make a table unfair.

    Runs of one data set, protocol, target and group must agree in `ONE_TABLE`, and those of one fold of it in the range
    of R-l2 and in the test samples and their truths (to 1e-6 of their size).
    """

    def __init__(self) -> None:
        self._tables: dict[tuple[str, ...], tuple[str, Mapping[str, Any]]] = {}
        self._folds: dict[tuple[Any, ...], tuple[str, Any, dict[str, float]]] = {}

    def add(self, name: str, run: Run) -> None:
        """`name`: what a message calls the run. Raises SplitError with the field and both values, or with the ids."""
        info, table = run.info, table_of(run)
        first, known = self._tables.setdefault(table, (name, info))
        for field in ONE_TABLE:
            if known.get(field) != info.get(field):
                raise _not_one(first, name, field, f"{_short(known.get(field))} and {_short(info.get(field))}")
        test, ends = run.part("test"), info.get("r_l2_range", info["range"])
        truth = dict(zip(test["id"], test["truth"].tolist(), strict=True))
        first, known_ends, known_truth = self._folds.setdefault((*table, info["fold"]), (name, ends, truth))
        if not all(map(_same, known_ends, ends)):
            raise _not_one(first, name, "r_l2_range", f"{known_ends} and {ends}")
        if differences := _differences(known_truth, truth):
            raise _not_one(first, name, "test samples", "; ".join(differences))


def _not_one(first: str, second: str, field: str, how: str) -> SplitError:
    hint = "share the runs of one test set only (`aqa runs export FILE RUN...`), or remove the others (`aqa runs rm`)"
    what = f"these two runs cannot stand in one table: {first} and {second} differ in {field}: {how}"
    return SplitError(what, hint=hint)


def _differences(first: Mapping[str, float], second: Mapping[str, float]) -> list[str]:
    """How two test sets, id -> truth, differ, in words; empty if they do not."""
    changed = [i for i in sorted(first.keys() & second.keys()) if not _same(first[i], second[i])]
    kinds = {
        "only in the first": sorted(first.keys() - second.keys()),
        "only in the second": sorted(second.keys() - first.keys()),
        "with another truth": [f"{i} ({first[i]:.10g} and {second[i]:.10g})" for i in changed],
    }
    return [f"{len(ids)} {kind}: {_listed(ids)}" for kind, ids in kinds.items() if ids]


def _listed(ids: Sequence[str]) -> str:
    return ", ".join(ids[:SHOWN]) + (f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else "")


def _same(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-12)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
