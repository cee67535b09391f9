"""Partial least squares against scikit-learn called directly, and the choice of the number of components."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.cross_decomposition import PLSRegression

from aqa.errors import BadParameter
from aqa.heads import FeatureSet, Ragged, make_head
from aqa.heads.folds import inner_folds
from aqa.heads.pls import Pls, dimensions


def of(x: np.ndarray, score: np.ndarray, **more: Any) -> FeatureSet:
    ids = tuple(f"s-{i:03d}" for i in range(len(x)))
    return FeatureSet(ids, {"x": Ragged(np.asarray(x), np.arange(len(x) + 1))}, score, (0.0, 100.0), **more)


def samples(count: int, seed: int, width: int = 40) -> FeatureSet:
    """Three hidden causes of the score, seen through `width` numbers of unlike magnitude."""
    draw = np.random.default_rng([seed, 8])
    causes = draw.normal(size=(count, 3))
    seen = causes @ np.random.default_rng(1).normal(size=(3, width)) + 0.5 * draw.normal(size=(count, width))
    score = 60 + causes @ np.array([6.0, 4.0, 2.0]) + 3 * draw.normal(size=count)
    return of(seen * np.logspace(-2, 2, width), score)


TRAIN, TEST = samples(50, 0), samples(80, 1)


def fitted(train: FeatureSet = TRAIN, **settings: str) -> Any:
    return make_head("pls", settings).fit(train, None, seeds=[0], device="cpu")[0]


@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("count", [1, 3, 12])
def test_it_is_the_regression_of_scikit_learn(count: int, scale: bool):
    theirs = PLSRegression(count, scale=scale).fit(TRAIN.streams["x"].values, TRAIN.score)
    ours = fitted(components=str(count), scale="standard" if scale else "none")
    np.testing.assert_allclose(ours.predict(TEST).score, theirs.predict(TEST.streams["x"].values).ravel(), rtol=1e-9)
    assert ours.info == {"selected_on": "none", "parameters": 41, "components": count}


@pytest.mark.parametrize("people", [False, True])
def test_the_number_of_components_is_that_of_the_least_error_in_folds_of_train(people: bool):
    train = replace(TRAIN, subject=tuple(f"subject {i % 9}" for i in range(50))) if people else TRAIN
    x, folds = train.streams["x"].values, inner_folds(train)
    assert not people or all(len({folds[i] for i in range(k, 50, 9)}) == 1 for k in range(9))
    errors = np.zeros(20)
    for fold in np.unique(folds):
        rest, held_out = folds != fold, folds == fold
        for count in range(1, 21):
            judged = PLSRegression(count).fit(x[rest], train.score[rest]).predict(x[held_out]).ravel()
            errors[count - 1] += ((judged - train.score[held_out]) ** 2).sum()
    np.testing.assert_allclose(Pls().errors(x, train.score, folds), errors, rtol=1e-8)
    assert fitted(train).info["components"] == 1 + int(np.argmin(errors)) < 8
    assert spearmanr(fitted(train).predict(TEST).score, TEST.score).statistic > 0.85


def test_there_are_no_more_components_than_dimensions():
    draw = np.random.default_rng(3)
    two = draw.normal(size=(30, 2))
    wide = np.concatenate([two, two @ draw.normal(size=(2, 10)), np.full((30, 3), 0.1)], axis=1)
    assert dimensions(wide) == 2
    assert dimensions(wide.T @ wide) == 3  # the constants are a direction there
    assert dimensions(np.full((5, 4), 0.1)) == 0
    assert dimensions(two[:1]) == 0
    flat = of(wide, 50 + two @ np.array([5.0, -3.0]))
    for settings in ({}, {"components": "9"}, {"scale": "none"}):
        model = fitted(flat, **settings)
        assert model.info["components"] <= 2
        np.testing.assert_allclose(model.predict(flat).score, flat.score, atol=1e-6)


def test_a_score_that_one_component_explains_leaves_nothing_for_the_next():
    square = of(np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]]), np.array([10.0, 20, 10, 20]))
    np.testing.assert_allclose(fitted(square, components="2").predict(square).score, square.score)
    np.testing.assert_allclose(fitted(square).predict(square).score, square.score)


def test_features_that_never_vary_give_the_mean():
    still = of(np.full((12, 4), 0.1), TRAIN.score[:12])
    for scale in ("standard", "none"):
        model = fitted(still, scale=scale)
        np.testing.assert_allclose(model.predict(still).score, still.score.mean())
        assert model.info == {"selected_on": "none", "parameters": 1}


def test_with_as_many_components_as_samples_allow_it_learns_train_by_heart():
    few = samples(8, 2)
    np.testing.assert_allclose(fitted(few, components="20").predict(few).score, few.score, atol=1e-6)


def test_the_order_of_train_changes_nothing():
    order = np.random.default_rng(2).permutation(50)
    shuffled = fitted(TRAIN.take(order))
    assert shuffled.info == fitted().info
    np.testing.assert_allclose(shuffled.predict(TEST).score, fitted().predict(TEST).score, rtol=1e-9)


@pytest.mark.parametrize("components", ["0", "-1", "best"])
def test_numbers_of_components_that_there_are_not(components: str):
    with pytest.raises(BadParameter):
        make_head("pls", {"components": components})
