from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from aqa.leaderboard import metrics as m


def test_score_metrics_agree_with_scipy_and_the_formulas():
    rng = np.random.default_rng(0)
    truth = rng.normal(60, 15, 50)
    score = truth + rng.normal(0, 8, 50)
    got = m.score_metrics(truth, score, (0.0, 104.5))
    assert got["spearman"] == pytest.approx(stats.spearmanr(truth, score)[0])
    assert got["kendall"] == pytest.approx(stats.kendalltau(truth, score)[0])
    assert got["pearson"] == pytest.approx(np.corrcoef(truth, score)[0, 1])
    assert got["mae"] == pytest.approx(np.abs(truth - score).mean())
    assert got["n"] == 50
    # dae-usdl-core 5.7: on MTL-AQA, R-l2 x100 = MSE / 109.2025
    assert got["r_l2"] == pytest.approx(np.mean((truth - score) ** 2) / 109.2025)


def test_spread_metrics_agree_with_scipy_and_count():
    truth, score = np.array([60.0, 70.0, 80.0, 90.0]), np.array([61.0, 66.0, 80.0, 75.0])
    spread = np.array([1.0, 2.0, 0.5, 9.2])
    got = m.metrics(truth, score, spread, kind="score", range_=(0, 100))
    assert got["coverage"] == 0.75  # 4 is more than 3.29, 15 less than 15.134
    assert got["nll"] == pytest.approx(-stats.norm.logpdf(truth, score, spread).mean())
    assert got["sharpness"] == pytest.approx(3.175)
    assert got["spearman"] == m.score_metrics(truth, score, (0, 100))["spearman"]
    rng = np.random.default_rng(0)
    noise = rng.normal(size=20_000)
    assert m.spread_metrics(noise, np.zeros(20_000), np.ones(20_000))["coverage"] == pytest.approx(0.9, abs=0.01)


def test_spread_metrics_are_none_where_they_are_not_defined():
    one = np.ones(3)
    for spread in (None, np.full(3, np.nan), np.array([1.0, 1.0, np.nan])):
        got = m.metrics(one, one, spread, kind="binary", range_=(0, 1))
        assert (got["coverage"], got["nll"], got["sharpness"]) == (None, None, None)
        assert got["accuracy"] == 1.0
    for error in (0.0, 1.0):
        certain = m.spread_metrics(one, one + error, np.zeros(3))
        assert certain == {"coverage": 1.0 - error, "nll": None, "sharpness": 0.0}
    assert m.spread_metrics(one, one + 1, np.full(3, 1e-200))["nll"] is None
    assert m.spread_metrics(np.zeros(0), np.zeros(0), np.zeros(0))["coverage"] is None


def test_undefined_numbers_are_none():
    constant = m.score_metrics(np.array([1.0, 2.0]), np.array([3.0, 3.0]), (0.0, 0.0))
    assert constant["spearman"] is None
    assert constant["kendall"] is None
    assert constant["r_l2"] is None
    assert constant["mae"] == 1.5
    assert m.score_metrics(np.array([1.0]), np.array([2.0]), (0, 1))["pearson"] is None
    assert m.binary_metrics(np.ones(3), np.array([0.1, 0.6, 0.7]))["auc"] is None


def test_auc_and_accuracy():
    truth = np.array([0, 0, 1, 1.0])
    got = m.binary_metrics(truth, np.array([0.1, 0.4, 0.35, 0.8]))
    assert got["auc"] == pytest.approx(0.75)
    assert got["accuracy"] == pytest.approx(0.75)
    assert m.binary_metrics(truth, np.full(4, 0.7))["auc"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("columns", "printed"),
    [
        ((0.8786, 0.8343, 0.6736, 0.7265, 0.9556, 0.9545), 0.8734),  # FSPN on AQA-7 (it prints .8724)
        ((0.8969, 0.8043, 0.7336, 0.6965, 0.9456, 0.9545), 0.8714),  # TPT
        ((0.8824, 0.7746, 0.7115, 0.6624, 0.9442, 0.9078), 0.8433),  # CoRe (it prints .8401)
        ((0.533, 0.552, 0.813), 0.655),  # S4AQA on JIGSAWS, which tells Fisher from plain (.633)
    ],
)
def test_fisher_averages_of_published_columns(columns, printed):
    assert m.average(columns, "fisher") == pytest.approx(printed, abs=6e-5 if len(columns) > 3 else 6e-4)


def test_averages():
    assert m.average((0.533, 0.552, 0.813), "arithmetic") == pytest.approx(0.6327, abs=1e-4)
    assert m.average((0.5, None), "fisher") is None
    assert m.average((), "fisher") is None
    assert m.average((1.0, 0.0), "fisher") < 1
    with pytest.raises(ValueError, match="fisher"):
        m.average((0.1, 0.2), "median")


def test_metrics_of_a_class_are_scikit_learns():
    from sklearn.metrics import accuracy_score, roc_auc_score

    rng = np.random.default_rng(5)
    truth = rng.integers(0, 2, 80).astype(float)
    probability = np.round(np.clip(truth * 0.3 + rng.random(80) * 0.7, 0, 1), 1)  # with ties
    got = m.binary_metrics(truth, probability)
    assert got["auc"] == pytest.approx(roc_auc_score(truth, probability))
    assert got["accuracy"] == pytest.approx(accuracy_score(truth, probability > 0.5))
