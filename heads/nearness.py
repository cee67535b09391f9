"""How far a sample is from those that a head was trained on: the distance of its features to the nearest of theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from ..errors import StoreError
from .base import FeatureSet
from .pooling import pool
from .saving import whole_file

FILE = "nearness.safetensors"
MOST = 64  # directions in which features differ most; what is left is one number more


@dataclass(frozen=True)
class Nearness:
    """Of every stream the mean over a sample's clips, in units of the train samples' spread, along the directions in
    which these differ most (`axes` [k, D]), and the length of what is left. `train` [N, k + 1], `distances` [N] sorted:
    of every train sample to its nearest other one.
    """

    centre: Mapping[str, np.ndarray]  # float32 [D]
    unit: Mapping[str, np.ndarray]  # float32 []: root mean square distance from the centre
    axes: Mapping[str, np.ndarray]  # float32 [k, D]
    train: np.ndarray
    distances: np.ndarray

    @classmethod
    def of(cls, train: FeatureSet) -> Nearness | None:
        """None for fewer than three samples."""
        if len(train) < 3:
            return None
        centre, unit, axes = {}, {}, {}
        for name, stream in train.streams.items():
            x = pool(stream, "mean").reshape(len(train), -1).astype(np.float32)
            centre[name] = x.mean(axis=0)
            spread = float(np.sqrt(((x - centre[name]) ** 2).sum(axis=1).mean()))
            unit[name] = np.float32(spread if spread > 0 else 1.0)
            count = min(MOST, len(train) - 1, x.shape[1])
            axes[name] = np.linalg.svd((x - centre[name]) / unit[name], full_matrices=False)[2][:count]
        empty = cls(centre, unit, axes, np.zeros((0, 0), np.float32), np.zeros(0, np.float32))
        places = empty._places(train)
        gaps = _distances(places, places)
        np.fill_diagonal(gaps, np.inf)
        return cls(centre, unit, axes, places, np.sort(gaps.min(axis=1)).astype(np.float32))

    def percentiles(self, data: FeatureSet) -> np.ndarray:
        """float64 [N]: how many of 100 train samples are nearer to their nearest other one than a sample of `data` is
        to its nearest; 100 is farther than any."""
        nearest = _distances(self._places(data), self.train).min(axis=1)
        return 100 * np.searchsorted(self.distances, nearest, side="left") / len(self.distances)

    def _places(self, data: FeatureSet) -> np.ndarray:
        parts = []
        for name, axes in self.axes.items():
            x = pool(data.streams[name], "mean").reshape(len(data), -1).astype(np.float32)
            x = (x - self.centre[name]) / self.unit[name]
            along = x @ axes.T
            left = np.sqrt(np.maximum((x**2).sum(axis=1) - (along**2).sum(axis=1), 0))
            parts += [along, left[:, None]]
        return np.concatenate(parts, axis=1)

    def save(self, folder: Path) -> None:
        tensors = {"train": self.train, "distances": self.distances}
        for part in ("centre", "unit", "axes"):
            tensors |= {f"{part}.{name}": np.ascontiguousarray(v) for name, v in getattr(self, part).items()}
        with whole_file(folder / FILE) as path:
            path.write_bytes(save(tensors))


def load_nearness(folder: Path) -> Nearness | None:
    """What `Nearness.save` wrote; None where it did not. Raises StoreError for a damaged file."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        found = load_file(path)
        centre, unit, axes = (
            {name.removeprefix(f"{part}."): v for name, v in found.items() if name.startswith(f"{part}.")}
            for part in ("centre", "unit", "axes")
        )
        return Nearness(centre, unit, axes, found["train"], found["distances"])
    except (OSError, SafetensorError, KeyError) as error:
        raise StoreError(f"cannot read: {error}", file=path, hint="train again") from error


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """float64 [N, M]: Euclidean."""
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2.0 * one @ other.T
    return np.sqrt(np.maximum(squares, 0))
