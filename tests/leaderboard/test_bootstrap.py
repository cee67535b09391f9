from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from aqa.leaderboard import bootstrap as b


def tied(n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 8, n).astype(float)
    return truth, np.round(truth + rng.normal(0, 2, n))


@pytest.mark.parametrize("large", [1, 2000])
def test_each_resample_has_scipys_spearman_with_ties(monkeypatch: pytest.MonkeyPatch, large: int):
    monkeypatch.setattr(b, "LARGE", large)  # both ways of ranking
    truth, score = tied(30)
    draws = b.bootstrap_spearman([truth], [[score]], count=50, seed=3)[0]
    counts = b.resamples(30, 50, np.random.default_rng((3, 0)))
    for row, value in zip(counts.astype(int), draws, strict=True):
        pick = np.repeat(np.arange(30), row)
        assert value == pytest.approx(stats.spearmanr(truth[pick], score[pick])[0], abs=1e-12)


@pytest.mark.parametrize("large", [1, 2000])
def test_ranks_within_a_resample_are_scipys(monkeypatch: pytest.MonkeyPatch, large: int):
    monkeypatch.setattr(b, "LARGE", large)
    _, score = tied(12)
    counts = b.resamples(12, 20, np.random.default_rng(0))
    for row, ranks in zip(counts.astype(int), b.Ranks(score).within(counts), strict=True):
        pick = np.repeat(np.arange(12), row)
        assert np.allclose(np.repeat(ranks, row), stats.rankdata(score[pick]) - 13 / 2)


def test_every_resample_has_n_samples():
    assert (b.resamples(7, 20, np.random.default_rng(0)).sum(axis=1) == 7).all()


def test_353_videos_at_rho_95_give_the_interval_of_the_design():
    rng = np.random.default_rng(3)
    truth = rng.normal(size=353)
    score = truth + rng.normal(size=353) * 0.29
    rho = stats.spearmanr(truth, score)[0]
    low, high = b.interval(b.bootstrap_spearman([truth], [[score]], count=2000)[0])
    assert low is not None
    assert high is not None
    assert low < rho < high
    assert 0.015 < high - low < 0.04


def test_folds_are_resampled_apart_and_averaged():
    rng = np.random.default_rng(4)
    truths = [rng.normal(size=20), rng.normal(size=15) + 100]
    scores = [t + rng.normal(size=len(t)) for t in truths]
    draws = b.bootstrap_spearman(truths, [scores], count=300)
    assert draws.shape == (1, 300)
    pooled = b.bootstrap_spearman([np.concatenate(truths)], [[np.concatenate(scores)]], count=300)
    assert np.nanmean(draws) < np.nanmean(pooled)  # pooling would reward telling the folds apart


def test_the_same_seed_gives_the_same_draws_and_heads_share_resamples():
    rng = np.random.default_rng(5)
    truth, score = rng.normal(size=(2, 40))
    one = b.bootstrap_spearman([truth], [[score]], count=100)
    two = b.bootstrap_spearman([truth], [[score + 0.0], [truth]], count=100)
    assert np.array_equal(one[0], two[0])
    assert np.allclose(two[1], 1.0)
    low, high = b.interval(two[1] - two[0])  # a paired difference: it excludes 0
    assert low is not None
    assert high is not None
    assert 0 < low < high


def test_constant_predictions_have_no_interval():
    truth = np.arange(10.0)
    assert b.interval(b.bootstrap_spearman([truth], [[np.ones(10)]], count=50)[0]) == (None, None)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "rho"), [(70, 0.5), (70, 0.8), (353, 0.8), (353, 0.95)])
def test_the_interval_covers_the_true_correlation(n: int, rho: float):
    """1000 samples of a bivariate normal distribution, whose Spearman correlation is known."""
    true = 6 / np.pi * np.arcsin(rho / 2)
    rng, inside = np.random.default_rng(n), 0
    for k in range(1000):
        truth = rng.normal(size=n)
        score = rho * truth + np.sqrt(1 - rho**2) * rng.normal(size=n)
        low, high = b.interval(b.bootstrap_spearman([truth], [[score]], count=1000, seed=k)[0])
        assert low is not None
        assert high is not None
        inside += low <= true <= high
    assert 0.93 <= inside / 1000 <= 0.97
