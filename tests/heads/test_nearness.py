"""How far a sample is from train."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aqa.errors import StoreError
from aqa.heads import FeatureSet, Ragged
from aqa.heads.nearness import Nearness, load_nearness


def samples(count: int, seed: int, width: int = 100, shift: float = 0.0) -> FeatureSet:
    """Ten directions in which samples differ, 100 numbers."""
    draw, mix = np.random.default_rng(seed), np.random.default_rng(9).normal(size=(10, width))
    values = (draw.normal(size=(2 * count, 10)) @ mix + 0.01 * draw.normal(size=(2 * count, width)) + shift).astype(
        "f4"
    )
    return FeatureSet(
        tuple(f"{seed}-{i}" for i in range(count)),
        {"x": Ragged(values, np.arange(count + 1) * 2)},
        np.zeros(count),
        (0, 1),
    )


def test_samples_like_train_are_near_and_others_far(tmp_path: Path):
    near = Nearness.of(samples(300, 0))
    assert near is not None
    like, unlike = near.percentiles(samples(300, 1)), near.percentiles(samples(20, 2, shift=30.0))
    assert 35 < np.median(like) < 65
    assert (like > 99).mean() < 0.05
    assert (unlike == 100).all()
    near.save(tmp_path)
    again = load_nearness(tmp_path)
    assert again is not None
    assert np.array_equal(again.percentiles(samples(300, 1)), like)
    assert load_nearness(tmp_path / "none") is None


def test_what_train_never_does_is_far_too():
    """A direction in which no train sample differs is not among the axes, and is seen all the same."""
    near, strange = Nearness.of(samples(300, 0)), samples(5, 3)
    mix = np.random.default_rng(9).normal(size=(10, 100))
    beyond = np.linalg.svd(mix)[2][50].astype("f4")  # at right angles to all ten
    stream = strange.streams["x"]
    moved = FeatureSet(strange.ids, {"x": Ragged(stream.values + 40 * beyond, stream.offsets)}, strange.score, (0, 1))
    assert near is not None
    assert (near.percentiles(moved) == 100).all()


def test_the_distances_of_train_are_those_without_itself():
    data = samples(50, 4)
    near = Nearness.of(data)
    assert near is not None
    x = data.streams["x"].values.reshape(50, 2, -1).mean(axis=1)
    unit = np.sqrt(((x - x.mean(axis=0)) ** 2).sum(axis=1).mean())
    gaps = np.linalg.norm(x[:, None] - x[None], axis=2) / unit
    np.fill_diagonal(gaps, np.inf)
    assert near.distances == pytest.approx(np.sort(gaps.min(axis=1)), abs=0.02)
    assert Nearness.of(data.take([0, 1])) is None


def test_a_damaged_file_is_an_error(tmp_path: Path):
    (tmp_path / "nearness.safetensors").write_bytes(b"nonsense")
    with pytest.raises(StoreError, match="cannot read"):
        load_nearness(tmp_path)
