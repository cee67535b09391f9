"""What is kept of one sample, and the checksum over it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import StoreError

FORMAT = 1
BLOCK_BYTES = 8 << 20  # features are copied and checked in pieces of this size, whatever the file's size


@dataclass(frozen=True, eq=False)
class Record:
    """One sample without its features. `digest`: sha256 over everything that is kept of it, as 64 hex digits."""

    id: str
    starts: np.ndarray  # int64 [T], first frame of each clip
    times: np.ndarray  # float64 [T], its time in seconds
    source: str  # JSON: what the features were made of
    digest: str = ""

    @property
    def rows(self) -> int:
        return len(self.starts)

    def hasher(self, dtype: np.dtype, shape: tuple[int, ...]) -> hashlib._Hash:
        """A sha256 that has seen all but the features [T, *shape], whose bytes are to follow."""
        head = json.dumps([self.id, self.source, self.rows, dtype.str, list(shape)])
        hasher = hashlib.sha256(head.encode())
        hasher.update(self.starts.astype("<i8").tobytes() + self.times.astype("<f8").tobytes())
        return hasher


def checked(
    sample: str,
    features: Any,
    starts: Any,
    times: Any,
    source: Mapping[str, Any],
    dtype: np.dtype,
    shape: tuple[int, ...],
) -> tuple[Record, np.ndarray]:
    """The record of a sample and its features [T, *shape] as `dtype`, if they are what the store takes.

    Raises: StoreError for no clips, another shape or type, NaN or infinity, or a source that JSON does not have.
    """
    values = np.asarray(features)
    if values.dtype not in (np.float32, np.float16):
        raise StoreError(f"features are {values.dtype}, not float32 or float16", sample=sample, field="features")
    if values.ndim != 1 + len(shape) or values.shape[1:] != shape:
        raise StoreError(
            f"features are {list(values.shape)}, not [T, {_commas(shape)}]", sample=sample, field="features"
        )
    if len(values) == 0:
        raise StoreError("no clip, so nothing to keep", sample=sample, field="features", hint="is the video too short?")
    with np.errstate(over="ignore"):  # what does not fit becomes infinite and is refused below
        values = np.ascontiguousarray(values, dtype=dtype)
    bad = int(values.size - np.isfinite(values).sum())
    if bad:
        hint = f"of {values.size} numbers; the weights or the precision do not suit this input"
        raise StoreError(f"{bad} features are NaN or infinite ({dtype})", sample=sample, field="features", hint=hint)
    first, seconds = np.asarray(starts), np.asarray(times, dtype=np.float64)
    for name, column in (("starts", first), ("times", seconds)):
        if column.shape != (len(values),):
            raise StoreError(f"{list(column.shape)} for {len(values)} clips", sample=sample, field=name)
    if first.dtype.kind not in "iu":
        raise StoreError(f"{first.dtype} are no frame numbers", sample=sample, field="starts")
    if np.isinf(seconds).any():  # NaN: unknown, as for images
        raise StoreError("a time is infinite", sample=sample, field="times")
    try:
        text = json.dumps(dict(source), sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StoreError(f"not JSON: {error}", sample=sample, field="source") from error
    record = Record(sample, first.astype(np.int64), seconds, text)
    hasher = record.hasher(dtype, shape)
    hasher.update(values.data)
    return Record(record.id, record.starts, record.times, record.source, hasher.hexdigest()), values


def require_format(found: object, path: Path) -> None:
    """Raises StoreError if the file at `path` was written in a format that this version does not know."""
    if str(found) != str(FORMAT):
        hint = "update aqa, or extract again into another cache"
        raise StoreError(f"cache format {found}, but this aqa reads {FORMAT}", file=path, field="format", hint=hint)


def block_rows(dtype: np.dtype, shape: tuple[int, ...]) -> int:
    """How many rows [*shape] are copied and checked at once."""
    return max(1, BLOCK_BYTES // row_bytes(dtype, shape))


def row_bytes(dtype: np.dtype, shape: tuple[int, ...]) -> int:
    return dtype.itemsize * int(np.prod(shape, dtype=np.int64))


def read_exactly(file: IO[bytes], offset: int, out: np.ndarray) -> None:
    """Fills the contiguous array `out` with the bytes of `file` from `offset` on. Raises EOFError."""
    rest = out.data.cast("B")
    file.seek(offset)
    while rest:
        count = file.readinto(rest)  # pyright: ignore[reportAttributeAccessIssue]
        if not count:
            raise EOFError(f"the file ends {len(rest)} bytes early")
        rest = rest[count:]


def _commas(shape: tuple[int, ...]) -> str:
    return ", ".join(str(size) for size in shape)
