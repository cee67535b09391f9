"""Heads of one stream on several: one fit per stream, the mean of what they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aqa import heads
from aqa.errors import StoreError, UnmetNeeds
from aqa.heads.base import FeatureSet, Ragged
from aqa.heads.fusion import FUSION_JSON, FusedHeads, only


@pytest.fixture
def data() -> FeatureSet:
    """40 samples: stream `a` tells one half of the score, stream `b` the other; clips differ in number and width."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 40))
    ids = tuple(f"s{i}" for i in range(40))

    def stream(values: np.ndarray, clips: int, width: int) -> Ragged:
        noise = 0.1 * rng.normal(size=(40 * clips, width))
        return Ragged((np.repeat(values, clips)[:, None] + noise).astype(np.float32), np.arange(41) * clips)

    return FeatureSet(ids, {"a": stream(x, 2, 6), "b": stream(y, 3, 4)}, 50 + 10 * (x + y), (0.0, 100.0))


@pytest.mark.parametrize("name", ["ridge", "lightgbm", "dae"])
def test_the_mean_of_a_head_per_stream(data: FeatureSet, name: str, tmp_path: Path):
    head = heads.make_head(name, {"epochs": "3"} if name == "dae" else {})
    history: list = []
    fused = heads.fit_head(head, data, None, seeds=[0, 1], log=history.append)
    assert heads.unmet(head, data) == []
    for k, seed in enumerate((0, 1)):
        parts = [head.fit(only(data, s), None, seeds=[seed], device="cpu")[0].predict(only(data, s)) for s in "ab"]
        said = fused[k].predict(data)
        np.testing.assert_allclose(said.score, np.mean([p.score for p in parts], axis=0), rtol=1e-5)
        if parts[0].spread is not None:
            scores, spreads = (np.stack([getattr(p, n) for p in parts]) for n in ("score", "spread"))
            wanted = np.sqrt((spreads**2).mean(axis=0) + ((scores - scores.mean(axis=0)) ** 2).mean(axis=0))
            np.testing.assert_allclose(said.spread, wanted, rtol=1e-4)
    assert {row["stream"] for row in history} == ({"a", "b"} if name == "dae" else set())
    fused[0].save(tmp_path)
    again = heads.load_head(tmp_path)
    assert isinstance(again, FusedHeads)
    np.testing.assert_array_equal(again.predict(data).score, fused[0].predict(data).score)


def test_two_streams_know_more_than_one(data: FeatureSet):
    head, rows = heads.make_head("ridge"), np.arange(40)
    train, test = data.take(rows[:28]), data.take(rows[28:])

    def rho(fitted, part) -> float:
        return float(np.corrcoef(fitted.predict(part).score, test.score)[0, 1])

    together = rho(heads.fit_head(head, train, None, seeds=[0])[0], test)
    alone = [rho(head.fit(only(train, s), None, seeds=[0], device="cpu")[0], test) for s in "ab"]
    assert together > max(alone) + 0.05


def test_points_of_stages_are_means_and_add_up(data: FeatureSet):
    known = replace(data, phases=((1,) * 20 + (2,) * 50 + (3,) * 26,) * 40)
    head = heads.make_head("mcore", {"hidden": "8", "epochs": "1", "votes": "3"})
    (fused,) = heads.fit_head(head, known, None, seeds=[0])
    said, score = fused.predict(known), dict(zip(known.ids, known.score, strict=True))
    assert list(said.parts) == ["takeoff", "flight", "entry"]
    compared = np.array([np.mean([score[name] for name in names]) for names in said.exemplars])
    np.testing.assert_allclose(sum(said.parts.values()), said.score - compared, atol=1e-3)


def test_info_adds_the_parameters_up(data: FeatureSet):
    head = heads.make_head("ridge")
    info = heads.fit_head(head, data, None, seeds=[0])[0].info
    assert info["parameters"] == (6 + 1) + (4 + 1)
    assert set(info["streams"]) == {"a", "b"}


def test_one_stream_is_not_fused(data: FeatureSet):
    (fitted,) = heads.fit_head(heads.make_head("ridge"), only(data, "a"), None, seeds=[0])
    assert not isinstance(fitted, FusedHeads)


def test_refusals(data: FeatureSet, tmp_path: Path):
    head = heads.make_head("ridge")
    with pytest.raises(UnmetNeeds, match="one stream at once"):
        head.fit(data, None, seeds=[0], device="cpu")  # by itself a head of one stream takes one
    maps = replace(data, streams={**data.streams, "m": Ragged(np.zeros((40, 2, 3), np.float32), np.arange(41))})
    assert heads.unmet(heads.make_head("dae"), maps) == ["it takes vectors per clip, and stream 'm' has [2, 3]"]
    (fitted,) = heads.fit_head(head, data, None, seeds=[0])
    with pytest.raises(UnmetNeeds, match="was fitted on 'b'"):
        fitted.predict(only(data, "a"))
    fitted.save(tmp_path)
    (tmp_path / FUSION_JSON).write_text("{")
    with pytest.raises(StoreError, match="cannot read"):
        heads.load_head(tmp_path)
