from __future__ import annotations

import numpy as np
import pytest

from aqa.catalog.gaps import filled
from aqa.errors import BadParameter


def walk(frames: int = 9, joints: int = 2) -> np.ndarray:
    """Joint j at x = 10 t + j, y = 100 - t, confidence .5."""
    t = np.arange(frames, dtype=np.float32)[:, None] + np.zeros(joints, np.float32)
    return np.stack([10 * t + np.arange(joints), 100 - t, np.full_like(t, 0.5)], -1)


@pytest.mark.parametrize("how", ["nan", "confidence", "infinite", "beyond", "no confidence"])
def test_gaps_are_closed_joint_by_joint_and_marked(how: str):
    whole, pose = walk(), walk()
    gap = [(2, 0), (3, 0), (6, 1)]
    for frame, joint in gap:
        match how:
            case "nan":
                pose[frame, joint, 1] = np.nan
            case "confidence":
                pose[frame, joint] = (-1, -1, 0)
            case "infinite":
                pose[frame, joint, 0] = -np.inf
            case "beyond":
                pose[frame, joint, 0] = 1e30
            case _:
                pose[frame, joint, 2] = np.nan
    out = filled(pose)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out[..., :2], whole[..., :2], atol=1e-4)  # the walk is straight: nothing is shifted
    marked = np.argwhere(out[..., 2] == 0).tolist()
    assert marked == [list(place) for place in gap]
    assert (out[out[..., 2] > 0][:, 2] == 0.5).all()


def test_ends_stay_where_the_joint_was_seen_last():
    pose = walk()
    pose[:3, 0] = np.nan
    pose[7:, 0] = np.nan
    out = filled(pose)
    np.testing.assert_array_equal(out[:3, 0, :2], [[30, 97]] * 3)
    np.testing.assert_array_equal(out[7:, 0, :2], [[60, 94]] * 2)
    assert (out[:, 0, 2] > 0).tolist() == [False] * 3 + [True] * 4 + [False] * 2


def test_a_joint_never_seen_is_zero():
    pose = walk()
    pose[:, 1] = np.nan
    out = filled(pose)
    assert (out[:, 1] == 0).all()
    np.testing.assert_array_equal(out[:, 0], pose[:, 0])
    assert (filled(np.full((4, 3, 3), np.nan)) == 0).all()


def test_one_frame_and_twice():
    pose = walk(1)
    pose[0, 1, 2] = 0
    np.testing.assert_array_equal(filled(pose), [[[0, 100, 0.5], [0, 0, 0]]])
    pose = walk()
    pose[4, 0] = np.nan
    np.testing.assert_array_equal(filled(filled(pose)), filled(pose))


def test_what_is_given_is_not_changed():
    pose = walk()
    pose[4, 0, 2] = 0
    before = pose.copy()
    filled(pose)
    np.testing.assert_array_equal(pose, before)


@pytest.mark.parametrize("shape", [(4, 16, 2), (16, 3), (0, 16, 3)])
def test_other_shapes_are_refused(shape: tuple[int, ...]):
    with pytest.raises(BadParameter, match=r"\[T, joints, 3\]"):
        filled(np.zeros(shape))
