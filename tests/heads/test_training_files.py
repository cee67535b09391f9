"""Trained heads on disk and in use: saved, damaged, given other features, many samples."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aqa.errors import StoreError, UnmetNeeds
from aqa.heads import FeatureSet, load_head, make_head

Dives = Callable[..., FeatureSet]


def test_what_is_saved_judges_alike(name: str, settings: dict[str, str], dives: Dives, tmp_path: Path):
    train, test = dives(12), dives(7, 1)
    (fitted,) = make_head(name, {**settings, "epochs": "2"}).fit(train, test, seeds=[2], device="cpu")
    fitted.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["head.json", "head.safetensors"]
    loaded, wanted = load_head(tmp_path), fitted.predict(test)
    judged = loaded.predict(test)
    assert np.array_equal(judged.score, wanted.score)
    assert judged.exemplars == wanted.exemplars
    assert judged.captions == wanted.captions
    assert judged.attributes.keys() == wanted.attributes.keys()
    assert all(np.array_equal(table, wanted.attributes[n]) for n, table in judged.attributes.items())
    assert (judged.spread is None) == (wanted.spread is None)
    assert judged.spread is None or np.array_equal(judged.spread, np.asarray(wanted.spread))
    assert loaded.info == fitted.info
    assert loaded.predict(test.take([])).score.shape == (0,)


def test_damaged_files_are_named(dives: Dives, tmp_path: Path):
    (fitted,) = make_head("dae", {"epochs": "1"}).fit(dives(8), None, seeds=[0], device="cpu")
    fitted.save(tmp_path)
    weights, plain = tmp_path / "head.safetensors", tmp_path / "head.json"
    whole, text = weights.read_bytes(), plain.read_text()
    for damaged in (whole[: len(whole) // 2], b"", whole[:40]):
        weights.write_bytes(damaged)
        with pytest.raises(StoreError, match="cannot read") as caught:
            load_head(tmp_path)
        assert caught.value.file == str(weights)
    weights.write_bytes(whole)
    other = json.loads(text)
    other["state"]["spec"]["streams"]["x"] = [13]
    plain.write_text(json.dumps(other))
    with pytest.raises(StoreError, match="size mismatch"):
        load_head(tmp_path)
    plain.write_text(text)
    weights.unlink()
    with pytest.raises(StoreError, match=r"head\.safetensors"):
        load_head(tmp_path)


def test_other_features_are_refused_and_more_streams_ignored(dives: Dives):
    (fitted,) = make_head("dae", {"epochs": "1"}).fit(dives(8), None, seeds=[0], device="cpu")
    with pytest.raises(UnmetNeeds, match="13"):
        fitted.predict(dives(3, width=13))
    test = dives(3, 1)
    more = replace(test, streams={**test.streams, "y": dives(3, 2).streams["x"]})
    assert np.array_equal(fitted.predict(more).score, fitted.predict(test).score)


def test_judging_in_batches_is_judging_at_once(dives: Dives):
    many = dives(150, 1)
    (fitted,) = make_head("core", {"epochs": "1"}).fit(dives(30), None, seeds=[0], device="cpu")
    whole = fitted.predict(many)
    for part in (np.arange(70), np.arange(149, 60, -1), np.array([64])):
        some = fitted.predict(many.take(part))
        assert some.score == pytest.approx(whole.score[part], abs=1e-4)
        assert some.exemplars == tuple(whole.exemplars[i] for i in part)
