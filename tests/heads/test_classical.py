"""Heads over scikit-learn and LightGBM: known answers on real features, and what they do at the edges."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn import linear_model
from sklearn.svm import SVR

from aqa.heads import FeatureSet, Ragged, load_head, make_head, out_of_fold
from aqa.heads.check_data import synthetic
from aqa.heads.linear import ALPHAS

BOTH = ("ridge", "svr", "knn", "random-forest", "lightgbm")  # scores and binary targets
NAMES = (*BOTH, "gp", "rank", "pls")
QUICK = {"random-forest": {"trees": "20"}, "lightgbm": {"rounds": "20"}, "rank": {"rounds": "20"}}
NEEDS = make_head("svr").needs
TRAIN = synthetic(NEEDS, 40, seed=0, prefix="train")
TEST = synthetic(NEEDS, 20, seed=1, prefix="test")
BINARY = synthetic(NEEDS, 40, seed=0, prefix="train", kind="binary")
BINARY_TEST = synthetic(NEEDS, 20, seed=1, prefix="test", kind="binary")
KINDS = [
    *(pytest.param(name, TRAIN, id=f"{name}-score") for name in NAMES),
    *(pytest.param(name, BINARY, id=f"{name}-binary") for name in BOTH),
]


def fitted(name: str, train: FeatureSet, **settings: str) -> Any:
    head = make_head(name, {**QUICK.get(name, {}), **settings})
    return head.fit(train, None, seeds=[0], device="cpu")[0]


@pytest.fixture(scope="module")
def unlv(shared_data: Path) -> tuple[FeatureSet, FeatureSet]:
    """UNLV-Dive: one clip of 2048 numbers a dive, the official split."""
    with np.load(shared_data / "unlv-dive" / "unlv_dive_p3d.npz") as file:
        x, score, difficulty, split = file["x"], file["score"], file["difficulty"], file["split"]
    whole = FeatureSet(
        ids=tuple(f"unlv-{i:03d}" for i in range(len(x))),
        streams={"p3d": Ragged(x, np.arange(len(x) + 1))},
        score=score,
        range=(0.0, 102.6),
        times_difficulty=True,
        difficulty=difficulty,
    )
    return whole.take(np.flatnonzero(split == 0)), whole.take(np.flatnonzero(split == 1))


@pytest.mark.parametrize(
    ("name", "settings", "rho"),
    [
        ("svr", {"C": "100", "epsilon": "9", "scale": "none"}, 0.856),
        ("svr", {"C": "100", "epsilon": "9"}, 0.831),
        ("svr", {"C": "221", "epsilon": ".01", "scale": "none"}, 0.803),
        ("svr", {"C": "221", "epsilon": ".01"}, 0.805),
        ("ridge", {}, 0.81),
        ("ridge", {"alpha": "1", "scale": "none"}, 0.81),
        ("gp", {}, 0.812),
        ("pls", {}, 0.818),
        ("difficulty", {}, 0.29),
    ],
)
def test_known_answers_on_unlv_dive(
    unlv: tuple[FeatureSet, FeatureSet], name: str, settings: dict[str, str], rho: float
) -> None:
    train, test = unlv
    assert (len(train), len(test)) == (300, 70)
    judged = make_head(name, settings).fit(train, None, seeds=[0], device="cpu")[0].predict(test)
    assert spearmanr(judged.score, test.score).statistic == pytest.approx(rho, abs=0.005)


@pytest.mark.slow
def test_ranking_dives_orders_unseen_ones(unlv: tuple[FeatureSet, FeatureSet]) -> None:
    train, test = unlv
    judged = make_head("rank").fit(train, None, seeds=[0], device="cpu")[0].predict(test)
    assert spearmanr(judged.score, test.score).statistic > 0.78
    assert np.abs(judged.score - test.score).mean() < 9  # the mean of train is off by 11


@pytest.fixture(scope="module")
def ui_prmd(shared_data: Path) -> dict[int, tuple[FeatureSet, np.ndarray]]:
    """UI-PRMD by movement: joint angles [T, 22, 3], done right or wrong, and the subject of each repetition."""
    with np.load(shared_data / "ui-prmd" / "uiprmd_kinect_m01_m02.npz") as file:
        arrays = dict(file)
    whole = FeatureSet(
        ids=tuple(f"{m}-{s}-{e}-{i}" for i, (m, s, e) in enumerate(zip(*_columns(arrays), strict=True))),
        streams={"angles": Ragged(arrays["angles"].reshape(-1, 22, 3), arrays["offsets"])},
        score=arrays["correct"].astype(np.float64),
        range=(0.0, 1.0),
        target_kind="binary",
    )
    rows = {m: np.flatnonzero(arrays["movement"] == m) for m in (1, 2)}
    return {m: (whole.take(index), arrays["subject"][index]) for m, index in rows.items()}


def _columns(arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [arrays[name] for name in ("movement", "subject", "episode")]


def accuracy(data: FeatureSet, folds: np.ndarray) -> float:
    judged = out_of_fold(make_head("random-forest", {"pool": "stats"}), data, folds=folds, seeds=[0])[0]
    return float(((judged.score > 0.5) == data.score).mean())


def test_the_forest_of_ui_prmd_on_subjects_it_has_not_seen(ui_prmd: dict) -> None:
    data, subject = ui_prmd[1]
    assert accuracy(data, subject) == pytest.approx(0.86, abs=0.02)


@pytest.mark.slow
def test_the_forest_of_ui_prmd_on_the_other_movement_and_on_random_splits(ui_prmd: dict) -> None:
    assert accuracy(*ui_prmd[2]) == pytest.approx(0.89, abs=0.02)
    rng = np.random.default_rng(0)
    random = [accuracy(data, rng.permutation(np.arange(len(data)) % 10)) for data, _ in ui_prmd.values()]
    assert np.mean(random) == pytest.approx(0.98, abs=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_they_rank_unseen_samples_and_tell_the_classes_apart(name: str) -> None:
    score = fitted(name, TRAIN).predict(TEST).score
    assert spearmanr(score, TEST.score).statistic > 0.75
    if name not in BOTH:
        return
    chance = fitted(name, BINARY).predict(BINARY_TEST).score
    assert ((chance >= 0) & (chance <= 1)).all()
    assert ((chance > 0.5) == BINARY_TEST.score).mean() > 0.85


@pytest.mark.parametrize("name", NAMES)
def test_constant_scores_and_constant_features(name: str) -> None:
    constant = replace(TRAIN, score=np.full(40, 62.5))
    np.testing.assert_allclose(fitted(name, constant).predict(TEST).score, 62.5)
    stream = TRAIN.streams["stream0"]
    still = replace(TRAIN, streams={"stream0": Ragged(np.ones_like(stream.values), stream.offsets)})
    assert np.isfinite(fitted(name, still).predict(still).score).all()


@pytest.mark.parametrize(("name", "train"), KINDS)
@pytest.mark.parametrize("rows", [[0], [0, 1], [0, 1, 2], [0, 1, 2, 4, 6, 8]], ids=str)
def test_very_few_samples(name: str, train: FeatureSet, rows: list[int]) -> None:
    # Of the binary ones the odd rows are 1: the last case has a class of a single sample.
    assert np.isfinite(fitted(name, train.take(rows)).predict(TEST).score).all()


@pytest.mark.parametrize("name", ["random-forest", "lightgbm", "rank"])
def test_seeds_in_threads_are_the_same_bits_as_alone(name: str) -> None:
    head = make_head(name, QUICK[name])
    together = head.fit(TRAIN, None, seeds=[0, 1, 2, 3, 4], device="cpu")
    scores = [one.predict(TEST).score for one in together]
    for seed in range(5):
        alone = head.fit(TRAIN, None, seeds=[seed], device="cpu")[0]
        np.testing.assert_array_equal(alone.predict(TEST).score, scores[seed])
    assert len({score.tobytes() for score in scores}) == 5


@pytest.mark.parametrize("name", ["ridge", "svr", "knn", "gp", "pls"])
def test_heads_without_a_seed_are_fitted_once(name: str) -> None:
    one, two, three = make_head(name).fit(TRAIN, None, seeds=[0, 1, 2], device="cpu")
    assert one is two is three


@pytest.mark.parametrize(("name", "train"), KINDS)
def test_saved_and_loaded_they_judge_with_the_same_bits(name: str, train: FeatureSet, tmp_path: Path) -> None:
    model = fitted(name, train, pool="mean+std")
    model.save(tmp_path)
    loaded = load_head(tmp_path)
    np.testing.assert_array_equal(loaded.predict(TEST).score, model.predict(TEST).score)
    assert loaded.info == model.info
    assert isinstance(model.info["parameters"], int)


def test_svr_takes_its_defaults_from_the_train_scores() -> None:
    model = fitted("svr", TRAIN)
    mean, deviation = TRAIN.score.mean(), TRAIN.score.std()
    assert model.info["C"] == pytest.approx(mean + 3 * deviation)
    assert model.info["epsilon"] == pytest.approx(deviation / 10)
    x = np.array([TRAIN.streams["stream0"][i].astype(float).mean(0) for i in range(40)])
    by_hand = SVR(C=mean + 3 * deviation, epsilon=deviation / 10).fit((x - x.mean(0)) / x.std(0), TRAIN.score)
    np.testing.assert_allclose(model.predict(TRAIN).score, by_hand.predict((x - x.mean(0)) / x.std(0)), atol=1e-6)


def test_ridge_chooses_its_penalty_inside_train_and_says_so() -> None:
    few = TRAIN.take(np.arange(8))
    x = np.array([few.streams["stream0"][i].astype(float).mean(0) for i in range(8)])
    x = (x - x.mean(0)) / x.std(0)
    error = [
        sum(
            (linear_model.Ridge(a).fit(x[rest], few.score[rest]).predict(x[[i]])[0] - few.score[i]) ** 2
            for i, rest in enumerate(np.flatnonzero(np.arange(8) != i) for i in range(8))
        )
        for a in ALPHAS
    ]
    info = fitted("ridge", few).info
    assert info == {"selected_on": "none", "parameters": 13, "alpha": ALPHAS[np.argmin(error)]}
    assert fitted("ridge", TRAIN, alpha="5").info == {"selected_on": "none", "parameters": 13, "alpha": 5.0}


def test_neighbours_say_whom_they_compared_with() -> None:
    judged = fitted("knn", TRAIN, k="3").predict(TEST)
    score = dict(zip(TRAIN.ids, TRAIN.score, strict=True))
    for value, names in zip(judged.score, judged.exemplars, strict=True):
        assert len(names) == 3
        assert value == pytest.approx(np.mean([score[name] for name in names]))


def test_a_train_sample_is_not_its_own_neighbour() -> None:
    model = fitted("knn", TRAIN, k="1", weights="distance")
    assert all(sample not in names for sample, names in zip(TRAIN.ids, model.predict(TRAIN).exemplars, strict=True))
    assert np.abs(model.predict(TRAIN).score - TRAIN.score).min() > 0


def test_neighbours_weigh_by_distance_where_asked() -> None:
    line = Ragged(np.array([[0.0], [1.0], [3.0], [10.0]]), np.arange(5))
    data = FeatureSet(("a", "b", "c", "d"), {"x": line}, np.array([0.0, 10.0, 20.0, 30.0]), (0, 30))
    near = FeatureSet(("q", "r"), {"x": Ragged(np.array([[2.0], [3.0]]), np.arange(3))}, np.zeros(2), (0, 30))
    settings = {"k": "3", "scale": "none", "weights": "distance"}
    expected = (10 / 1 + 20 / 1 + 0 / 2) / 2.5
    np.testing.assert_allclose(fitted("knn", data, **settings).predict(near).score, [expected, 20.0])
    settings["weights"] = "uniform"
    np.testing.assert_allclose(fitted("knn", data, **settings).predict(near).score, [10.0, 10.0])


def test_scaling_makes_the_unit_of_a_feature_irrelevant() -> None:
    stream = TRAIN.streams["stream0"]
    unit = np.where(np.arange(12) == 0, 1e4, 1.0)
    other = replace(TRAIN, streams={"stream0": Ragged(stream.values * unit, stream.offsets)})
    for name in ("ridge", "svr", "knn", "gp", "pls"):
        plain, scaled = fitted(name, TRAIN).predict(TRAIN).score, fitted(name, other).predict(other).score
        np.testing.assert_allclose(plain, scaled, atol=1e-3)
        assert not np.allclose(plain, fitted(name, other, scale="none").predict(other).score, atol=1e-3)


def test_nothing_to_judge_is_no_error() -> None:
    for name in NAMES:
        assert fitted(name, TRAIN).predict(TEST.take([])).score.shape == (0,)


def test_ranks_of_many_sizes_are_learned_side_by_side() -> None:
    """LightGBM keeps its table of gains in one place, which threads took from each other."""
    head: Any = make_head("rank", {"rounds": "5"})
    with ThreadPoolExecutor(4) as threads:
        fits = [threads.submit(head.ranker, np.arange(2.0 * n).reshape(n, 2), np.arange(n), 0) for n in range(20, 220)]
        assert all(one.result().num_trees() == 5 for one in fits)
