"""From ragged streams to padded tensors: what is padded, pooled and scaled, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.func import vmap

from aqa.errors import StoreError
from aqa.heads import FeatureSet, Ragged
from aqa.heads.batches import (
    Exemplars,
    Scaling,
    exemplars_of,
    fit_scaling,
    only,
    pooled,
    select,
    to_batch,
    with_exemplars,
)

NO_SCALING = Scaling({}, {})


def three(values: np.ndarray | None = None) -> FeatureSet:
    """Three samples of 2, 1 and 3 clips of two numbers."""
    values = np.arange(12, dtype=np.float32).reshape(6, 2) if values is None else values
    return FeatureSet(
        ids=("a", "b", "c"),
        streams={"x": Ragged(values, np.array([0, 2, 3, 6]))},
        score=np.array([1.0, np.nan, 3.0]),
        range=(0, 10),
        difficulty=np.array([2.0, 2.5, np.nan]),
    )


def test_clips_are_padded_with_zeros_and_the_mask_says_where():
    batch = to_batch(three(), NO_SCALING, "cpu", torch.float64)
    x, mask = only(batch)
    assert x.dtype == torch.float64
    assert mask.tolist() == [[True, True, False], [True, False, False], [True, True, True]]
    assert x[:, :, 0].tolist() == [[0, 2, 0], [4, 0, 0], [6, 8, 10]]
    assert batch.labelled.tolist() == [True, False, True]
    assert batch.difficulty[:2].tolist() == [2.0, 2.5]
    assert batch.judges.shape == (3, 0)


def test_pooling_is_the_mean_of_each_sample_as_one_clip():
    x, mask = only(to_batch(pooled(three()), NO_SCALING, "cpu", torch.float32))
    assert x.tolist() == [[[1.0, 2.0]], [[4.0, 5.0]], [[8.0, 9.0]]]
    assert mask.tolist() == [[True]] * 3


def test_scaling_is_of_train_and_keeps_constant_features_at_zero():
    values = np.array([[1, 5], [3, 5], [5, 5], [7, 5], [9, 5], [11, 5]], dtype=np.float32)
    scaling = fit_scaling(three(values))
    assert scaling.mean["x"].tolist() == [6, 5]
    assert scaling.sd["x"][0] == pytest.approx(values[:, 0].std())
    scaled = scaling.apply("x", values)
    assert scaled[:, 0].std() == pytest.approx(1)
    assert (scaled[:, 1] == 0).all()


def test_constant_features_that_round_are_no_noise_after_scaling():
    values = np.full((6, 2), 0.1, dtype=np.float64) + np.array([[0, 1e-17]])
    assert np.abs(fit_scaling(three(values)).apply("x", values)).max() < 1e-6


def test_selection_by_seed_fits_vmap_and_exemplars_go_with_it():
    batch = to_batch(three(), NO_SCALING, "cpu", torch.float32)
    rows = torch.tensor([[2, 0], [1, 1]])
    chosen = with_exemplars(select(batch, rows), Exemplars(*batch[:4]), rows.flip(1))
    assert chosen.score[0].tolist() == [3.0, 1.0]
    assert exemplars_of(chosen).streams["x"].shape == (2, 2, 3, 2)
    sums = vmap(lambda one: only(one)[0].sum() - exemplars_of(one).streams["x"].sum() + one.judges.sum())(chosen)
    assert sums.tolist() == [0.0, 0.0]
    with pytest.raises(TypeError, match="no exemplars"):
        exemplars_of(batch)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused_by_sample(bad: float):
    values = np.zeros((6, 2), dtype=np.float32)
    values[2, 1] = bad
    with pytest.raises(StoreError, match="not finite") as caught:
        to_batch(three(values), NO_SCALING, "cpu", torch.float32)
    assert caught.value.sample == "b"
    assert caught.value.field == "x"
    with pytest.raises(StoreError, match="not finite"):
        to_batch(pooled(three(values)), NO_SCALING, "cpu", torch.float32)


def test_half_precision_features_and_maps_are_taken():
    maps = np.arange(6 * 8, dtype=np.float16).reshape(6, 2, 2, 2)
    x, _ = only(
        to_batch(
            replace(three(), streams={"x": Ragged(maps, np.array([0, 2, 3, 6]))}), NO_SCALING, "cpu", torch.float32
        )
    )
    assert x.shape == (3, 3, 2, 2, 2)
    assert x[2, 2, 1, 1, 1] == 47
