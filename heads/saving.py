"""What a fitted head leaves on disk: `head.json` (its name, its parameters, what it was fitted on) beside its weights.

`head.json` is written last, so a folder that has it is complete. Nothing is pickled: scikit-learn goes through skops,
whose files name every class in them, and any class that is not on the list here is refused before it is made.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import StoreError, UnsafePickle
from .base import Head
from .config import config_of
from .needs import FittedOn

HEAD_JSON = "head.json"

# Classes that skops does not trust by itself and that our estimators are made of.
OUR_CLASSES = frozenset(
    {
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.gaussian_process.kernels.ConstantKernel",
        "sklearn.gaussian_process.kernels.Matern",
        "sklearn.gaussian_process.kernels.Product",
        "sklearn.gaussian_process.kernels.RBF",
        "sklearn.gaussian_process.kernels.Sum",
        "sklearn.gaussian_process.kernels.WhiteKernel",
        "sklearn.tree._tree.Tree",
    }
)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path in the folder of `path` that takes its name when the block ends well, and goes otherwise.

    Raises:
        StoreError: the folder cannot be written or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        hint = "free some space, or choose a folder that you may write to"
        raise StoreError(f"cannot write: {error.strerror or error}", file=path, hint=hint) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_head(
    folder: Path, head: Head, fitted_on: FittedOn, info: Mapping[str, Any], state: Mapping[str, Any] | None = None
) -> None:
    """Write `head.json`. `state`: whatever else the head needs, as plain values; floats come back bit for bit."""
    plain = {
        "format": 1,
        "head": head.name,
        "config": config_of(head),
        "fitted_on": fitted_on.to_json(),
        "info": dict(info),
        "state": dict(state or {}),
    }
    with whole_file(folder / HEAD_JSON) as path:
        path.write_text(json.dumps(plain, indent=1, ensure_ascii=False), encoding="utf-8")


def read_head(folder: Path) -> dict[str, Any]:
    """The content of `head.json`. Raises StoreError for a folder without one, or for a damaged one."""
    path = Path(folder) / HEAD_JSON
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        hint = "give the folder of a finished run, one that has a head.json"
        raise StoreError("no fitted head here", file=path, hint=hint) from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise StoreError(f"cannot read: {error}", file=path, hint="fit the head again") from error
    if not isinstance(plain, dict) or plain.get("format") != 1 or "head" not in plain or "config" not in plain:
        hint = "fit the head again, or use the version of aqa that wrote it"
        raise StoreError("not a head.json that this version reads", file=path, hint=hint)
    return plain


def dump_estimator(path: Path, estimator: Any) -> None:
    """Write a scikit-learn estimator with skops."""
    import skops.io

    with whole_file(path) as temporary:
        skops.io.dump(estimator, temporary)


def load_estimator(path: Path) -> Any:
    """The estimator that `dump_estimator` wrote.

    Raises:
        UnsafePickle: the file asks for a class that is neither scikit-learn's nor on our list.
        StoreError: the file is missing or damaged.
    """
    import skops.io

    try:
        asked = skops.io.get_untrusted_types(file=path)
        foreign = sorted(set(asked) - OUR_CLASSES)
        if foreign:
            hint = "load only heads that you or people you trust have fitted"
            raise UnsafePickle(f"the file asks for {', '.join(foreign)}", file=path, hint=hint)
        return skops.io.load(path, trusted=asked)
    except UnsafePickle:
        raise
    except Exception as error:  # a damaged zip fails in as many ways as it has bytes
        raise StoreError(f"cannot read: {error}", file=path, hint="fit the head again") from error
