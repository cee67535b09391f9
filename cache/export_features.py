"""Features as files for other programs; `import_features` reads each of the formats back."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from ..errors import BadParameter, StoreError
from .files import whole_file, writing
from .hdf5 import reserve, write_hdf5
from .names import quote_id
from .store import FeatureStore

Format = Literal["npy", "npz", "h5"]


def export_features(store: FeatureStore, folder: Path, format: Format = "npy", *, overwrite: bool = False) -> Path:  # noqa: A002
    """Writes all features of `store` into `folder`, one sample in memory at a time; the path of what was written.

    npy: one ``<id>.npy`` [T, *shape] per sample, ids percent-encoded where they are no file names. npz: one
    ``<stream>.npz`` with `ids`, `features` [sum T, *shape], `offsets` [N + 1], `starts` and `times` [sum T].
    h5: one ``<stream>.h5`` with an array per sample.
    Raises: StoreError for a file that is there already (unless `overwrite`), an empty or damaged store, a full disk;
    BadParameter for another format.
    """
    if format not in ("npy", "npz", "h5"):
        raise BadParameter(f"cannot export as '{format}'", field="format", hint="npy, npz and h5 are known")
    ids = store.ids()
    if not ids:
        raise StoreError("no features to export", file=store.path)
    one = folder / f"{quote_id(store.stream)}.{format}"
    targets = {sample: folder / f"{quote_id(sample)}.npy" for sample in ids} if format == "npy" else {"": one}
    there = [path for path in targets.values() if path.exists()]
    if there and not overwrite:
        raise StoreError("is there already", file=there[0], hint="choose an empty folder, or overwrite")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if format == "npz":
        _write_npz(store, ids, one)
    elif format == "h5":
        _write_h5(store, ids, one)
    else:
        for sample, path in targets.items():
            values = _features(store, sample)
            with whole_file(path) as file:
                np.save(file, values)
    return folder if format == "npy" else one


def _write_npz(store: FeatureStore, ids: list[str], path: Path) -> None:
    starts, times, offsets = store.read_times(ids)
    small: Mapping[str, np.ndarray] = {"ids": np.array(ids), "offsets": offsets, "starts": starts, "times": times}
    header = {"descr": store.dtype.str, "fortran_order": False, "shape": (len(starts), *store.shape)}
    with whole_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in small.items():
            with archive.open(_member(name), "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
        with archive.open(_member("features"), "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, header)
            for sample in ids:
                member.write(_features(store, sample).data)


def _write_h5(store: FeatureStore, ids: list[str], path: Path) -> None:
    _, _, offsets = store.read_times(ids)
    rows = dict(zip(ids, np.diff(offsets).tolist(), strict=True))

    def build(hdf5: h5py.File) -> None:
        for sample in ids:
            reserve(hdf5, quote_id(sample), (rows[sample], *store.shape), store.dtype)

    with whole_file(path) as file:
        write_hdf5(file, build, {quote_id(i): map(partial(_features, store), [i]) for i in ids}, sealed=False)


def _features(store: FeatureStore, sample: str) -> np.ndarray:
    return store.read([sample])[0]


def _member(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))  # no clock: same content, same bytes
