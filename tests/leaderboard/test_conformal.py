from __future__ import annotations

import numpy as np
import pytest

from aqa.leaderboard.conformal import bounds, factor


def test_it_is_the_order_statistic_of_the_residuals():
    truth = np.arange(19.0)
    score = truth + np.array([1, -1] * 9 + [7.0]) * np.arange(1, 20)
    residuals = sorted(abs(truth - score))
    assert factor(truth, score) == residuals[17]  # ceil(20 * .9) = 18th


def test_too_few_held_out_samples_give_no_interval():
    assert factor(np.zeros(8), np.ones(8)) is None  # 90% needs nine
    assert factor(np.zeros(9), np.ones(9)) == 1.0
    assert factor(np.zeros(0), np.zeros(0)) is None


def test_coverage_on_new_samples_of_the_same_kind():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(400):
        held, new = rng.normal(size=60), rng.normal(size=200)
        width = factor(held, np.zeros(60))
        assert width is not None
        covered.append(np.mean(np.abs(new) <= width))
    assert np.mean(covered) == pytest.approx(0.90, abs=0.01)


def test_weighted_by_the_spread_it_is_narrow_where_the_head_is_sure():
    truth, score = np.zeros(19), np.arange(1.0, 20.0)
    spread = np.where(np.arange(19) < 10, 1.0, 10.0)
    wide = factor(truth, score, spread)
    assert wide == sorted(score / spread)[17]
    low, high = bounds(np.array([50.0, 50.0]), np.array([1.0, 2.0]), 3.0)
    assert low.tolist() == [47.0, 44.0]
    assert high.tolist() == [53.0, 56.0]
    assert bounds(np.array([50.0]), None, 3.0)[0] == 47.0


def test_a_spread_that_is_zero_or_unknown_gives_no_weighted_interval():
    ones = np.ones(20)
    assert factor(ones, ones, np.array([0.0] + [1.0] * 19)) is None
    assert factor(ones, ones, np.array([np.nan] + [1.0] * 19)) is None


@pytest.mark.parametrize("count", [10, 37, 60, 353])
def test_it_is_mapies_split_conformal_interval(count: int):
    mapie = pytest.importorskip("mapie.regression")
    from sklearn.base import BaseEstimator, RegressorMixin

    class AsSaid(RegressorMixin, BaseEstimator):
        """Predicts what its only feature says."""

        fitted_ = True

        def fit(self, x: np.ndarray, y: np.ndarray) -> AsSaid:
            return self

        def predict(self, x: np.ndarray) -> np.ndarray:
            return x[:, 0]

    rng = np.random.default_rng(count)
    truth, new = rng.normal(60, 15, count), rng.normal(60, 15, 25)
    score = truth + rng.normal(0, 5, count)
    theirs = mapie.SplitConformalRegressor(AsSaid(), confidence_level=0.9, prefit=True)
    _, ends = theirs.conformalize(score[:, None], truth).predict_interval(new[:, None])
    wide = factor(truth, score)
    assert wide is not None
    low, high = bounds(new, None, wide)
    assert low == pytest.approx(ends[:, 0, 0])
    assert high == pytest.approx(ends[:, 1, 0])


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [False, True])
def test_nine_in_ten_new_samples_are_inside(weighted: bool):
    """2000 repetitions: 60 held-out samples, 70 new ones, errors of very unlike size that the spread half knows."""
    rng, covered = np.random.default_rng(1), []
    for _ in range(2000):
        spread = rng.uniform(1, 5, 130)
        error = rng.normal(size=130) * spread**1.5
        held, new = slice(0, 60), slice(60, None)
        wide = factor(error[held], np.zeros(60), spread[held] if weighted else None)
        assert wide is not None
        low, high = bounds(np.zeros(70), spread[new] if weighted else None, wide)
        covered.append(np.mean((error[new] >= low) & (error[new] <= high)))
    assert 0.87 <= np.mean(covered) <= 0.93
    assert np.mean(covered) == pytest.approx(55 / 61, abs=0.005)  # ceil(61 * .9) of 61
