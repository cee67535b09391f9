"""Anybody's own videos: a table `samples.csv` beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import AnnotationError, BadParameter
from .about import About
from .base import Dataset, Fold, Media, Problem, Protocol, Range, Sample, Target
from .csv_rows import Row, read_rows
from .protocols import grouped_folds

FILE = "samples.csv"
FOLDS, SEED = 5, 0
ENOUGH = 10  # fewer test samples in a fold make no correlation of their own: the folds are judged together

ABOUT = About(
    name="csv",
    title="your own videos, listed in samples.csv",
    licence="yours",
    cite="",
    source="",
    layouts=(
        f"{FILE} in the folder (or the file itself), in UTF-8, with the columns id, media, score",
        "media: a video or a folder of images; relative paths count from the folder of the table",
        "known columns: split (train, test or empty), difficulty, judge_1.., group, kind, event, subject, caption, "
        "start_frame (the first that is read, from 0), end_frame (the first that is not read)",
        "any further column becomes an attribute; an empty score means: extract features only",
    ),
    options={
        "low": "lowest possible score; with `high`, the range for R-l2 and scaling (default: train, widened by 10%)",
        "high": "highest possible score",
        "times_difficulty": "the score is an execution mark times the difficulty, as in diving",
        "binary": "the score is 1 or 0: correct or not",
    },
)


def read(
    root: Path,
    *,
    low: float | None = None,
    high: float | None = None,
    times_difficulty: bool = False,
    binary: bool = False,
) -> Dataset:
    """Read the table in the folder `root`, or `root` itself if it is a file.

    Without a split there are five folds in which no subject (where the table has none: no event) is both in train and
    in test, and no protocol at all where fewer than two samples have a score.

    Raises:
        AnnotationError: it names the line and the column.
        BadParameter: `low` and `high` are not a range.
    """
    file = root if root.is_file() else root / FILE
    if not file.is_file():
        raise AnnotationError(f"no {FILE}", file=root, hint="write one: its first line is id,media,score")
    rows = read_rows(file)
    samples: list[Sample] = []
    problems: list[Problem] = []
    lines: dict[str, int] = {}
    for row in rows:
        sample, said = _sample(row, binary=binary, times_difficulty=times_difficulty)
        if sample.id in lines:
            raise row.error(f"line {lines[sample.id]} has the same id", "id", "give every sample an id of its own")
        lines[sample.id] = row.n
        samples.append(sample)
        problems += said
    target = Target(
        "score",
        kind="binary" if binary else "score",
        unit="" if binary else "points",
        times_difficulty=times_difficulty,
        ranges=_range(low, high, binary),
    )
    return Dataset(
        name=ABOUT.name,
        samples=_typed(samples),
        targets=(target,),
        protocols=_protocols(samples, {row["id"]: _part(row) for row in rows} if "split" in rows[0].cells else None),
        problems=tuple(problems),
    )


def _sample(row: Row, *, binary: bool, times_difficulty: bool) -> tuple[Sample, list[Problem]]:
    if not row["id"]:
        raise row.error("there is no id", "id")
    score, difficulty, judges = row.number("score"), row.number("difficulty"), row.judges()
    if binary and score not in (None, 0.0, 1.0):
        raise row.error(f"{score:g} is neither 0 nor 1", "score")
    if times_difficulty and score is not None and not difficulty:
        raise row.error("a score that is a mark times the difficulty needs the difficulty", "difficulty")
    problems = []
    marks = tuple(mark for mark in judges if mark is not None)
    if 0 < len(marks) < len(judges):
        lacking = f"judge_{judges.index(None) + 1}"
        problems.append(Problem(row["id"], lacking, f"line {row.n}: no mark; no judge of this sample is used"))
        marks = ()
    start, stop = _frames(row)
    media = row.file.parent / row["media"]  # also outside of the folder (`../`, absolute): the table is the user's own
    return Sample(
        id=row["id"],
        targets={} if score is None else {"score": score},
        media=Media(media, start, stop) if row["media"] else None,
        frames=None if row["media"] or stop is None else stop - start,
        group=row["group"],
        difficulty=difficulty,
        judges=marks,
        kind=row["kind"] or None,
        event=row["event"] or None,
        subject=row["subject"] or None,
        attributes=row.further(),
        caption=row["caption"] or None,
    ), problems


def _frames(row: Row) -> tuple[int, int | None]:
    start, stop = row.frame("start_frame") or 0, row.frame("end_frame")
    if stop is not None and stop <= start:
        raise row.error(f"there is no frame from {start} up to {stop}", "end_frame", "end_frame itself is not read")
    return start, stop


def _part(row: Row) -> str:
    part = row["split"].lower()
    if part not in ("train", "test", ""):
        hint = "a validation part is held out of train by aqa itself"
        raise row.error(f"'{row['split']}' is neither train nor test nor empty", "split", hint)
    return part


def _range(low: float | None, high: float | None, binary: bool) -> dict[str, Range]:
    if binary:
        return {"": (0.0, 1.0)}
    if low is None and high is None:
        return {}
    if low is None or high is None or not low < high:
        raise BadParameter(f"low {low} and high {high} are not a range of scores", hint="give both, low below high")
    return {"": (float(low), float(high))}


def _typed(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Attributes as integers or numbers where every cell of the column is one, else as texts."""
    cells: dict[str, list[str]] = {}
    for sample in samples:
        for name, cell in sample.attributes.items():
            cells.setdefault(name, []).append(str(cell))
    kinds = {name: next(kind for kind in (int, float, str) if _all(kind, column)) for name, column in cells.items()}
    return tuple(
        replace(sample, attributes={name: kinds[name](cell) for name, cell in sample.attributes.items()})
        for sample in samples
    )


def _all(kind: type, cells: Sequence[str]) -> bool:
    try:
        return all(kind(cell) == kind(cell) for cell in cells)  # nan is no number here
    except ValueError:
        return False


def _protocols(samples: Sequence[Sample], parts: Mapping[str, str] | None) -> tuple[Protocol, ...]:
    scored = [sample for sample in samples if sample.targets]
    folds: list[Fold] = []
    for group in dict.fromkeys(sample.group for sample in scored):
        members = [sample for sample in scored if sample.group == group]
        ids = [sample.id for sample in members]
        if parts is not None:
            train, test = (tuple(i for i in ids if parts[i] == part) for part in ("train", "test"))
            if train or test:
                folds.append(Fold("0", train, test, group))
            continue
        units = _units(members)
        if len(set(units) - {None}) + units.count(None) > 1:
            folds += grouped_folds(ids, units, FOLDS, seed=SEED, group=group)
    if not folds:
        return ()
    if parts is not None:
        return (Protocol("split", tuple(folds), note="the column split"),)
    small = min(len(fold.test) for fold in folds) < ENOUGH
    return (Protocol("grouped-folds", tuple(folds), pooled=small, note="made here, as the table has no split"),)


def _units(samples: Sequence[Sample]) -> list[str | None]:
    """What must not be divided: subjects if the table has any, else events."""
    subjects = [sample.subject for sample in samples]
    return subjects if any(subjects) else [sample.event for sample in samples]
