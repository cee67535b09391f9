"""Heads that take poses, on samples in which nobody is seen, of one frame, and with numbers that are none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aqa.heads import FeatureSet, Ragged, load_head
from aqa.heads.check_data import synthetic
from aqa.heads.gcn import Gcn
from aqa.heads.hpmcore import HpMcore

SMALL: dict[str, Any] = {"hidden": 8, "epochs": 2}
HEADS = {"gcn": Gcn(**SMALL, frames=6), "hpmcore": HpMcore(**SMALL, channels=8, gcn=4, votes=3)}


def nobody(pose: np.ndarray) -> np.ndarray:
    return np.zeros_like(pose)


def interpolated(pose: np.ndarray) -> np.ndarray:
    """Places without confidence, as where the person was lost."""
    pose[1:, :, 2] = 0
    return pose


def one_frame(pose: np.ndarray) -> np.ndarray:
    return pose[:1]


def none(pose: np.ndarray) -> np.ndarray:
    return np.full_like(pose, np.nan)


def some_none(pose: np.ndarray) -> np.ndarray:
    pose[0, 3], pose[-1, 5, 0] = np.nan, np.inf
    return pose


BAD = (nobody, interpolated, one_frame, none, some_none)


def spoiled(data: FeatureSet, changes: Sequence[Callable[[np.ndarray], np.ndarray]]) -> FeatureSet:
    """With the poses of the first samples changed, each by one of `changes`; all joints of the others are seen."""
    name = next(name for name, stream in data.streams.items() if len(stream.shape) == 2)
    stream = data.streams[name]
    poses = [stream.values[a:b].copy() for a, b in zip(stream.offsets[:-1], stream.offsets[1:], strict=True)]
    for pose in poses:
        pose[..., 2] = 0.9
    for k, change in enumerate(changes):
        poses[k] = change(poses[k])
    offsets = np.concatenate([[0], np.cumsum([len(pose) for pose in poses])])
    return replace(data, streams={**data.streams, name: Ragged(np.concatenate(poses), offsets)})


@pytest.mark.parametrize("name", HEADS)
def test_bad_poses_are_learned_from_and_judged(name: str, tmp_path: Path):
    head = HEADS[name]
    train = spoiled(synthetic(head.needs, 16, seed=0, prefix="train"), BAD)
    test = spoiled(synthetic(head.needs, 8, seed=1, prefix="test"), BAD)
    (fitted,) = head.fit(train, None, seeds=[0])
    said = fitted.predict(test).score
    assert np.isfinite(said).all()
    fitted.save(tmp_path)
    np.testing.assert_array_equal(load_head(tmp_path).predict(test).score, said)
    whole = fitted.predict(spoiled(test, ())).score
    np.testing.assert_allclose(said[len(BAD) :], whole[len(BAD) :], rtol=1e-5, err_msg="bad samples change the others")


@pytest.mark.parametrize("name", HEADS)
def test_nobody_in_any_sample(name: str):
    head = HEADS[name]
    data = synthetic(head.needs, 12, seed=0, prefix="none")
    (fitted,) = head.fit(spoiled(data, (nobody,) * 12), None, seeds=[0])
    assert np.isfinite(fitted.predict(spoiled(data, (nobody,) * 12)).score).all()
