"""Pooling of ragged streams against numpy on each sample."""

from __future__ import annotations

import numpy as np
import pytest

from aqa.errors import BadParameter
from aqa.heads.base import Ragged
from aqa.heads.pooling import parse_pool, pool, segment_means


def ragged(lengths: list[int], shape: tuple[int, ...] = (3,), dtype: str = "float32") -> Ragged:
    values = np.random.default_rng(0).normal(100, 1, (sum(lengths), *shape)).astype(dtype)
    return Ragged(values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_statistics_are_those_of_each_sample_in_float64(dtype: str) -> None:
    stream = ragged([5, 1, 300, 2], dtype=dtype)
    out = pool(stream, "stats")
    assert out.dtype == np.float64
    for i in range(4):
        x = stream[i].astype(np.float64)
        np.testing.assert_allclose(out[i], np.concatenate([x.mean(0), x.std(0), x.min(0), x.max(0)]), rtol=1e-12)
    np.testing.assert_array_equal(out[1, 3:6], 0)  # one clip deviates from nothing


def test_the_parts_come_in_the_order_of_the_recipe() -> None:
    stream = ragged([4, 2])
    np.testing.assert_array_equal(pool(stream, "max+mean"), np.hstack([pool(stream, "max"), pool(stream, "mean")]))
    assert pool(stream, "mean+segments:4").shape == (2, 3 + 12)
    np.testing.assert_array_equal(pool(stream, "stats"), pool(stream, "mean+std+min+max"))


def test_segments_are_equal_parts_where_they_can_be() -> None:
    clips = np.arange(8.0)[:, None]
    np.testing.assert_array_equal(segment_means(clips, 4)[:, 0], [0.5, 2.5, 4.5, 6.5])
    np.testing.assert_array_equal(segment_means(clips[:5], 2)[:, 0], [1.0, 3.0])  # 0 1 2 | 2 3 4
    np.testing.assert_array_equal(segment_means(clips[:3], 4)[:, 0], [0.0, 0.5, 1.5, 2.0])
    np.testing.assert_array_equal(segment_means(clips[:1], 4)[:, 0], [0, 0, 0, 0])
    np.testing.assert_array_equal(segment_means(clips, 1), clips.mean(0, keepdims=True))


@pytest.mark.parametrize("recipe", ["mean", "std", "segments:3", "stats"])
def test_a_sample_is_pooled_without_its_companions(recipe: str) -> None:
    stream = ragged([3, 7, 1, 4])
    whole = pool(stream, recipe)
    for i in range(4):
        np.testing.assert_array_equal(pool(stream.take(np.array([i])), recipe)[0], whole[i])


def test_joints_are_flattened() -> None:
    stream = ragged([2, 3], shape=(5, 2))
    np.testing.assert_allclose(pool(stream, "mean")[1], stream[1].astype(float).mean(0).ravel(), rtol=1e-12)


def test_no_samples_make_an_empty_table() -> None:
    assert pool(Ragged(np.zeros((0, 3), np.float32), np.zeros(1, np.int64)), "mean+std").shape == (0, 6)


def test_a_constant_far_from_zero_has_no_deviation() -> None:
    stream = Ragged(np.full((10, 2), 1e6, np.float32), np.array([0, 10]))
    np.testing.assert_array_equal(pool(stream, "std"), 0)


@pytest.mark.parametrize(
    "recipe", ["", "median", "mean+", "segments", "segments:0", "segments:-1", "mean+mean", "std:2"]
)
def test_what_is_no_recipe_is_refused(recipe: str) -> None:
    with pytest.raises(BadParameter) as error:
        parse_pool(recipe)
    assert error.value.field == "pool"
    assert "segments:K" in str(error.value.hint)
