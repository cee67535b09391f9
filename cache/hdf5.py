"""HDF5 through Python's own files: one open per file, no HDF5 locks, errors that can be caught.

The library's own driver locks files (a read-only or network cache then cannot be read) and does not survive a full
disk well: it fails a second time when the file is closed. So files are read through an open Python file, and new ones
are laid out in memory, all but the features, and written front to back.

HDF5 does not notice every damage, and some make it loop for ever (found by flipping bits). So each file starts with a
user block, 512 bytes that HDF5 leaves to its users: one line of JSON, the seal, with the file's size and the sha256 of
everything but the features, which have checksums of their own. It is compared before HDF5 sees the file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np

from ..errors import StoreError

USER_BLOCK = 512
HASHED_AT_ONCE = 1 << 20

# What h5py and numpy raise on damaged files, beside their StoreErrors.
BROKEN = (OSError, KeyError, ValueError, TypeError, RuntimeError, EOFError, MemoryError, OverflowError, IndexError)


def open_binary(path: Path) -> IO[bytes]:
    """`path` for reading, unbuffered. Everything that the cache reads is opened here."""
    return path.open("rb", buffering=0)


@contextmanager
def reading(path: Path, hint: str) -> Iterator[None]:
    """Turns whatever a damaged file raises into a StoreError that names it. FileNotFoundError passes."""
    try:
        yield
    except FileNotFoundError:
        raise
    except BROKEN as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's complaint, not the file's content
            raise StoreError(f"cannot be read ({error.strerror})", file=path) from error
        raise StoreError(f"damaged ({reason(error)})", file=path, hint=hint) from error


@contextmanager
def opened(file: IO[bytes]) -> Iterator[h5py.File]:
    """An open file as HDF5, for reading, if its seal is right. Raises ValueError, EOFError and the like."""
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    block = file.read(USER_BLOCK)
    seal = json.loads(block.rstrip(b"\0"))
    if seal["size"] != size:
        raise ValueError(f"{size} of {seal['size']} bytes")
    start, stop = seal["at"], seal["at"] + seal["bytes"]
    if block != _seal(chain(_pieces(file, USER_BLOCK, start), _pieces(file, stop, size)), size, start, seal["bytes"]):
        raise ValueError("wrong checksum of the file's structure")
    with h5py.File(file, "r") as hdf5:
        yield hdf5


def _pieces(file: IO[bytes], start: int, stop: int) -> Iterator[bytes]:
    file.seek(start)
    for place in range(start, stop, HASHED_AT_ONCE):
        yield file.read(min(HASHED_AT_ONCE, stop - place))


def reserve(hdf5: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """A contiguous dataset whose place in the file is taken and whose content is written later, past HDF5."""
    options = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    options.set_layout(h5py.h5d.CONTIGUOUS)
    options.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    options.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    options.set_obj_track_times(False)
    h5py.h5d.create(hdf5.id, name.encode(), h5py.h5t.py_create(dtype), h5py.h5s.create_simple(shape), options)


def write_hdf5(
    file: IO[bytes], build: Callable[[h5py.File], None], large: Mapping[str, Iterable[np.ndarray]], *, sealed: bool
) -> None:
    """Writes an HDF5 file into the open, empty `file`, front to back; the same content is the same bytes.

    `build` makes everything, in memory, and reserves the `large` datasets in their order; the blocks of these, in row
    order, go straight to the disk. `sealed`: for files of the cache, with one large dataset.
    Raises: OSError if the disk is full. HDF5 has nothing to do with the disk, so it has no part in such errors.
    """
    memory = Sparse()
    # "earliest": the older object headers hold no time stamps.
    with h5py.File(memory, "w", libver="earliest", userblock_size=USER_BLOCK if sealed else 0) as hdf5:
        build(hdf5)
        places = [(dataset(hdf5, name).id.get_offset(), dataset(hdf5, name).nbytes) for name in large]
    if sealed:
        ((at, count),) = places
        rest = (memory.get(USER_BLOCK, at), memory.get(at + count, memory.size))
        memory.seek(0)
        memory.write(_seal(rest, memory.size, at, count))
    place = 0
    for (at, count), blocks in zip(places, large.values(), strict=True):
        write_all(file, memory.get(place, at))
        for block in blocks:
            write_all(file, block.data)
        place = at + count
    write_all(file, memory.get(place, memory.size))


def write_all(file: IO[bytes], content: Any) -> None:
    rest = memoryview(content).cast("B")
    while rest:
        rest = rest[file.write(rest) :]


def _seal(rest: Iterable[bytes], size: int, at: int, count: int) -> bytes:
    """The user block of a file with `count` bytes of features from `at` on, and the `rest` before and after them."""
    hasher = hashlib.sha256(json.dumps([size, at, count]).encode())
    for piece in rest:
        hasher.update(piece)
    seal = {"aqa": "features", "size": size, "at": at, "bytes": count, "sha256": hasher.hexdigest()}
    return json.dumps(seal).encode().ljust(USER_BLOCK, b"\0")


class Sparse:
    """A file in memory that takes space only where something was written; elsewhere it is zero."""

    PAGE = 1 << 16

    def __init__(self) -> None:
        self.pages: dict[int, bytearray] = {}
        self.position = self.size = 0

    def get(self, start: int, stop: int) -> bytes:
        self.position = start
        return self.read(stop - start)

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        total = len(rest)
        while rest:
            number, inside = divmod(self.position, self.PAGE)
            piece = rest[: self.PAGE - inside]
            page = self.pages.setdefault(number, bytearray(self.PAGE))
            page[inside : inside + len(piece)] = piece
            self.position += len(piece)
            rest = rest[len(piece) :]
        self.size = max(self.size, self.position)
        return total

    def readinto(self, buffer: Any) -> int:
        rest = memoryview(buffer).cast("B")
        rest = rest[: max(0, self.size - self.position)]
        total = len(rest)
        while rest:
            number, inside = divmod(self.position, self.PAGE)
            count = min(len(rest), self.PAGE - inside)
            page = self.pages.get(number)
            rest[:count] = bytes(count) if page is None else page[inside : inside + count]
            self.position += count
            rest = rest[count:]
        return total

    def read(self, size: int) -> bytes:
        data = bytearray(size)
        return bytes(data[: self.readinto(data)])

    def truncate(self, size: int) -> int:
        self.size = size
        return size

    def seek(self, offset: int, whence: int = 0) -> int:
        self.position = offset + (0, self.position, self.size)[whence]
        return self.position

    def tell(self) -> int:
        return self.position

    def flush(self) -> None:
        """There is nothing below to write to."""


def write_text(hdf5: h5py.File, name: str, texts: list[str]) -> None:
    hdf5.create_dataset(name, data=[text.encode() for text in texts], dtype=h5py.string_dtype())


def read_text(hdf5: h5py.File, name: str) -> list[str]:
    return [text.decode() for text in dataset(hdf5, name)[()].tolist()]


def dataset(hdf5: h5py.File, name: str) -> h5py.Dataset:
    found = hdf5[name]
    if not isinstance(found, h5py.Dataset):
        raise KeyError(f"{name} is no array")
    return found


def array(hdf5: h5py.File, name: str, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """The whole dataset `name`. Raises ValueError before anything is read if it is not of `dtype` and `shape`."""
    found = dataset(hdf5, name)
    if found.shape != shape or found.dtype != np.dtype(dtype):
        raise ValueError(f"{name} is {found.dtype} {found.shape}, not {dtype} {shape}")
    return found[()]


def attribute(hdf5: h5py.File, name: str) -> str:
    value = hdf5.attrs[name]
    if not isinstance(value, str):
        raise ValueError(f"attribute {name} is no text")
    return value


def reason(error: BaseException) -> str:
    """The first line of what `error` says."""
    said = str(error.args[0]) if error.args and not isinstance(error, OSError) else str(error)
    return (said or type(error).__name__).splitlines()[0]
