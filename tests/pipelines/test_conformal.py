from __future__ import annotations

import numpy as np
import pytest

from aqa.pipelines.conformal import half_width


def test_it_is_the_order_statistic_of_the_residuals():
    truth = np.arange(19.0)
    score = truth + np.array([1, -1] * 9 + [7.0]) * np.arange(1, 20)
    residuals = sorted(abs(truth - score))
    assert half_width(truth, score) == residuals[17]  # ceil(20 * .9) = 18th


def test_too_few_held_out_samples_give_no_interval():
    assert half_width(np.zeros(8), np.ones(8)) is None  # 90% needs nine
    assert half_width(np.zeros(9), np.ones(9)) == 1.0
    assert half_width(np.zeros(0), np.zeros(0)) is None


def test_coverage_on_new_samples_of_the_same_kind():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(400):
        held, new = rng.normal(size=60), rng.normal(size=200)
        width = half_width(held, np.zeros(60))
        assert width is not None
        covered.append(np.mean(np.abs(new) <= width))
    assert np.mean(covered) == pytest.approx(0.90, abs=0.01)
