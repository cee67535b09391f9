"""Weight files of every container that people have, read without running what is in them.

torch (zip, and the legacy format of before 1.6), safetensors, npz and HDF5, told apart by their first bytes and not by
their names. What the tensors are called and how they lie is the matter of `keymaps.py`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import os
import pickle
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import AqaError, UnsafePickle, WeightsError

# Keys under which training scripts keep the state dict.
WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "base_model", "network")
CONVERT = "how TensorFlow and Caffe checkpoints become npz is in docs/backbones.md"
# What torch, NumPy, zipfile and h5py raise about bytes that are not what they should be.
_BROKEN = (
    *(OSError, EOFError, ValueError, RuntimeError, KeyError, IndexError, TypeError, AttributeError, AssertionError),
    *(OverflowError, MemoryError, struct.error, zlib.error, zipfile.BadZipFile, pickle.UnpicklingError),
)
AGAIN = "download it again and compare its size with the source's"


def load_weights(path: str | Path, part: str | None = "backbone.") -> dict[str, torch.Tensor]:
    """The named tensors of a weight file on the CPU, floating ones as float32.

    Wrappers (`{"state_dict": ...}`) and the prefix `module.` are taken off; where names begin with `part`, these alone
    are taken, without it.

    Raises:
        UnsafePickle: the file asks for more than tensors and plain data when it is unpickled.
        WeightsError: it is missing, empty, cut short, another kind of file, or holds no tensors by name.
    """
    path = Path(path)
    kind = file_kind(path)
    if kind not in _READERS:
        what, hint = _NOT_WEIGHTS[kind]
        error = UnsafePickle if kind == "pickle" else WeightsError
        raise error(f"the weight file {what}", file=path, hint=hint)
    with _readable(path):
        found = _READERS[kind](path)
    return _bare_names(_state_dict(found, path), part)


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file in hex; read once a process unless the file changes."""
    with _readable(path):
        stat = Path(path).stat()
        return _sha256(os.fspath(path), stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _sha256(path: str, size: int, mtime_ns: int) -> str:  # noqa: ARG001  (size and time are the key)
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_kind(path: str | Path) -> str:
    """torch, legacy, npz, safetensors, hdf5; or what it is instead, one of `_NOT_WEIGHTS`.

    Raises:
        WeightsError: it cannot be opened.
    """
    with _readable(path), Path(path).open("rb") as file:
        head = file.read(4096)
        size = file.seek(0, io.SEEK_END)
    if head[:4] == b"PK\x03\x04":
        return _zip_kind(Path(path))
    if head[:8] == b"\x89HDF\r\n\x1a\n":
        return "hdf5"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < size:
        return "safetensors"
    if LEGACY_MAGIC in head[:32]:
        return "legacy"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for kind, beginnings in _BEGINNINGS.items():
        if head.startswith(beginnings) or text.startswith(beginnings):
            return kind
    return "unknown" if head else "empty"


LEGACY_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
_BEGINNINGS = {
    "pickle": (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
    "page": (b"<",),
    "pointer": (b"version https://git-lfs",),
    "archive": (b"\x1f\x8b", b"7z\xbc\xaf\x27\x1c", b"bzh", b"BZh", b"\xfd7zXZ", b"Rar!"),
}
_NOT_WEIGHTS = {
    "empty": ("is empty", AGAIN),
    "page": ("is a web page", "the download led to a page and not to the file: open it in a browser"),
    "pointer": ("is a Git LFS pointer", "fetch the file itself with `git lfs pull`"),
    "archive": ("is a compressed archive", "unpack it and give the file inside"),
    "zip": ("is a zip archive, but neither torch's nor NumPy's", "unpack it and give the file inside"),
    "cut": ("is a zip archive (torch, npz) that is cut short or damaged", AGAIN),
    "pickle": ("is a bare pickle, which is not opened: pickles can run code", "save its arrays with numpy.savez"),
    "script": ("is a TorchScript program", "save `model.state_dict()` where it comes from"),
    "unknown": ("has no format that is known here", "torch, safetensors, npz and HDF5 can be read; " + CONVERT),
}


def _zip_kind(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except _BROKEN:
        return "cut"
    if any(name.endswith("/data.pkl") for name in names):
        return "script" if any(name.endswith("/constants.pkl") for name in names) else "torch"
    return "npz" if names and all(name.endswith(".npy") for name in names) else "zip"


@contextlib.contextmanager
def _readable(path: str | Path) -> Iterator[None]:
    """Turns what the readers raise about a broken file into a WeightsError that names it."""
    try:
        yield
    except AqaError:
        raise
    except FileNotFoundError as error:
        raise WeightsError("there is no such weight file", file=path) from error
    except (IsADirectoryError, PermissionError) as error:
        raise WeightsError(f"the weight file cannot be read: {error.strerror}", file=path) from error
    except _BROKEN as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise WeightsError(f"the weight file is damaged or cut short: {reason}", file=path, hint=AGAIN) from error


# ----------------------------------------------------------------------------------------------------- containers


def _read_torch(path: Path) -> Any:
    """Both formats of torch, with its restricted unpickler; NumPy scalars (an epoch, a best rho) are let in too."""
    numbers = [np.dtype, *(type(np.dtype(code)) for code in "?bhilqBHILQefd")]
    scalar: Any = np.float64(0).__reduce__()[0]
    names: list[Any] = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    try:
        with torch.serialization.safe_globals([*numbers, *names]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")  # others than 2 are rare, and read or refused
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = re.search(r"(?:GLOBAL|[Gg]lobal:?|class|function)\s+`?((?:[A-Za-z_]\w*\.)+\w+)", str(error))
        if asked is None:
            raise
        raise UnsafePickle(
            f"the file asks for {asked[1]}, which is more than tensors and plain data",
            file=path,
            hint="where it comes from, save only `model.state_dict()`, best as safetensors; it was not run here",
        ) from error


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsError(f"the weight file is damaged or cut short: {error}", file=path, hint=AGAIN) from error


def _read_npz(path: Path) -> Any:
    with np.load(path, allow_pickle=False) as arrays:
        try:
            return {name: _tensor(arrays[name]) for name in arrays.files}
        except ValueError as error:
            if "allow_pickle" not in str(error):
                raise
            raise UnsafePickle("an array in the file holds Python objects", file=path, hint=CONVERT) from error


def _read_hdf5(path: Path) -> Any:
    import h5py

    found: dict[str, torch.Tensor] = {}

    def take(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu":
            found[name] = _tensor(item[()])

    with h5py.File(path, "r") as file:
        file.visititems(take)
    return {name.removeprefix("model_weights/"): tensor for name, tensor in found.items()}


_READERS = {
    "torch": _read_torch,
    "legacy": _read_torch,
    "safetensors": _read_safetensors,
    "npz": _read_npz,
    "hdf5": _read_hdf5,
}


def _tensor(array: Any) -> torch.Tensor:
    array = np.asarray(array)
    return torch.from_numpy(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")).reshape(array.shape))


# ------------------------------------------------------------------------------------------------- what is inside


def _state_dict(found: Any, path: Path) -> dict[str, torch.Tensor]:
    """The mapping of names to tensors in what a file holds; numbers and texts beside them are left out."""
    if isinstance(found, Mapping):
        tensors = {str(name): value for name, value in found.items() if isinstance(value, torch.Tensor)}
        if tensors:
            return {
                name: (value.float() if value.is_floating_point() else value).detach()
                for name, value in tensors.items()
            }
        for key in WRAPPERS:
            if isinstance(found.get(key), Mapping):
                return _state_dict(found[key], path)
    keys = (
        f"the keys {json.dumps([str(key) for key in found][:5])}"
        if isinstance(found, Mapping)
        else type(found).__name__
    )
    raise WeightsError(f"the file holds no tensors by name, but {keys}", file=path)


def _bare_names(tensors: dict[str, torch.Tensor], part: str | None) -> dict[str, torch.Tensor]:
    while tensors and all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    inside = {name.removeprefix(part): t for name, t in tensors.items() if name.startswith(part)} if part else {}
    return inside or tensors
