"""The Gaussian process against scikit-learn's own search, and how well its spread tells the errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Kernel, Matern, WhiteKernel

from aqa.errors import UnmetNeeds
from aqa.heads import FeatureSet, Judgement, Ragged, gp, load_head, make_head, out_of_fold
from aqa.heads.folds import inner_folds


def samples(count: int, seed: int, *, width: int = 6, noise: float = 4.0) -> FeatureSet:
    """`count` samples of one clip; the score bends with two of `width` numbers and has normal noise."""
    draw = np.random.default_rng([seed, 5])
    x = draw.normal(size=(count, width))
    score = 50 + 10 * np.sin(x[:, 0]) + 5 * x[:, 1] + noise * draw.normal(size=count)
    ids = tuple(f"{seed}-{i:03d}" for i in range(count))
    return FeatureSet(ids, {"x": Ragged(x, np.arange(count + 1))}, score, (0.0, 100.0))


TRAIN, TEST = samples(60, 0), samples(40, 1)


def fitted(train: FeatureSet = TRAIN, **settings: str) -> Any:
    return make_head("gp", settings).fit(train, None, seeds=[0], device="cpu")[0]


def spread(judged: Judgement) -> np.ndarray:
    assert judged.spread is not None
    return judged.spread


def shape(name: str, length: float) -> Kernel:
    return RBF(length, (1e-4, 1e4)) if name == "rbf" else Matern(length, (1e-4, 1e4), nu=2.5)


def standardised(data: FeatureSet) -> np.ndarray:
    x = TRAIN.streams["x"].values
    return (data.streams["x"].values - x.mean(axis=0)) / x.std(axis=0)


@pytest.mark.parametrize("name", ["rbf", "matern"])
@pytest.mark.parametrize("values", [(1.0, 2.0, 0.1), (30.0, 0.3, 1e-4), (0.02, 9.0, 2.0)], ids=str)
def test_the_likelihood_and_its_gradient_are_those_of_scikit_learn(name: Any, values: tuple[float, float, float]):
    x, y = standardised(TRAIN), (TRAIN.score - TRAIN.score.mean()) / TRAIN.score.std()
    amplitude, length, noise = values
    kernel = ConstantKernel(amplitude) * shape(name, length) + WhiteKernel(noise)
    theirs = GaussianProcessRegressor(kernel, optimizer=None, alpha=1e-14).fit(x, y)
    value, gradient = theirs.log_marginal_likelihood(np.log(values), eval_gradient=True)
    ours, by_theta = gp.minus_likelihood(np.log(values), squareform(pdist(x)), y, name)
    assert ours == pytest.approx(-value, rel=1e-8)
    np.testing.assert_allclose(by_theta, -gradient, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["rbf", "matern"])
def test_it_judges_as_scikit_learn_after_its_own_search(name: str):
    kernel = ConstantKernel() * shape(name, 3.0) + WhiteKernel(0.1)
    theirs = GaussianProcessRegressor(kernel, normalize_y=True, n_restarts_optimizer=3, random_state=1)
    score, deviation = theirs.fit(standardised(TRAIN), TRAIN.score).predict(standardised(TEST), return_std=True)
    ours = fitted(kernel=name, calibrate="no")
    np.testing.assert_allclose(ours.predict(TEST).score, score, rtol=1e-4)
    np.testing.assert_allclose(spread(ours.predict(TEST)), deviation, rtol=1e-3)
    assert ours.info["log_likelihood"] == pytest.approx(theirs.log_marginal_likelihood_value_, abs=1e-4)
    found = [ours.info[key] for key in ("amplitude", "length", "noise")]
    np.testing.assert_allclose(np.log(found), theirs.kernel_.theta, atol=0.02)


def test_its_90_percent_intervals_hold_90_percent_of_samples_like_those_of_train():
    held = []
    for draw in range(10):
        judged = fitted(samples(60, 10 + draw)).predict(test := samples(300, 100 + draw))
        held.append(np.mean(np.abs(test.score - judged.score) <= 1.645 * spread(judged)))
    assert np.mean(held) == pytest.approx(0.9, abs=0.025)
    assert min(held) > 0.8


def test_a_process_that_is_too_sure_is_put_right_and_its_scores_stay(monkeypatch: pytest.MonkeyPatch):
    right = fitted()
    search = gp.most_likely

    def sure(*args: Any) -> tuple[float, float, float]:
        amplitude, length, noise = search(*args)
        return amplitude / 25, length, noise / 25

    monkeypatch.setattr(gp, "most_likely", sure)
    repaired, raw = fitted(), fitted(calibrate="no")
    assert repaired.info["spread_scale"] == pytest.approx(5 * right.info["spread_scale"])
    np.testing.assert_allclose(spread(repaired.predict(TEST)), spread(right.predict(TEST)), rtol=1e-6)
    np.testing.assert_array_equal(repaired.predict(TEST).score, raw.predict(TEST).score)
    assert np.mean(np.abs(TEST.score - raw.predict(TEST).score) <= 1.645 * spread(raw.predict(TEST))) < 0.5


def test_the_factor_is_that_of_out_of_fold_judgements_which_no_subject_gives_away():
    people = replace(TRAIN, subject=tuple(f"subject {i // 6}" for i in range(60)))
    plain = make_head("gp", {"calibrate": "no"})
    for train in (TRAIN, people):
        folds = inner_folds(train)
        judged = out_of_fold(plain, train, folds=folds, seeds=[0])[0]
        wanted = np.sqrt(np.mean(((train.score - judged.score) / spread(judged)) ** 2))
        info = fitted(train).info
        assert info["spread_scale"] == pytest.approx(wanted)
        assert (info["spread_scaled_on"], info["spread_samples"]) == ("oof", 60)
    assert fitted(people).info["spread_scale"] != fitted().info["spread_scale"]
    bare = fitted(calibrate="no").info
    assert (bare["spread_scale"], bare["spread_scaled_on"], bare["spread_samples"]) == (1.0, "none", 0)


def test_far_from_train_it_says_the_mean_and_knows_that_it_does_not_know():
    far = replace(TEST, streams={"x": Ragged(TEST.streams["x"].values + 1e6, np.arange(41))})
    model = fitted()
    np.testing.assert_allclose(model.predict(far).score, TRAIN.score.mean())
    assert spread(model.predict(far)).min() > spread(model.predict(TRAIN)).max()


def test_without_noise_it_learns_train_by_heart():
    exact = samples(32, 3, width=2, noise=0.0)
    judged = fitted(exact).predict(exact)
    assert np.abs(judged.score - exact.score).max() < 0.2
    assert spread(judged).max() < 1


def test_the_order_of_train_and_the_seed_change_nothing():
    order = np.random.default_rng(2).permutation(60)
    shuffled, plain = fitted(TRAIN.take(order)).predict(TEST), fitted().predict(TEST)
    np.testing.assert_allclose(shuffled.score, plain.score, rtol=1e-5)
    np.testing.assert_allclose(spread(shuffled), spread(plain), rtol=1e-4)
    one, two = make_head("gp").fit(TRAIN, None, seeds=[0, 1], device="cpu")
    assert one is two


def test_saved_and_loaded_it_is_as_sure_as_before(tmp_path: Path):
    for kernel in ("rbf", "matern"):
        model = fitted(kernel=kernel)
        model.save(tmp_path / kernel)
        loaded = load_head(tmp_path / kernel)
        assert loaded.info == model.info
        np.testing.assert_array_equal(spread(loaded.predict(TEST)), spread(model.predict(TEST)))
        np.testing.assert_array_equal(loaded.predict(TEST).score, model.predict(TEST).score)


def test_too_many_samples_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gp.Gp, "needs", replace(gp.Gp.needs, most_samples=59))
    with pytest.raises(UnmetNeeds, match="at most 59 samples to train on, and there are 60"):
        fitted()


@pytest.mark.parametrize("rows", [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3]], ids=str)
def test_very_few_samples_have_a_spread(rows: list[int]):
    judged = fitted(TRAIN.take(rows)).predict(TEST)
    assert np.isfinite(judged.score).all()
    assert np.isfinite(spread(judged)).all()
    assert spread(fitted().predict(TEST.take([]))).shape == (0,)
