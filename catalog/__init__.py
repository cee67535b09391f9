"""Who performed what, and how it was judged: the data sets, each read by a module of its own.

>>> from aqa import catalog
>>> catalog.about("mtl-aqa").licence
>>> dataset = catalog.read("mtl-aqa", "/data/MTL-AQA")
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import AnnotationError, UnknownName
from .about import About
from .base import Dataset

__all__ = ["DATASETS", "About", "Dataset", "about", "read", "streams"]

Stream = Callable[[Path], dict[str, np.ndarray]]

# name -> module of this package, imported when asked for. A module has ABOUT, read(root, **options) and, where the
# set's own folder carries features, STREAMS: name -> function of the root that returns sample id -> [T, *shape].
DATASETS: dict[str, str] = {
    "demo": "demo",
    "mtl-aqa": "mtl_aqa",
    "aqa-7": "aqa7",
    "jigsaws": "jigsaws",
    "finediving": "finediving",
    "rhythmic-gymnastics": "rhythmic_gymnastics",
    "fis-v": "fis_v",
    "logo": "logo",
    "unlv-dive": "unlv_dive",
    "ui-prmd": "ui_prmd",
    "csv": "csv_set",
}
EMBEDDED = frozenset({"demo"})  # made on first use, so its folder need not exist


def about(name: str) -> About:
    """Title, licence, citation, layouts and options of a data set. Raises UnknownName with the nearest name."""
    return _module(name).ABOUT


def read(name: str, root: str | Path | None = None, **options: Any) -> Dataset:
    """Read the labels below `root` and where the media lie; no video is opened, and missing media are no error.

    `root`: the folder of the set, or the one above; the layouts that are taken stand in `about(name).layouts`.
    `options`: those of `about(name).options`.

    Raises:
        UnknownName: no such data set or option.
        AnnotationError: `root` is missing, or holds none of the known layouts (they are named).
        SplitError: a split whose test ids occur in train.
    """
    module = _module(name)
    known = dict(module.ABOUT.options)
    for option in options:
        if option not in known:
            raise UnknownName(f"option of {name}", option, known)
    if name in EMBEDDED:
        return module.read(None if root is None else Path(root), **options)
    return module.read(_existing(name, root), **options)


def streams(name: str) -> dict[str, Stream]:
    """Features that the folder of the set carries: stream name -> function of the root that returns id -> [T, *shape].

    The functions raise AnnotationError when the files are missing or do not fit the labels.
    """
    module = _module(name)
    found: dict[str, Stream] = getattr(module, "STREAMS", {})
    return dict(found)


def _module(name: str) -> ModuleType:
    if name not in DATASETS:
        raise UnknownName("data set", name, DATASETS)
    return importlib.import_module(f".{DATASETS[name]}", __name__)


def _existing(name: str, root: str | Path | None) -> Path:
    hint = f"give the folder of the set with --root, or as root under [dataset.{name}] in aqa.toml"
    if root is None:
        raise AnnotationError(f"{name} is read from a folder of yours, and none was given", hint=hint)
    path = Path(root).expanduser()
    if not path.exists():
        raise AnnotationError(f"there is no such folder to read {name} from", file=path, hint=hint)
    return path
