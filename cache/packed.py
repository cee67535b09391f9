"""The packed file: the samples of a store end to end in one immutable HDF5 file.

Arrays: `features` [sum T, *shape], contiguous on disk; `offsets` int64 [N + 1]; `ids`; `starts`, `times` [sum T];
`sources` (JSON); `sha256` [N, 32], one checksum per sample. Attributes: format, fingerprint, checksum (over all).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

import h5py
import numpy as np

from ..errors import StoreError
from .files import Identity, identity
from .hdf5 import array, attribute, dataset, opened, read_text, reserve, write_hdf5, write_text
from .record import FORMAT, Record, block_rows, read_exactly, require_format, row_bytes

HINT = "`aqa cache verify` lists what is damaged; delete this file and run the extract or import command again"


@dataclass(frozen=True, eq=False)
class Index:
    """Where everything is in a packed file. `at`: the first byte of the features."""

    ids: tuple[str, ...]
    offsets: np.ndarray  # int64 [N + 1]
    digests: np.ndarray  # uint8 [N, 32]
    at: int
    checksum: str
    identity: Identity

    @cached_property
    def position(self) -> dict[str, int]:
        return {sample: i for i, sample in enumerate(self.ids)}

    def rows(self, i: int) -> tuple[int, int]:
        return int(self.offsets[i]), int(self.offsets[i + 1])


def read_index(file: IO[bytes], path: Path, dtype: np.dtype, shape: tuple[int, ...], fingerprint: str) -> Index:
    """Reads and checks everything but the features, times and sources.

    Raises: what `hdf5.reading` catches where the file contradicts itself, StoreError for another format or fingerprint.
    """
    status = os.fstat(file.fileno())
    with opened(file) as hdf5:
        require_format(attribute(hdf5, "format"), path)
        if json.loads(attribute(hdf5, "fingerprint"))["digest"] != fingerprint:
            hint = "it was not made for this folder: move it away, then extract again"
            raise StoreError("packed features of another fingerprint", file=path, field="fingerprint", hint=hint)
        features = dataset(hdf5, "features")
        at = features.id.get_offset()
        if features.dtype != dtype or features.shape[1:] != shape:
            raise ValueError(f"features are {features.dtype} {features.shape}")
        if at is None:
            raise ValueError("the features are not contiguous")
        rows, count = len(features), len(dataset(hdf5, "ids"))
        index = Index(
            tuple(read_text(hdf5, "ids")),
            array(hdf5, "offsets", "<i8", (count + 1,)),
            array(hdf5, "sha256", "u1", (count, 32)),
            at,
            attribute(hdf5, "checksum"),
            identity(status),
        )
    if index.offsets[0] != 0 or index.offsets[-1] != rows or (np.diff(index.offsets) <= 0).any():
        raise ValueError("the offsets are not those of the features")
    return index


def read_records(file: IO[bytes], index: Index) -> list[Record]:
    """The records of all samples of an open packed file. Raises ValueError where they do not fit the index."""
    rows = (int(index.offsets[-1]),)
    with opened(file) as hdf5:
        starts, times = array(hdf5, "starts", "<i8", rows), array(hdf5, "times", "<f8", rows)
        sources = read_text(hdf5, "sources")
    if len(sources) != len(index.ids):
        raise ValueError(f"{len(sources)} sources for {len(index.ids)} samples")
    spans = [slice(*index.rows(i)) for i in range(len(sources))]
    digests = [digest.tobytes().hex() for digest in index.digests]
    return [
        Record(*row)
        for row in zip(index.ids, (starts[s] for s in spans), (times[s] for s in spans), sources, digests, strict=True)
    ]


def write_packed(
    file: IO[bytes],
    records: Sequence[Record],
    features: Iterable[Generator[np.ndarray]],
    dtype: np.dtype,
    shape: tuple[int, ...],
    fingerprint: dict,
    damaged: Callable[[int], StoreError],
) -> None:
    """Writes a packed file into the open, empty `file`; the bytes depend on the content alone.

    `features` gives, sample by sample, blocks [n, *shape]; no more than one is in memory. `damaged(i)` makes the
    error for sample i whose blocks do not have the checksum of its record.
    Raises: OSError if the disk is full, StoreError.
    """
    offsets = np.concatenate([[0], np.cumsum([record.rows for record in records])]).astype("<i8")
    digests = np.array([list(bytes.fromhex(record.digest)) for record in records], dtype="u1")
    ids = [record.id for record in records]

    def build(hdf5: h5py.File) -> None:
        hdf5.attrs["format"] = str(FORMAT)
        hdf5.attrs["fingerprint"] = json.dumps(fingerprint, sort_keys=True)
        hdf5.attrs["checksum"] = _checksum(fingerprint["digest"], ids, offsets, digests)
        hdf5.create_dataset("offsets", data=offsets)
        hdf5.create_dataset("sha256", data=digests)
        write_text(hdf5, "ids", ids)
        write_text(hdf5, "sources", [record.source for record in records])
        hdf5.create_dataset("starts", data=np.concatenate([record.starts for record in records]), dtype="<i8")
        hdf5.create_dataset("times", data=np.concatenate([record.times for record in records]), dtype="<f8")
        # Contiguous, as measured (docs/cache.md): chunks read 1.7x slower, a group per sample 13x.
        reserve(hdf5, "features", (int(offsets[-1]), *shape), dtype)

    with closing(_checked(records, features, dtype, shape, damaged)) as small:
        write_hdf5(file, build, {"features": _large(small, dtype, shape)}, sealed=True)


def _checked(
    records: Sequence[Record],
    features: Iterable[Generator[np.ndarray]],
    dtype: np.dtype,
    shape: tuple[int, ...],
    damaged: Callable[[int], StoreError],
) -> Generator[np.ndarray]:
    """All blocks of all samples; after the last of a sample, its checksum is compared."""
    for i, (record, sample_blocks) in enumerate(zip(records, features, strict=True)):
        hasher, rows = record.hasher(dtype, shape), 0
        with closing(sample_blocks):  # else the file that it reads stays open after an error elsewhere
            for block in sample_blocks:
                hasher.update(np.ascontiguousarray(block).data)
                rows += len(block)
                yield block
        if rows != record.rows or hasher.hexdigest() != record.digest:
            raise damaged(i)


def _large(small: Iterable[np.ndarray], dtype: np.dtype, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """The same rows in large blocks: a file written 80 kB at a time is read at 0.7 of the speed (docs/cache.md)."""
    buffer, filled = np.empty((block_rows(dtype, shape), *shape), dtype), 0
    for block in small:
        rest = block
        while len(rest):
            count = min(len(rest), len(buffer) - filled)
            buffer[filled : filled + count] = rest[:count]
            filled, rest = filled + count, rest[count:]
            if filled == len(buffer):
                yield buffer
                filled = 0
    if filled:
        yield buffer[:filled]


def blocks(file: IO[bytes], index: Index, i: int, dtype: np.dtype, shape: tuple[int, ...]) -> Iterator[np.ndarray]:
    """The features of sample `i` of an open packed file, in blocks of rows."""
    start, stop = index.rows(i)
    step = block_rows(dtype, shape)
    for row in range(start, stop, step):
        block = np.empty((min(step, stop - row), *shape), dtype)
        read_exactly(file, index.at + row * row_bytes(dtype, shape), block)
        yield block


def _checksum(fingerprint: str, ids: Sequence[str], offsets: np.ndarray, digests: np.ndarray) -> str:
    """sha256 over the fingerprint's digest, ids, offsets and the samples' checksums, so over everything."""
    hasher = hashlib.sha256(json.dumps([FORMAT, fingerprint, list(ids)]).encode())
    hasher.update(offsets.astype("<i8").tobytes() + digests.tobytes())
    return hasher.hexdigest()
