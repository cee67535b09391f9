"""Pickles that hold plain data, opened without running anything that they name.

The annotation files of the field are pickles of dicts, tuples, numbers, strings and, in some, numpy scalars and
arrays. numpy's own reconstruction functions take any dtype, so a forged file could make arrays of raw pointers; here
they are replaced by functions that make numbers and strings only.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AnnotationError, UnsafePickle

PLAIN_KINDS = "biufcSU"  # bool, integers, floats, complex, bytes, str: no objects, no records
UNSAFE = "such a file can run code, so it is not opened; ask its author for plain data (JSON, CSV, npz)"
DAMAGED = (
    pickle.UnpicklingError,
    EOFError,
    AttributeError,
    ImportError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
)


class _Refused(pickle.UnpicklingError):
    """Readable, but more than plain data."""


class _DType:
    """Stands for a numpy dtype while the file is read."""

    def __init__(self, code: str, *_: Any) -> None:
        plain = np.dtype(str(code))
        if plain.kind not in PLAIN_KINDS or plain.names:
            raise _Refused(f"the pickle holds a numpy array of type {code!r}")
        self.plain = plain

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if any(part is not None for part in state[2:5]):  # subdtype, names, fields
            raise _Refused("the pickle holds a numpy array of records")
        if state[1] in ("<", ">"):
            self.plain = self.plain.newbyteorder(state[1])


class _Array(np.ndarray):
    """An empty array that takes its shape and content from the state that the file gives."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, raw = state
        if not isinstance(dtype, _DType):
            raise _Refused("the pickle holds a numpy array without a type")
        plain = (1, shape, dtype.plain, bool(fortran), _raw(raw))
        super().__setstate__(plain)  # pyright: ignore[reportArgumentType]


def _raw(data: bytes | bytearray | str) -> bytes:
    return data.encode("latin1") if isinstance(data, str) else bytes(data)


def _scalar(dtype: _DType, data: bytes | str) -> Any:
    return np.frombuffer(_raw(data), dtype.plain, count=1)[0]


def _reconstruct(*_: Any) -> np.ndarray:
    return np.ndarray.__new__(_Array, (0,))


def _from_buffer(data: bytes, dtype: _DType, shape: tuple[int, ...], order: str = "C", *_: Any) -> np.ndarray:
    return np.frombuffer(bytearray(_raw(data)), dtype.plain).reshape(shape, order="F" if order == "F" else "C")


def _encode(text: str, *_: Any) -> bytes:
    return text.encode("latin1")


def _empty() -> bytes:
    return b""


class _Named:
    """What a permitted global of the file becomes. It can be called and nothing else: no attribute can be set."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        object.__setattr__(self, "_call", call)

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __setattr__(self, name: str, value: object) -> None:
        raise _Refused(f"the pickle tries to set '{name}' of a function")

    def __setstate__(self, state: object) -> None:
        raise _Refused("the pickle tries to change a function")


def _of_numpy() -> dict[str, Callable[..., Any]]:
    table: dict[str, Callable[..., Any]] = {
        "numpy dtype": _DType,
        "numpy ndarray": _reconstruct,
        "_codecs encode": _encode,  # how protocol 2 writes bytes
        "__builtin__ bytes": _empty,  # and how it writes none
    }
    for core in ("numpy.core", "numpy._core"):
        table[f"{core}.multiarray scalar"] = _scalar
        table[f"{core}.multiarray _reconstruct"] = _reconstruct
        table[f"{core}.numeric _frombuffer"] = _from_buffer
    return table


NUMPY: Mapping[str, Callable[..., Any]] = _of_numpy()


class _PlainUnpickler(pickle.Unpickler):
    def __init__(self, data: bytes, path: Path, allow: Mapping[str, Callable[..., Any]]) -> None:
        super().__init__(io.BytesIO(data), encoding="latin1")
        self._path, self._allow = path, allow

    def find_class(self, module_name: str, global_name: str) -> Any:
        name = f"{module_name} {global_name}"
        if name not in self._allow:
            raise UnsafePickle(f"the pickle asks for '{name.replace(' ', '.')}'", file=self._path, hint=UNSAFE)
        return _Named(self._allow[name])

    def persistent_load(self, pid: Any) -> Any:  # noqa: ARG002
        raise UnsafePickle("the pickle refers to objects outside of it", file=self._path, hint=UNSAFE)


def load_pickle(path: Path, allow: Mapping[str, Callable[..., Any]] = NUMPY) -> Any:
    """The plain data in the pickle at `path`: any mix of dicts, lists, tuples, sets, numbers, strings, None and, with
    the default `allow`, numpy scalars and arrays of numbers or strings. Python 2 strings are read as latin-1.

    `allow`: "module name" of a global -> what is called in its place; `{}` for none.

    Raises:
        UnsafePickle: the file names any other global (it is not resolved, let alone called) or holds other arrays.
        AnnotationError: the file cannot be read or is damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise AnnotationError(f"cannot be read: {error.strerror}", file=path) from error
    try:
        return _PlainUnpickler(data, path, allow).load()
    except _Refused as error:
        raise UnsafePickle(str(error), file=path, hint=UNSAFE) from error
    except DAMAGED as error:
        hint = "download it again; a truncated download and a Git LFS pointer look like this"
        raise AnnotationError(f"not a whole pickle of plain data: {error}", file=path, hint=hint) from error
