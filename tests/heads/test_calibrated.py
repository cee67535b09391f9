"""The spread is scaled on the held-out part, once, by what is recorded; without one it is as learned, and said so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aqa.heads import FeatureSet, Judgement, Ragged, load_head, make_head

Dives = Callable[..., FeatureSet]
HEADS = ["dae", "dae-mt", "dae-musdl", "dae-core", "usdl", "musdl", "hgcn"]


def spread(judged: Judgement) -> np.ndarray:
    assert judged.spread is not None
    return judged.spread


@pytest.mark.parametrize("name", HEADS)
def test_errors_of_the_held_out_part_are_as_large_as_the_spread(name: str, dives: Dives, tmp_path: Path):
    train, val, test = dives(24), dives(9, 1), dives(7, 2)
    settings = {"epochs": "3"}
    scaled = make_head(name, settings).fit(train, val, seeds=[0, 1], device="cpu")
    raw = make_head(name, {**settings, "calibrate": "no"}).fit(train, val, seeds=[0, 1], device="cpu")
    for one, plain in zip(scaled, raw, strict=True):
        judged, before = one.predict(val), plain.predict(val)
        assert np.array_equal(judged.score, before.score)
        assert np.mean(((val.score - judged.score) / spread(judged)) ** 2) == pytest.approx(1)
        wanted = np.sqrt(np.mean(((val.score - before.score) / spread(before)) ** 2))
        assert one.info["spread_scale"] == pytest.approx(wanted)
        assert (one.info["spread_scaled_on"], one.info["spread_samples"]) == ("val", 9)
        assert (plain.info["spread_scale"], plain.info["spread_scaled_on"]) == (1.0, "none")
        assert spread(one.predict(test)) == pytest.approx(wanted * spread(plain.predict(test)))
    assert scaled[0].info["spread_scale"] != scaled[1].info["spread_scale"]
    scaled[0].save(tmp_path)
    assert np.array_equal(spread(load_head(tmp_path).predict(test)), spread(scaled[0].predict(test)))


def test_the_last_epoch_is_scaled_too_and_without_a_held_out_part_nothing_is(dives: Dives):
    train, val = dives(24), dives(9, 1)
    head = make_head("dae", {"epochs": "2", "select": "last"})
    (last,) = head.fit(train, val, seeds=[0], device="cpu")
    assert (last.info["selected_on"], last.info["spread_scaled_on"]) == ("last", "val")
    for none in (None, val.take([])):
        (bare,) = head.fit(train, none, seeds=[0], device="cpu")
        assert (bare.info["spread_scaled_on"], bare.info["spread_samples"]) == ("none", 0)
        assert bare.info["spread_scale"] == 1.0
        assert spread(last.predict(val)) == pytest.approx(last.info["spread_scale"] * spread(bare.predict(val)))


def test_heads_without_a_spread_have_no_scale(dives: Dives):
    (fitted,) = make_head("gdlt", {"epochs": "1"}).fit(dives(12), dives(5, 1), seeds=[0], device="cpu")
    assert "spread_scale" not in fitted.info


def test_a_network_that_knows_train_by_heart_is_sure_of_itself_until_it_is_scaled():
    draw = np.random.default_rng(0)
    values = draw.normal(size=(400, 100)).astype(np.float32)  # 100 numbers and 100 samples to learn them by
    score = 50 + 3 * values[:, :5].sum(axis=1) + 4 * draw.normal(size=400)
    ids, stream = tuple(map(str, range(400))), Ragged(values, np.arange(401))
    data = FeatureSet(ids=ids, streams={"x": stream}, score=score, range=(0, 100))
    train, val, test = (data.take(range(*part)) for part in ((0, 100), (100, 200), (200, 400)))
    head = make_head("dae", {"lr": "1e-3", "epochs": "60", "select": "last"})
    scaled = head.fit(train, val, seeds=[0], device="cpu")[0].predict(test)
    raw = head.fit(train, None, seeds=[0], device="cpu")[0].predict(test)

    def coverage(judged: Judgement) -> float:
        return float(np.mean(np.abs(test.score - judged.score) <= 1.645 * spread(judged)))

    assert coverage(raw) < 0.5
    assert coverage(scaled) == pytest.approx(0.9, abs=0.06)
