"""Features that people already have, as files, sample by sample."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from .arrays import NAMES, SUFFIXES, LoadPt, open_arrays, pick
from .match import match

IDS = ("ids", "id", "names", "keys", "video_ids")
SHOWN = 5

Place = Path | str | slice  # a file; an array in the one file; rows in it
Read = Callable[[Path, str], np.ndarray]  # a file and its sample to [T, *shape]


@dataclass(frozen=True, eq=False)
class Import:
    """Features found in files; iterating gives (id, array [T, *shape], float32 or float16) in the order of the ids.

    `files`: what is read. `missing`: ids without features. `unused`: files (or arrays of the one file) without an id.
    `by_order`: the one file names no ids, so its rows are taken for the data set's samples, in their order.
    Iterating raises DataError, naming the file, if it is unreadable or its width differs from the others.
    """

    files: tuple[Path, ...]
    places: Mapping[str, Place]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    by_order: bool
    wanted: tuple[int, ...] | None  # shape that was asked for
    key: str | None
    load_pt: LoadPt | None
    read: Read | None = None  # in place of `open_arrays`

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        shape = self.wanted
        with closing(self._arrays()) as arrays:
            for sample, path, array in arrays:
                clips = as_clips(array, shape, path, sample)
                shape = clips.shape[1:]
                yield sample, clips

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Of one clip's feature, as the first sample has it. Raises DataError."""
        with closing(self._arrays()) as arrays:
            sample, path, array = next(arrays)
            return as_clips(array, self.wanted, path, sample).shape[1:]

    def digest(self) -> str:
        """sha256 over the contents of the files: the `weights` of an import's fingerprint."""
        hasher = hashlib.sha256(str(self.key).encode())
        for path in self.files:
            with path.open("rb") as file:
                hasher.update(hashlib.file_digest(file, "sha256").digest())
        return hasher.hexdigest()

    def without(self, samples: Collection[str]) -> Import:
        """The same without `samples` and their own files, as if these were not there: the digest is of the rest."""
        left = {sample: place for sample, place in self.places.items() if sample not in samples}
        gone = {place for sample, place in self.places.items() if sample in samples and isinstance(place, Path)}
        return replace(self, files=tuple(file for file in self.files if file not in gone), places=left)

    def source(self, sample: str) -> dict[str, Any]:
        """Which file a sample's features come from, for `FeatureStore.write`."""
        place = self.places[sample]
        path = place if isinstance(place, Path) else self.files[0]
        return {"import": {"file": path.name, "size": path.stat().st_size}}

    def _arrays(self) -> Generator[tuple[str, Path, np.ndarray]]:
        one = {sample: place for sample, place in self.places.items() if not isinstance(place, Path)}
        for sample, place in self.places.items():
            if self.read is not None and isinstance(place, Path):
                yield sample, place, self.read(place, sample)
            elif isinstance(place, Path):
                with open_arrays(place, self.load_pt) as arrays:
                    yield sample, place, np.asarray(arrays[pick(arrays, self.key, place)])
        if one:
            with open_arrays(self.files[0], self.load_pt) as arrays:
                values = None
                for sample, place in one.items():
                    if isinstance(place, str):
                        yield sample, self.files[0], np.asarray(arrays[place])
                        continue
                    if values is None:
                        values = np.asarray(arrays[pick(arrays, self.key, self.files[0])])
                    yield sample, self.files[0], values[place] if place.step is None else values[place.start]


def import_features(
    path: Path,
    ids: Sequence[str],
    shape: tuple[int, ...] | None = None,
    *,
    key: str | None = None,
    load_pt: LoadPt | None = None,
    read: Read | None = None,
    takes: Callable[[Path], bool] | None = None,
) -> Import:
    """Finds the features of `ids` in a folder with one file per sample, or in one file for all; reads when iterated.

    Suffixes: .npy .npz .pt .mat .h5. In a folder (searched with its subfolders) files are named as `match.match` says.
    One file holds an array per id, or `ids`, features end to end and `offsets` [N + 1], or one row [D] or array [T, D]
    per sample; without `ids` the samples are the data set's, in its order. A folder with one such file is that file.
    `shape`: of one clip's feature, checked if given. `key`: name of the array that holds the features, where a file has
    several and none has a usual name (`arrays.NAMES`). `load_pt`: reads a .pt file, safely. `read`: reads files of
    another kind, one per sample, and `takes` says which files are of it.
    Raises: DataError if nothing there belongs to any id, an assignment is ambiguous, or counts do not agree.
    """
    path = Path(path)
    if path.is_file() and read is None:
        return _one_file(path, ids, shape, key, load_pt)
    if not path.exists():
        raise DataError("no such file or folder", file=path)
    takes = takes or (lambda file: file.suffix.lower() in SUFFIXES)
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file() and takes(file))
    folder = path.parent if path.is_file() else path
    names = [file.relative_to(folder).with_suffix("").as_posix() for file in files]
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        hint = "keep one of them there, or give a folder with one kind"
        raise DataError(f"there in several formats: {', '.join(twice[:SHOWN])}", file=path, hint=hint)
    found = match(ids, names, str(path))
    if not found and len(files) == 1 and read is None:
        return _one_file(files[0], ids, shape, key, load_pt)
    if not found:
        raise _nothing(path, ids, names)
    by_name = dict(zip(names, files, strict=True))
    places = {sample: by_name[name] for sample, name in found.items()}
    used = set(places.values())
    return Import(
        files=tuple(file for file in files if file in used),
        places=places,
        missing=tuple(sample for sample in ids if sample not in found),
        unused=tuple(file.relative_to(folder).as_posix() for file in files if file not in used),
        by_order=False,
        wanted=shape,
        key=key,
        load_pt=load_pt,
        read=read,
    )


