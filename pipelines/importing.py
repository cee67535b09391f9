"""Features that people have, into a store: from a data set's own folder, or from a folder or file of features."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import catalog
from ..cache.fingerprint import Fingerprint
from ..cache.import_features import Import, import_features
from ..cache.stores import create_store
from ..catalog.base import Dataset
from ..catalog.poses import is_pose
from ..errors import AqaError, DataError, UnknownName
from .console import Console, counted
from .pose_files import PoseFiles, holds_poses


def import_dataset(
    name: str, path: Path, root: Path | None, cache: Path, stream: str, console: Console
) -> dict[str, Any]:
    """Import `path` as `stream` of the data set `name`; labels come from `root`, else from `path`.

    A stream that the data set's own folder is known to carry (`catalog.streams`) is read from there; anything else by
    the names of its files. A sample of which there is nothing, no clip or no frame with a pose, stops nothing: it is in
    `failed`. Returns what `aqa cache import --json` prints.

    Raises:
        AnnotationError: no labels at `root` or `path`.
        DataError: nothing there belongs to a sample, a file cannot be read, or shapes differ: no store is made then.
    """
    if not path.exists():
        raise DataError("no such file or folder", file=path)
    dataset = catalog.read(name, root or path)
    own = catalog.streams(name)
    if root is None and stream in own:
        found = own[stream](path)
        missing, unused, unaligned = [s.id for s in dataset.samples if s.id not in found], (), set()
        shape, failed = _looked_at(found.items(), path, console)
        arrays = {i: found[i] for i in found if i not in failed}
        digest, sources = _digest(arrays), {i: {"import": {"file": path.name}} for i in arrays}
    else:
        poses = PoseFiles(dataset)
        there, unaligned = _by_names(path, dataset, own, root, poses if holds_poses(path) else None), poses.unaligned
        missing, unused = list(there.missing), there.unused
        if there.by_order:
            console.warn(f"{path} names no samples: its rows are taken for those of {name}, in their order")
        shape, failed = _looked_at(there, path, console)
        arrays = there = there.without(failed)
        digest, sources = there.digest(), {i: there.source(i) for i in there.places}
    fingerprint = Fingerprint(
        backbone="import",
        layer=stream,
        shape=shape,
        weights=digest,
        pixels={},
        plan="as given",
        short="as given",
        precision="as given",
        extractor=1,
    )
    store = create_store(cache, dataset, stream, fingerprint, {"path": str(path.absolute())})
    for line in store.update_dataset(dataset):
        console.say(f"changed since the last import: {line}")
    rows = clips = skipped = 0
    there_already = set(store.ids())
    with console.progress("import", len(arrays)) as step:
        for i, features in arrays.items() if isinstance(arrays, Mapping) else arrays:
            if i in there_already:
                skipped += 1
            else:
                nowhere = np.zeros(len(features))
                source = {**sources[i], "aligned": False} if i in unaligned else sources[i]
                store.write(i, features, nowhere.astype(np.int64) - 1, nowhere * np.nan, source)
                rows, clips = rows + 1, clips + len(features)
            step()
    store.pack()
    if missing:
        console.warn(f"{counted(len(missing), 'sample')} without features: {', '.join(missing[:5])}")
    if unaligned:
        some = ", ".join(sorted(unaligned)[:5])
        console.warn(
            f"{counted(len(unaligned), 'sample')} with poses of which nobody can say which frames they are of: {some}. "
            "They are kept in their order and marked as not aligned with the video"
        )
    if unused:
        console.warn(f"{counted(len(unused), 'file')} of no sample: {', '.join(unused[:5])}")
    return {
        "dataset": name,
        "store": str(store.path),
        "stream": stream,
        "done": rows,
        "skipped": skipped,
        "missing": missing,
        "unused": list(unused),
        "unaligned": sorted(unaligned),
        "failed": [{"id": i, "error": type(e).__name__, "message": str(e)} for i, e in failed.items()],
        "clips": clips,
        "shape": list(shape),
    }


def _looked_at(
    arrays: Iterable[tuple[str, np.ndarray]], path: Path, console: Console
) -> tuple[tuple[int, ...], dict[str, DataError]]:
    """The shape of a clip's feature, and what is wrong with the samples that cannot be taken while others can.

    Everything is read here once, before there is a store: an import that is refused leaves nothing behind.
    """
    shapes: set[tuple[int, ...]] = set()
    failed: dict[str, DataError] = {}
    for i, features in arrays:
        if len(features) == 0:
            failed[i] = DataError("no frame with a pose, no clip: there is nothing to keep", file=path, sample=i)
            continue
        shapes.add(features.shape[1:])
        if len(shapes) > 1:
            raise DataError(f"unlike shapes: {' and '.join(map(str, sorted(shapes)))}", file=path, sample=i)
        if not np.isfinite(features).all():
            hint = "only gaps of poses may be, in the array `pred` of an .npz: see docs/poses.md"
            raise DataError("there are numbers that are NaN or infinite", file=path, sample=i, hint=hint)
    if not shapes:
        raise DataError("no file has a frame with a pose, or a clip", file=path, sample=next(iter(failed), None))
    for error in failed.values():
        console.warn(str(error))
    return shapes.pop(), failed


def _by_names(
    path: Path, dataset: Dataset, own: Mapping[str, Any], root: Path | None, poses: PoseFiles | None
) -> Import:
    ids = [s.id for s in dataset.samples]
    try:
        if poses is not None:
            return import_features(path, ids, read=poses, takes=is_pose)
        return import_features(path, ids, load_pt=_load_pt)
    except AqaError as error:
        if root is None and own:
            known = UnknownName(f"stream in the folder of {dataset.name}", "--as", own)
            error.hint = f"{error.hint or ''}; or take one that the set's folder carries: {known.hint}".lstrip("; ")
        raise


def _load_pt(path: Path) -> Any:
    import torch

    from ..errors import UnsafePickle

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError) as error:
        raise DataError(f"cannot be read by torch: {error}", file=path) from error
    except Exception as error:  # pickle.UnpicklingError: the file asks for more than tensors
        raise UnsafePickle(f"the file holds more than tensors: {error}", file=path) from error


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    hasher = hashlib.sha256()
    for name in sorted(arrays):
        hasher.update(name.encode() + b"\0")
        hasher.update(np.ascontiguousarray(arrays[name]).tobytes())
    return hasher.hexdigest()
