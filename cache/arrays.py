"""Arrays in the files that people keep features in: .npy, .npz, .h5, .mat, and .pt through a function that is given."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ..errors import DataError, UnsafePickle
from .hdf5 import BROKEN, reason

SUFFIXES = (".npy", ".npz", ".h5", ".hdf5", ".mat", ".pt", ".pth")
NAMES = ("features", "feature", "feats", "feat", "x", "X", "arr_0", "data")  # what people call features
UNREADABLE = (*BROKEN, zipfile.BadZipFile, zlib.error, NotImplementedError, AttributeError)

LoadPt = Callable[[Path], Any]  # a .pt file as an array, or a mapping of arrays


@contextmanager
def open_arrays(path: Path, load_pt: LoadPt | None = None) -> Iterator[Mapping[str, Any]]:
    """The arrays in a file by name ("" for the only one of a .npy); each is read when it is asked for.

    Nothing is unpickled here. `load_pt` must not run foreign code either (``torch.load(..., weights_only=True)``).
    Raises: DataError for a damaged file, also inside the block, UnsafePickle for an array of Python objects.
    """
    try:
        with _opened(path, load_pt) as arrays:
            yield arrays
    except UNREADABLE as error:
        if "allow_pickle" in str(error) or "Python objects" in str(error):
            hint = "save the arrays as numbers, one per file or with offsets"
            raise UnsafePickle("holds pickled Python objects", file=path, hint=hint) from error
        raise DataError(f"cannot be read as {path.suffix} ({reason(error)})", file=path) from error


def pick(arrays: Mapping[str, Any], key: str | None, path: Path) -> str:
    """The name of the features among `arrays`: `key`, the only one, or one of NAMES. Raises DataError."""
    names = list(arrays)
    if key is not None:
        if key in arrays:
            return key
    elif len(names) == 1:
        return names[0]
    else:
        usual = [name for name in NAMES if name in arrays]
        if usual:
            return usual[0]
    listed = ", ".join(f"{name} {list(np.shape(arrays[name]))}" for name in names[:12]) or "nothing"
    what = "which array is the features?" if key is None else f"no array '{key}'"
    raise DataError(what, file=path, field="key", hint=f"it holds {listed}; name one of them as key")


@contextmanager
def _opened(path: Path, load_pt: LoadPt | None) -> Iterator[Mapping[str, Any]]:
    suffix = path.suffix.lower()
    if suffix == ".npy":
        yield {"": np.lib.format.open_memmap(path, mode="r")}
    elif suffix == ".npz":
        if not zipfile.is_zipfile(path):  # numpy would take it for a pickle
            raise ValueError("no zip archive")
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    elif suffix in (".h5", ".hdf5"):
        with path.open("rb") as file, h5py.File(file, "r") as hdf5:
            yield _datasets(hdf5)
    elif suffix == ".mat":
        with _opened_mat(path) as arrays:
            yield arrays
    elif suffix in (".pt", ".pth"):
        if load_pt is None:
            raise DataError("a file of torch, and there is nothing to read it with", file=path, hint="pass load_pt")
        loaded = load_pt(path)
        yield loaded if isinstance(loaded, Mapping) else {"": np.asarray(loaded)}
    else:
        raise DataError(f"not one of {' '.join(SUFFIXES)}", file=path)


@contextmanager
def _opened_mat(path: Path) -> Iterator[Mapping[str, Any]]:
    from scipy.io import loadmat  # here, as it takes a while and few need it

    with path.open("rb") as file:
        newer = file.read(128).startswith(b"MATLAB 7.3")
        file.seek(0)
        if newer:  # HDF5, axes the other way round
            with h5py.File(file, "r") as hdf5:
                yield {name: np.asarray(data).T for name, data in _datasets(hdf5).items() if not name.startswith("#")}
        else:
            yield {name: data for name, data in loadmat(file).items() if not name.startswith("__")}


def _datasets(hdf5: h5py.File) -> dict[str, h5py.Dataset]:
    found: dict[str, h5py.Dataset] = {}

    def keep(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item

    hdf5.visititems(keep)
    return found
