"""`stack`: weights by an independent optimiser, parts and streams, what it says and keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from aqa.errors import BadParameter, StoreError, UnknownName, UnmetNeeds
from aqa.heads import FeatureSet, Ragged, load_head, make_head
from aqa.heads.folds import inner_folds, out_of_fold
from aqa.heads.stack import convex

Dives = Callable[..., FeatureSet]


@pytest.mark.parametrize("seed", range(5))
def test_weights_have_the_least_squared_error_of_all_convex_ones(seed: int):
    rng = np.random.default_rng(seed)
    truth = rng.normal(60, 15, 80)
    scores = truth + rng.normal(size=(4, 80)) * rng.uniform(2, 20, 4)[:, None] + 3 * rng.normal(size=80)
    weights = convex(scores, truth)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    found: Any = minimize(
        lambda w: np.mean((w @ scores - truth) ** 2),
        np.full(4, 0.25),
        bounds=[(0, 1)] * 4,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-12},
    )
    assert np.mean((weights @ scores - truth) ** 2) <= found.fun * (1 + 1e-6)


def test_a_perfect_head_has_all_the_weight_and_equal_ones_share_it():
    truth = np.arange(10.0)
    assert convex(np.stack([truth, truth[::-1]]), truth) == pytest.approx([1, 0], abs=1e-6)
    same = truth + np.sin(np.arange(10))
    assert convex(np.stack([same, same]), truth).sum() == pytest.approx(1)


def two_streams(data: FeatureSet) -> FeatureSet:
    """The stream x, and another one of other width that says nothing."""
    noise = np.random.default_rng(len(data)).normal(size=(len(data), 3)).astype(np.float32)
    return replace(data, streams={**data.streams, "noise": Ragged(noise, np.arange(len(data) + 1))})


def test_every_head_on_every_stream_and_the_weights_prefer_what_knows(dives: Dives):
    train, test = two_streams(dives(60)), two_streams(dives(20, 1))
    rows: list[Any] = []
    (one,) = make_head("stack", {"members": "ridge+knn"}).fit(train, seeds=[0], log=rows.append)
    weights = one.info["weights"]
    assert list(weights) == ["ridge (x)", "ridge (noise)", "knn (x)", "knn (noise)"]
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["ridge (x)"] + weights["knn (x)"] > 0.9
    assert {row["part"] for row in rows} == set(weights)
    assert {row["seed"] for row in rows} == {0}
    parts = {name: make_head(name.split()[0]) for name in weights}
    said = np.zeros(20)
    for name, head in parts.items():
        stream = name.split("(")[1][:-1]
        seen = [replace(data, streams={stream: data.streams[stream]}) for data in (train, test)]
        said += weights[name] * head.fit(seen[0], None, seeds=[0], device="cpu")[0].predict(seen[1]).score
    assert one.predict(test).score == pytest.approx(said)


def test_weights_come_from_out_of_fold_judgements(dives: Dives):
    train = dives(40)
    (one,) = make_head("stack", {"members": "ridge+knn", "folds": "4"}).fit(train, seeds=[0])
    folds = inner_folds(train, 4)
    said = [out_of_fold(make_head(name), train, folds=folds, seeds=[0])[0].score for name in ("ridge", "knn")]
    assert list(one.info["weights"].values()) == pytest.approx(convex(np.stack(said), train.score).tolist())


def test_equal_weights_learn_nothing(dives: Dives):
    rows: list[Any] = []
    (one,) = make_head("stack", {"members": "ridge+svr+knn", "weights": "equal"}).fit(
        dives(20), seeds=[0], log=rows.append
    )
    assert list(one.info["weights"].values()) == pytest.approx([1 / 3] * 3)
    assert "out_of_fold_mae" not in rows[0]


def test_seeds_have_parts_and_weights_of_their_own(dives: Dives):
    train, test = dives(30), dives(8, 1)
    heads = make_head("stack", {"members": "ridge+random-forest"}).fit(train, seeds=[0, 1])
    assert heads[0].info["weights"] != heads[1].info["weights"]
    again = make_head("stack", {"members": "ridge+random-forest"}).fit(train, seeds=[1])[0]
    assert np.array_equal(again.predict(test).score, heads[1].predict(test).score)


def test_what_is_saved_judges_alike_and_damage_is_said(dives: Dives, tmp_path: Path):
    train, test = two_streams(dives(20)), two_streams(dives(5, 1))
    (one,) = make_head("stack", {"members": "ridge+mean"}).fit(train, seeds=[0])
    one.save(tmp_path)
    back = load_head(tmp_path)
    assert np.array_equal(back.predict(test).score, one.predict(test).score)
    assert back.info == one.info
    (tmp_path / "part-1" / "head.json").unlink()
    with pytest.raises(StoreError, match="part-1"):
        load_head(tmp_path)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"members": "ridge+ridge"}, BadParameter),
        ({"members": "ridge+"}, BadParameter),
        ({"members": "ridge+stack"}, BadParameter),
        ({"folds": "1"}, BadParameter),
        ({"weights": "best"}, BadParameter),
    ],
)
def test_parameters_that_make_no_sense_are_refused(settings: dict[str, str], error: type[Exception]):
    with pytest.raises(error):
        make_head("stack", settings)


def test_heads_that_are_not_there_or_do_not_fit_are_named(dives: Dives):
    with pytest.raises(UnknownName, match="rigde"):
        make_head("stack", {"members": "rigde+svr"}).fit(dives(12), seeds=[0])
    without = replace(dives(12), difficulty=np.full(12, np.nan))
    with pytest.raises(UnmetNeeds, match="stack cannot use difficulty"):
        make_head("stack", {"members": "ridge+difficulty"}).fit(without, seeds=[0])
