"""Features that people have, into a store: from a data set's own folder, or from a folder or file of features."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
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
from .console import Console
from .pose_files import PoseFiles, holds_poses


def import_dataset(
    name: str, path: Path, root: Path | None, cache: Path, stream: str, console: Console
) -> dict[str, Any]:
    """Import `path` as `stream` of the data set `name`; labels come from `root`, else from `path`.

    A stream that the data set's own folder is known to carry (`catalog.streams`) is read from there; anything else by
    the names of its files. Returns what `aqa cache import --json` prints.

    Raises:
        AnnotationError: no labels at `root` or `path`.
        DataError: nothing there belongs to a sample, or a file cannot be read.
    """
    if not path.exists():
        raise DataError("no such file or folder", file=path)
    dataset = catalog.read(name, root or path)
    own = catalog.streams(name)
    if root is None and stream in own:
        found = own[stream](path)
        arrays, missing, unused = found, [s.id for s in dataset.samples if s.id not in found], ()
        digest, sources = _digest(found), {i: {"import": {"file": path.name}} for i in found}
        shape, unaligned = next(iter(found.values())).shape[1:], set()
    else:
        poses = PoseFiles(dataset)
        there, unaligned = _by_names(path, dataset, own, root, poses if holds_poses(path) else None), poses.unaligned
        arrays, missing, unused = there, list(there.missing), there.unused
        digest, sources, shape = there.digest(), {i: there.source(i) for i in there.places}, there.shape
        if there.by_order:
            console.warn(f"{path} names no samples: its rows are taken for those of {name}, in their order")
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
                if not np.isfinite(features).all():
                    hint = "only gaps of poses may be, in the array `pred` of an .npz: see docs/poses.md"
                    raise DataError("there are numbers that are NaN or infinite", file=path, sample=i, hint=hint)
                nowhere = np.zeros(len(features))
                source = {**sources[i], "aligned": False} if i in unaligned else sources[i]
                store.write(i, features, nowhere.astype(np.int64) - 1, nowhere * np.nan, source)
                rows, clips = rows + 1, clips + len(features)
            step()
    store.pack()
    if missing:
        console.warn(f"{len(missing)} samples have no features: {', '.join(missing[:5])}")
    if unaligned:
        some = ", ".join(sorted(unaligned)[:5])
        console.warn(
            f"{len(unaligned)} samples have poses of which nobody can say which frames they are of: {some}. "
            "They are kept in their order and marked as not aligned with the video"
        )
    if unused:
        console.warn(f"{len(unused)} files belong to no sample: {', '.join(unused[:5])}")
    return {
        "dataset": name,
        "store": str(store.path),
        "stream": stream,
        "done": rows,
        "skipped": skipped,
        "missing": missing,
        "unused": list(unused),
        "unaligned": sorted(unaligned),
        "clips": clips,
        "shape": list(shape),
    }


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
