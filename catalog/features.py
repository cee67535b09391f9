"""Features that people pass around in place of videos: folders of one `.npy` per sample, `.npz` files, tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ..errors import AnnotationError
from .files import text


def read_features(where: Sequence[Path], folders: Sequence[str], ids: Sequence[str]) -> dict[str, np.ndarray]:
    """id -> [T, *shape] of every id, from the first of `folders` below `where` that has a file of any of them.

    Raises AnnotationError if no folder has one, if files of some ids are missing, or if one cannot be read.
    """
    folder = next((base / name for base in where for name in folders if _any(base / name, ids)), None)
    if folder is None:
        hint = "the features are one .npy file per sample, named by its id"
        raise AnnotationError(f"no features: looked for {', '.join(folders)}", file=where[0], hint=hint)
    missing = [i for i in ids if not (folder / f"{i}.npy").is_file()]
    if missing:
        some = ", ".join(missing[:5])
        raise AnnotationError(f"features of {len(missing)} of {len(ids)} samples are missing: {some}", file=folder)
    return {i: _one(folder / f"{i}.npy", i) for i in ids}


def read_npz(file: Path, names: Sequence[str], sample: str | None = None) -> dict[str, np.ndarray]:
    """The arrays called `names`. Raises AnnotationError for a damaged file, a missing array and arrays of objects."""
    try:
        with file.open("rb") as handle, np.load(handle, allow_pickle=False) as stored:
            for name in names:
                if name not in stored:
                    raise AnnotationError(f"there is no array {name}", file=file, sample=sample, field=name)
            return {name: stored[name] for name in names}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, BadZipFile) as error:
        raise AnnotationError(f"not an npz of numbers: {error}", file=file, sample=sample) from error


def read_table(file: Path, columns: int, sample: str | None = None) -> np.ndarray:
    """A text of numbers, one row a line, separated by commas or blanks: [rows, columns] float32.

    Raises AnnotationError for a file without rows, another number of columns, and what is no finite number.
    """
    lines = [line.replace(",", " ") for line in text(file).splitlines() if line.strip()]
    if not lines:
        raise AnnotationError("the file is empty", file=file, sample=sample)
    try:
        table = np.loadtxt(lines, ndmin=2, comments=None)
    except ValueError as error:
        raise AnnotationError(f"not a table of numbers: {error}", file=file, sample=sample) from error
    if table.shape[1] != columns:
        raise AnnotationError(f"wanted {columns} columns, got {table.shape[1]}", file=file, sample=sample)
    if not (np.abs(table) <= np.finfo(np.float32).max).all():
        row = int(np.flatnonzero(~(np.abs(table) <= np.finfo(np.float32).max).all(1))[0])
        raise AnnotationError(f"row {row + 1} has a number that is not finite", file=file, sample=sample)
    return table.astype(np.float32)


def _any(folder: Path, ids: Sequence[str]) -> bool:
    return folder.is_dir() and any((folder / f"{i}.npy").is_file() for i in ids)


def _one(file: Path, i: str) -> np.ndarray:
    try:
        with file.open("rb") as handle:
            features = np.load(handle, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise AnnotationError(f"not an array of numbers: {error}", file=file, sample=i) from error
    if features.ndim < 2 or features.shape[0] == 0 or not np.issubdtype(features.dtype, np.floating):
        wanted = f"wanted floats of [clips, ...], got {features.dtype} of {list(features.shape)}"
        raise AnnotationError(wanted, file=file, sample=i)
    return features
