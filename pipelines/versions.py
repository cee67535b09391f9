"""Which versions and which machine a result is from."""

from __future__ import annotations

import os
import platform
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("torch", "torchvision", "av", "h5py", "numpy", "scipy", "pandas", "scikit-learn", "lightgbm", "safetensors")
OPTIONAL = ("rtmlib", "onnxruntime")  # named only where they are


@cache
def versions() -> dict[str, str | int | None]:
    """Versions of aqa, Python and the packages that make numbers; platform and number of cores."""
    from .. import __version__

    found: dict[str, str | int | None] = {"aqa": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    for name in OPTIONAL:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return {**found, "platform": sys.platform, "machine": platform.machine(), "cores": os.cpu_count()}