def _one_file(
    path: Path, ids: Sequence[str], shape: tuple[int, ...] | None, key: str | None, load_pt: LoadPt | None
) -> Import:
    with open_arrays(path, load_pt) as arrays:
        names = {_without_usual_name(name): name for name in arrays}
        found = match(ids, list(names), str(path)) if key is None else {}
        if found:
            places: Mapping[str, Place] = {sample: names[name] for sample, name in found.items()}
            used = set(found.values())
            unused, by_order = [name for name in names if name not in used], False
        else:
            places, unused, by_order = _rows(arrays, ids, pick(arrays, key, path), path)
    return Import(
        files=(path,),
        places=places,
        missing=tuple(sample for sample in ids if sample not in places),
        unused=tuple(unused),
        by_order=by_order,
        wanted=shape,
        key=key,
        load_pt=load_pt,
    )


def _rows(
    arrays: Mapping[str, Any], ids: Sequence[str], key: str, path: Path
) -> tuple[dict[str, Place], list[str], bool]:
    """Rows of the array `key` by id; names in the file without an id; whether the order alone tells."""
    shape_of_all = np.shape(arrays[key])
    total = shape_of_all[0] if shape_of_all else 0
    if "offsets" in arrays:
        offsets = np.asarray(arrays["offsets"]).ravel()
        if offsets.dtype.kind not in "iu" or offsets[0] != 0 or offsets[-1] != total or (np.diff(offsets) < 0).any():
            raise DataError(f"the offsets are not those of the {total} rows of {key}", file=path, field="offsets")
        rows: list[Place] = [slice(int(a), int(b)) for a, b in pairwise(offsets)]
    else:
        rows = [slice(i, i + 1, 1) for i in range(total)]
    named = next((name for name in IDS if name in arrays), None)
    if named is None:
        if len(rows) != len(ids):
            hint = "add an array `ids`, or give exactly the samples of the data set, in its order"
            raise DataError(f"{len(rows)} samples in the file, {len(ids)} in the data set", file=path, hint=hint)
        return dict(zip(ids, rows, strict=True)), [], True
    names = [name.decode() if isinstance(name, bytes) else str(name).strip() for name in np.ravel(arrays[named])]
    if len(names) != len(rows):
        raise DataError(f"{len(names)} {named} for {len(rows)} samples", file=path, field=named)
    found = match(ids, names, str(path))
    if not found:
        raise _nothing(path, ids, names)
    row_of, used = dict(zip(names, rows, strict=True)), set(found.values())
    return {sample: row_of[name] for sample, name in found.items()}, [name for name in names if name not in used], False


def as_clips(array: np.ndarray, shape: tuple[int, ...] | None, path: Path, sample: str) -> np.ndarray:
    """`array` as [T, *shape], contiguous, float32 or float16; one feature [*shape] becomes one clip.

    Without `shape`, [D] is one clip and all but the first axis of anything else is the shape.
    Raises: DataError for another shape or no numbers.
    """
    if array.dtype.kind not in "fiu":
        raise DataError(f"{array.dtype} are no features", file=path, sample=sample)
    if array.ndim == 0 or (shape is not None and array.shape == shape) or (shape is None and array.ndim == 1):
        array = array[None]
    elif shape is not None and array.ndim == len(shape) + 2 and len(array) == 1:  # a batch of one
        array = array[0]
    if array.ndim < 2 or (shape is not None and array.shape[1:] != shape):
        wanted = "[T, D]" if shape is None else f"[T, {', '.join(map(str, shape))}]"
        turned = shape is not None and array.ndim == 2 and array.shape[:1] == shape
        hint = "it looks like [D, T]: transpose it" if turned else None
        raise DataError(f"features are {list(array.shape)}, not {wanted}", file=path, sample=sample, hint=hint)
    with np.errstate(over="ignore"):  # infinities are refused, and counted, when they are written
        return np.ascontiguousarray(array, dtype=array.dtype if array.dtype in (np.float32, np.float16) else np.float32)


def _without_usual_name(name: str) -> str:
    """ "Ball_001/features" -> "Ball_001"."""
    parent, _, last = name.rpartition("/")
    return parent if parent and last in NAMES else name


def _nothing(path: Path, ids: Sequence[str], names: Sequence[str]) -> DataError:
    hint = f"expected names like {', '.join(ids[:SHOWN])}; found {', '.join(names[:SHOWN]) or 'no file of features'}"
    return DataError("nothing here belongs to a sample of the data set", file=path, hint=hint)
