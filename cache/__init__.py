"""Features on disk, in HDF5: written one small file per sample, packed into one flat file, read as one.

>>> from aqa.cache import select_store
>>> store = select_store(Path("aqa-cache"), "mtl-aqa", "c3d")
>>> values, offsets = store.read(store.ids())

`import_features` and `export_features`, modules of this package, exchange feature folders with other programs. The
layout on disk and its guarantees are in docs/cache.md.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .fingerprint import Fingerprint
    from .source import media_source
    from .store import FeatureStore
    from .stores import create_store, find_stores, open_store, select_store

__all__ = [
    "FeatureStore",
    "Fingerprint",
    "create_store",
    "find_stores",
    "media_source",
    "open_store",
    "select_store",
]

_MODULES = {"FeatureStore": "store", "Fingerprint": "fingerprint", "media_source": "source"}


def __getattr__(name: str) -> Any:  # lazily: the command line must start without h5py
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_MODULES.get(name, 'stores')}", __name__), name)
