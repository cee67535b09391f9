from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from aqa.leaderboard import comparison as c
from aqa.leaderboard.bootstrap import bootstrap_spearman


def heads(n: int, noises: list[float], seed: int = 0) -> tuple[np.ndarray, list[list[np.ndarray]]]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=n)
    return truth, [[truth + rng.normal(size=n) * noise] for noise in noises]


def compared(truth: np.ndarray, scores: list[list[np.ndarray]], count: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    observed = np.array([stats.spearmanr(truth, one[0])[0] for one in scores])
    return observed, bootstrap_spearman([truth], scores, count=count)


def test_holm_agrees_with_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    rng = np.random.default_rng(0)
    for size in (1, 2, 7, 45):
        p = rng.random(size) ** 3
        assert c.holm(p) == pytest.approx(multitest.multipletests(p, method="holm")[1])


def test_holm_counts_only_what_is_defined():
    adjusted = c.holm(np.array([0.01, np.nan, 0.04]))
    assert adjusted[[0, 2]] == pytest.approx([0.02, 0.04])
    assert np.isnan(adjusted[1])
    assert len(c.holm(np.zeros(0))) == 0


def test_p_is_symmetric_and_tells_good_from_bad():
    observed, draws = compared(*heads(200, [0.2, 0.21, 2.0]))
    p = c.paired_p(observed, draws)
    assert p == pytest.approx(p.T)
    assert np.diag(p).tolist() == [1, 1, 1]
    assert p[0, 1] > 0.05
    assert p[0, 2] < 1e-6


def test_p_agrees_with_the_share_of_resamples_that_cross_zero():
    observed, draws = compared(*heads(150, [0.5, 0.65], seed=4), count=20_000)
    counted = 2 * np.mean(draws[0] <= draws[1])
    assert 0.01 < counted < 0.5
    assert c.paired_p(observed, draws)[0, 1] == pytest.approx(counted, abs=0.04)


def test_equal_predictions_do_not_differ_and_constant_ones_have_no_p():
    truth, scores = heads(50, [0.3])
    same = [scores[0], [scores[0][0] * 2 + 1], [np.ones(50)]]
    draws = bootstrap_spearman([truth], same, count=200)
    rho = stats.spearmanr(truth, scores[0][0])[0]
    p = c.paired_p(np.array([rho, rho, np.nan]), draws)
    assert p[0, 1] == 1
    assert np.isnan(p[0, 2])
    assert c.letters(c.holm_matrix(p)) == ["a", "a", ""]


def test_the_best_in_most_resamples():
    _, draws = compared(*heads(200, [0.2, 0.2, 2.0], seed=2))
    share = c.p_best(draws)
    assert share.sum() == pytest.approx(1)
    assert share[2] == 0
    assert share[0] > 0.05
    tied = c.p_best(np.array([[0.5, 0.6], [0.5, 0.2], [np.nan, np.nan]]))
    assert tied.tolist() == [0.75, 0.25, 0]


def symmetric(count: int, different: set[tuple[int, int]]) -> np.ndarray:
    p = np.full((count, count), 0.5)
    for i, j in different:
        p[i, j] = p[j, i] = 0.001
    return p


def test_letters_are_the_sets_of_heads_without_a_difference():
    assert c.letters(symmetric(3, set())) == ["a", "a", "a"]
    assert c.letters(symmetric(3, {(0, 2)})) == ["a", "ab", "b"]
    assert c.letters(symmetric(3, {(0, 1), (0, 2), (1, 2)})) == ["a", "b", "c"]
    # one noisy head in the middle differs from neither end, the others do
    assert c.letters(symmetric(4, {(0, 1), (0, 3), (1, 3)})) == ["a", "b", "abc", "c"]
    assert c.letters(np.ones((1, 1))) == ["a"]
    assert c.letters(np.zeros((0, 0))) == []


@pytest.mark.parametrize("seed", range(20))
def test_two_heads_share_a_letter_exactly_if_they_do_not_differ(seed: int):
    rng = np.random.default_rng(seed)
    p = np.triu(rng.random((8, 8)) ** 3, 1)
    p += p.T
    said = [set(text) for text in c.letters(p)]
    for i in range(8):
        for j in range(i):
            assert bool(said[i] & said[j]) == (p[i, j] >= 0.05)


def test_letters_go_on_behind_z():
    different = {(i, j) for i in range(30) for j in range(i)}
    found = c.letters(symmetric(30, different))
    assert found[:2] + found[25:28] == ["a", "b", "z", "a1", "b1"]


def test_borda_points_are_heads_beaten_and_half_for_ties():
    assert c.borda([[1, 2, 3], [1.5, 1.5, 3]]) == [2 + 1.5, 1 + 1.5, 0]


def test_wilcoxon_over_data_sets_is_scipys_with_holm():
    rng = np.random.default_rng(0)
    scores = rng.random((8, 3)) * 0.1 + [0.2, 0.1, 0.12]
    p = c.wilcoxon_p(scores)
    raw = [stats.wilcoxon(scores[:, i] - scores[:, j]).pvalue for i, j in ((0, 1), (0, 2), (1, 2))]
    assert [p[0, 1], p[0, 2], p[1, 2]] == pytest.approx(c.holm(np.array(raw)))
    assert c.wilcoxon_p(np.ones((6, 2)))[0, 1] == 1


@pytest.mark.slow
@pytest.mark.parametrize(("n", "rho"), [(70, 0.5), (70, 0.8), (353, 0.8), (353, 0.95)])
def test_the_paired_test_has_its_size_where_two_heads_are_equally_good(n: int, rho: float):
    """1000 pairs of heads with equal errors: about 5% are called different."""
    rng, rejected, noise = np.random.default_rng(n), 0, np.sqrt(1 / rho**2 - 1)
    for k in range(1000):
        truth = rng.normal(size=n)
        scores = [[truth + rng.normal(size=n) * noise] for _ in range(2)]
        observed = np.array([stats.spearmanr(truth, one[0])[0] for one in scores])
        draws = bootstrap_spearman([truth], scores, count=1000, seed=k)
        rejected += c.paired_p(observed, draws)[0, 1] < 0.05
    assert 0.03 <= rejected / 1000 <= 0.07
