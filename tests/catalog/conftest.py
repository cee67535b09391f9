"""Tiny trees of the data sets: empty files with the names that the layouts prescribe."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def dump() -> Callable[[Path, Any], Path]:
    """Write a pickle, making its folder."""

    def write(path: Path, value: Any) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(value, protocol=3))
        return path

    return write


@pytest.fixture
def touch() -> Callable[[Path, Sequence[str]], Path]:
    """Make a folder of empty files."""

    def make(folder: Path, names: Sequence[str]) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            (folder / name).touch()
        return folder

    return make
