"""One sample in one small HDF5 file, until it is packed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from .files import Identity, identity, whole_file
from .hdf5 import array, attribute, dataset, open_binary, opened, reading, reserve, write_hdf5
from .names import quote_id
from .record import FORMAT, Record, block_rows, require_format

HINT = "`aqa cache verify` lists what is damaged; delete this file and run the extract or import command again"


@dataclass(frozen=True, eq=False)
class Part:
    """An open part. `features`: the HDF5 array [T, *shape]; `identity` changes when the file is written anew."""

    path: Path
    record: Record
    features: h5py.Dataset
    identity: Identity


def write_part(path: Path, record: Record, values: np.ndarray, fingerprint: str, lock: Path) -> None:
    """Writes a part, whole or not at all; `lock` is held while it takes its name. Raises StoreError."""

    def build(hdf5: h5py.File) -> None:
        hdf5.attrs["format"] = str(FORMAT)
        hdf5.attrs["id"] = record.id
        hdf5.attrs["fingerprint"] = fingerprint
        hdf5.attrs["source"] = record.source
        hdf5.attrs["sha256"] = record.digest
        hdf5.create_dataset("starts", data=record.starts, dtype="<i8")
        hdf5.create_dataset("times", data=record.times, dtype="<f8")
        reserve(hdf5, "features", values.shape, values.dtype)

    with whole_file(path, lock) as file:
        write_hdf5(file, build, {"features": [values]}, sealed=True)


@contextmanager
def open_part(path: Path, dtype: np.dtype, shape: tuple[int, ...], fingerprint: str) -> Iterator[Part]:
    """Opens a part for reading.

    Raises: StoreError if it is damaged or not of this store, FileNotFoundError if it is gone (packed meanwhile).
    """
    with reading(path, HINT), open_binary(path) as file, opened(file) as hdf5:
        require_format(attribute(hdf5, "format"), path)
        if attribute(hdf5, "fingerprint") != fingerprint:
            raise ValueError("features of another fingerprint")
        sample = attribute(hdf5, "id")
        if quote_id(sample) != path.stem:  # renamed, or a file system that takes A for a
            raise ValueError(f"holds sample {sample!r}")
        status = os.fstat(file.fileno())
        features = dataset(hdf5, "features")
        rows = (len(features),)
        # A shape that claims more than the file has would only be noticed after the memory was taken.
        if features.dtype != dtype or features.shape[1:] != shape or features.nbytes > status.st_size:
            raise ValueError(f"features are {features.dtype} {features.shape}")
        yield Part(
            path,
            Record(
                sample,
                array(hdf5, "starts", "<i8", rows),
                array(hdf5, "times", "<f8", rows),
                attribute(hdf5, "source"),
                attribute(hdf5, "sha256"),
            ),
            features,
            identity(status),
        )


def read_into(part: Part, out: np.ndarray) -> int:
    """Puts the features at the start of `out` [>= T, *shape] and returns T. Raises ValueError for a wrong checksum."""
    rows = part.record.rows
    part.features.read_direct(out, np.s_[:rows], np.s_[:rows])
    hasher = part.record.hasher(out.dtype, out.shape[1:])
    hasher.update(out[:rows].data)
    if hasher.hexdigest() != part.record.digest:
        raise ValueError("wrong checksum")
    return rows


def blocks(part: Part) -> Iterator[np.ndarray]:
    """The features, in blocks of rows."""
    step = block_rows(part.features.dtype, part.features.shape[1:])
    for row in range(0, part.record.rows, step):
        yield part.features[row : row + step]
