"""LambdaRank against LightGBM called directly, the line to points, and that the line leaves the order alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from aqa.errors import UnmetNeeds
from aqa.heads import FeatureSet, Ragged, load_head, make_head, rank
from aqa.heads.folds import inner_folds, splits

QUICK = {"rounds": "30"}


def samples(count: int, seed: int) -> FeatureSet:
    """`count` samples of one clip of eight numbers, three of which make the score, to half points as judges give it."""
    draw = np.random.default_rng([seed, 6])
    x = draw.normal(size=(count, 8))
    score = np.round(2 * (60 + 8 * x[:, :3].sum(axis=1) + 3 * draw.normal(size=count))) / 2
    ids = tuple(f"{seed}-{i:03d}" for i in draw.permutation(count))
    return FeatureSet(ids, {"x": Ragged(x, np.arange(count + 1))}, score, (0.0, 120.0))


TRAIN, TEST = samples(80, 0), samples(200, 1)


def fitted(train: FeatureSet = TRAIN, seed: int = 0, **settings: str) -> Any:
    return make_head("rank", {**QUICK, **settings}).fit(train, None, seeds=[seed], device="cpu")[0]


def direct(train: FeatureSet, seed: int) -> lightgbm.Booster:
    """The ranking alone, by LightGBM; rows by id."""
    order = np.argsort(train.ids)
    relevance = (rankdata(train.score, method="dense") - 1).astype(int)[order]
    parameters = {
        "objective": "lambdarank",
        "label_gain": ",".join(str(level) for level in range(relevance.max() + 1)),
        "lambdarank_truncation_level": len(order),
        "learning_rate": 0.05,
        "num_leaves": 7,
        "min_data_in_leaf": 5,
        "feature_fraction": 0.3,
        "lambda_l2": 0.0,
        "seed": seed,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(train.streams["x"].values[order], relevance, group=[len(order)], params=parameters)
    return lightgbm.train(parameters, data, 30)


def test_it_is_lambdarank_and_a_line_through_out_of_fold_rankings():
    for seed in (0, 3):
        apart = np.zeros(80)
        for rest, held_out in splits(inner_folds(TRAIN)):
            apart[held_out] = direct(TRAIN.take(rest), seed).predict(TRAIN.streams["x"].values[held_out])
        slope, intercept = np.polyfit(apart, TRAIN.score, 1)
        ranking = np.asarray(direct(TRAIN, seed).predict(TEST.streams["x"].values))
        score = fitted(seed=seed).predict(TEST).score
        np.testing.assert_allclose(score, slope * ranking + intercept, rtol=1e-9)
        assert spearmanr(score, ranking).statistic == pytest.approx(1)


def test_it_ranks_the_whole_order_and_its_points_are_points():
    train = samples(300, 2)
    score = fitted(train, rounds="200", features="1").predict(TEST).score
    assert spearmanr(score, TEST.score).statistic > 0.9
    for half in (TEST.score < np.median(TEST.score), TEST.score >= np.median(TEST.score)):
        assert spearmanr(score[half], TEST.score[half]).statistic > 0.7
    assert np.abs(score - TEST.score).mean() < np.abs(train.score.mean() - TEST.score).mean() / 2


def test_scores_on_another_scale_are_ranked_alike():
    bent = replace(TRAIN, score=np.exp(TRAIN.score / 10))
    assert spearmanr(fitted(bent).predict(TEST).score, fitted().predict(TEST).score).statistic == pytest.approx(1)


def test_it_learns_the_order_of_train_by_heart():
    few = TRAIN.take(np.arange(32))
    judged = fitted(few, rounds="300", features="1", min_leaf="1").predict(few)
    assert spearmanr(judged.score, few.score).statistic > 0.999


def test_the_line_is_not_that_of_what_the_trees_know_by_heart():
    train = samples(60, 4)
    noise = FeatureSet(train.ids, train.streams, np.random.default_rng(0).permutation(train.score), train.range)
    judged = fitted(noise, rounds="200").predict(noise).score
    assert spearmanr(judged, noise.score).statistic > 0.9  # in train it finds an order where there is none,
    assert judged.std() < noise.score.std() / 2  # and does not trust it


def test_a_line_that_would_turn_the_order_round_hardly_rises():
    ranking, score = np.array([1.0, 2.0, 3.0, 4.0]), np.array([40.0, 30.0, 20.0, 10.0])
    slope, intercept = rank.line(ranking, score)
    points = slope * ranking + intercept
    assert (np.diff(points) > 0).all()
    np.testing.assert_allclose(points, 25.0, atol=0.05)
    assert rank.line(ranking, 3 * ranking + 2) == (pytest.approx(3), pytest.approx(2))


def test_the_order_of_train_changes_no_bit_and_the_seed_does():
    order = np.random.default_rng(2).permutation(80)
    plain = fitted().predict(TEST).score
    np.testing.assert_array_equal(fitted(TRAIN.take(order)).predict(TEST).score, plain)
    assert not np.array_equal(fitted(seed=1).predict(TEST).score, plain)


def test_points_come_back_from_disk(tmp_path: Path):
    model = fitted()
    model.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"head.json", "head.txt"}
    np.testing.assert_array_equal(load_head(tmp_path).predict(TEST).score, model.predict(TEST).score)


def test_too_few_for_a_tree_gives_the_mean_and_too_many_are_refused(monkeypatch: pytest.MonkeyPatch):
    few = TRAIN.take(np.arange(7))
    model = fitted(few)
    np.testing.assert_allclose(model.predict(TEST).score, few.score.mean())
    assert model.info == {"selected_on": "none", "parameters": 1}
    monkeypatch.setattr(rank.Rank, "needs", replace(rank.Rank.needs, most_samples=79))
    with pytest.raises(UnmetNeeds, match="at most 79 samples to train on, and there are 80"):
        fitted()
