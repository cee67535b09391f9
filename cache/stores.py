"""Making, opening and finding feature stores."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..catalog.base import Dataset
from ..errors import BadParameter, StoreError, UsageError
from .files import clean, locked, write_whole, writing
from .fingerprint import Fingerprint
from .hdf5 import BROKEN
from .names import quote_id
from .record import FORMAT
from .store import NUMBERS, FeatureStore
from .table import read_json, write_dataset


def create_store(
    root: Path,
    dataset: Dataset,
    stream: str,
    fingerprint: Fingerprint,
    provenance: Mapping[str, Any],
    flags: Sequence[str] = (),
    dtype: str = "float32",
) -> FeatureStore:
    """The store of a data set's `stream` under the cache `root` that was made as `fingerprint` says; made if need be.

    A store that is there is opened as it is: its provenance, flags, `dtype` and table stay (`update_dataset` renews the
    last). `provenance`: plain values worth knowing that do not change the numbers. `dtype`: float32 or float16.
    Raises: FingerprintMismatch if the store's fingerprint differs, naming the field; StoreError if it cannot be
    written; BadParameter for a stream's name with "@" or another dtype.
    """
    if not stream or "@" in stream:
        raise BadParameter(f"'{stream}' cannot name a stream", field="stream", hint="use letters, digits and -_.:")
    if dtype not in NUMBERS:
        raise BadParameter(f"features are kept as {' or '.join(NUMBERS)}, not {dtype}", field="dtype")
    if any(size < 1 for size in fingerprint.shape):
        raise BadParameter(f"features of shape {list(fingerprint.shape)} are empty", field="shape")
    path = root / quote_id(dataset.name) / quote_id(stream) / fingerprint.digest[:8]
    about = path / "store.json"
    if not about.exists():
        text = {
            "format": FORMAT,
            "dataset": dataset.name,
            "stream": stream,
            "fingerprint": fingerprint.to_json(),
            "provenance": dict(provenance),
            "flags": list(flags),
            "dtype": dtype,
        }
        content = json.dumps(text, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
        with writing(path):
            (path / "parts").mkdir(parents=True, exist_ok=True)
        with locked(path / ".lock"):
            clean(path, exclusive=True)
            if not about.exists():
                write_dataset(path / "dataset.json", dataset)
                write_whole(about, content.encode())  # last: a folder with this file is a store
    store = open_store(path)
    fingerprint.require(store.fingerprint, str(about))
    return store


def open_store(path: Path) -> FeatureStore:
    """The store in the folder `path`. Raises StoreError if there is none or its store.json is damaged."""
    file = path / "store.json"
    if not file.exists():
        raise StoreError("no feature store", file=path, hint="`aqa cache ls` lists those that are there")
    about = read_json(file, "restore this file from a copy, or delete the folder and extract again")
    try:
        return FeatureStore(path, about)
    except (*BROKEN, AttributeError) as error:
        hint = "restore this file from a copy, or delete the folder and extract again"
        raise StoreError(f"damaged ({type(error).__name__}: {error})", file=file, hint=hint) from error


def find_stores(root: Path, dataset: str | None = None) -> list[FeatureStore]:
    """All stores under the cache `root`, or those of one data set, sorted by data set, stream and digest."""
    pattern = f"{'*' if dataset is None else quote_id(dataset)}/*/*/store.json"
    return [open_store(file.parent) for file in sorted(root.glob(pattern))]


def select_store(root: Path, dataset: str, features: str) -> FeatureStore:
    """The store of `dataset` that `features` names: a stream, or ``stream@digits`` with the first of its digest.

    Raises: StoreError if there is none, saying which command makes it; UsageError if there are several, listing in
    what they differ.
    """
    stream, _, digits = features.partition("@")
    stores = find_stores(root, dataset)
    found = [store for store in stores if store.stream == stream and store.digest.startswith(digits)]
    if not found:
        names = ", ".join(store.name for store in stores)
        hint = (
            f"{f'there are {names}; ' if names else ''}`aqa extract {dataset} --backbone {stream}` makes it if that is "
            f"a backbone, `aqa cache import {dataset} PATH --as {stream}` takes it from files"
        )
        raise StoreError(f"no features '{features}' of {dataset}", file=root, field="features", hint=hint)
    if len(found) > 1:
        raise UsageError(
            f"{len(found)} stores of {dataset} are called '{features}'",
            field="features",
            hint=f"name one: {'; '.join(describe_differences(found))}",
        )
    return found[0]


def describe_differences(stores: Sequence[FeatureStore]) -> list[str]:
    """One line per store: its name and the fields of its fingerprint that are not the same in all of them."""
    prints = [store.fingerprint.to_json() for store in stores]
    fields = [name for name in prints[0] if any(plain[name] != prints[0][name] for plain in prints)]
    return [
        f"{store.name} ({', '.join(f'{name} {plain[name]}' for name in fields)})"
        for store, plain in zip(stores, prints, strict=True)
    ]
