"""Whose pose is kept: golden answers on boxes that were put where they are."""

from __future__ import annotations

import numpy as np
import pytest

from aqa.extract.backbones.base import Pixels
from aqa.extract.persons import COLUMNS, JOINTS, PATIENCE, PERSONS, finish, follow, overlaps

PIXELS = Pixels("fit", (100, 200), (0.0,) * 3, (1.0,) * 3)
SIZE = (100, 200)  # of the frames: as large as the network's input


def box(x: float, y: float = 50, size: float = 20) -> tuple[float, float, float, float]:
    """A square around (x, y)."""
    return (x - size / 2, y - size / 2, x + size / 2, y + size / 2)


def tables(frames: list[list[tuple]], scores: list[list[float]] | None = None) -> np.ndarray:
    """The network's tables of the boxes in each frame; all joints lie in the middle of their box."""
    found = np.zeros((len(frames), PERSONS, COLUMNS), np.float32)
    for t, boxes in enumerate(frames):
        for p, (x1, y1, x2, y2) in enumerate(boxes):
            found[t, p, :5] = x1, y1, x2, y2, 0.9 if scores is None else scores[t][p]
            found[t, p, 5:] = np.tile([(x1 + x2) / 2, (y1 + y2) / 2, 0.8], JOINTS)
    return found


def path(found: np.ndarray, how: str = "tracked") -> tuple[list[float], list[float], dict]:
    """x and confidence of the pose in each frame, and the notes."""
    pose, notes = finish(how, PIXELS)(found, np.tile(SIZE, (len(found), 1)))
    assert pose.shape == (len(found), JOINTS, 3)
    assert pose.dtype == np.float32
    assert (pose == pose[:, :1]).all()
    return pose[:, 0, 0].tolist(), pose[:, 0, 2].tolist(), dict(notes["pose"])


@pytest.mark.parametrize("swapped", [False, True])
def test_two_persons_who_cross_are_not_confused(swapped: bool) -> None:
    """One walks from 20 to 180, a larger one stands at first and walks back from 180 to 20; both stay in sight."""
    there = np.linspace(20, 180, 17)  # 10 pixels a frame; they meet between two frames
    frames = [[box(x, size=22), box(205 - x, size=20)] for x in there]
    if swapped:
        frames = [boxes[:: 1 if t % 2 else -1] for t, boxes in enumerate(frames)]
    x, confidence, notes = path(tables(frames))
    assert np.allclose(x, there)
    assert np.allclose(confidence, 0.8)
    assert notes == {"person": "tracked", "frames": 17, "without": 0, "persons": 2, "restarts": 0}


def test_who_is_hidden_for_four_frames_is_taken_up_again_and_interpolated() -> None:
    there = 20 + 5.0 * np.arange(20)
    frames = [[box(x)] if not 8 <= t < 12 else [] for t, x in enumerate(there)]
    frames = [[*boxes, box(190, 20, size=12)] for boxes in frames]  # a sure but smaller person who is always there
    x, confidence, notes = path(tables(frames))
    assert np.allclose(x, there, atol=1e-4), "at even speed the interpolation is right"
    assert [t for t, c in enumerate(confidence) if c == 0] == [8, 9, 10, 11]
    assert (notes["without"], notes["restarts"], notes["persons"]) == (4, 0, 2)


def test_who_leaves_is_given_up_after_a_while_and_another_is_taken() -> None:
    frames = [[box(180 + 6 * t), box(60, size=10)] if t < 4 else [box(60, size=10)] for t in range(20)]
    x, confidence, notes = path(tables(frames))
    gone = list(range(4, 4 + PATIENCE))
    assert [t for t, c in enumerate(confidence) if c == 0] == gone
    assert x[:4] == [180, 186, 192, 198]
    assert x[4 + PATIENCE :] == [60] * (16 - PATIENCE)
    assert (notes["without"], notes["restarts"]) == (PATIENCE, 1)


def test_who_leaves_an_empty_scene_is_repeated_without_confidence() -> None:
    x, confidence, notes = path(tables([[box(180)], [box(190)], *[[]] * 30]))
    assert x == [180.0] + [190.0] * 31
    assert confidence[:2] == pytest.approx([0.8, 0.8])
    assert not any(confidence[2:])
    assert (notes["without"], notes["restarts"]) == (30, 0)


@pytest.mark.parametrize("how", ["tracked", "largest", "central"])
@pytest.mark.parametrize("frames", [1, 12])
def test_nobody_at_all(how: str, frames: int) -> None:
    x, confidence, notes = path(tables([[]] * frames), how)
    assert not any(x + confidence)
    assert notes == {"person": how, "frames": frames, "without": frames, "persons": 0, "restarts": 0}


def test_one_frame() -> None:
    x, confidence, notes = path(tables([[box(30), box(90, size=30)]]))
    assert (x, notes["without"], notes["persons"]) == ([90.0], 0, 2)
    assert confidence == pytest.approx([0.8])


def test_each_frame_for_itself() -> None:
    frames = [[box(30, size=40), box(100)], [box(40, size=10), box(90)], [box(150, 80), box(180, 90, size=30)]]
    assert path(tables(frames), "largest")[0] == [30, 90, 180]
    assert path(tables(frames), "central")[0] == [100, 90, 150]


def test_who_is_not_sure_is_followed_but_not_taken() -> None:
    frames = [[box(20, size=40), box(100)], [box(20, size=40), box(104)], [box(20, size=40), box(108)]]
    unsure = [[0.4, 0.9], [0.4, 0.2], [0.4, 0.15]]
    x, _, notes = path(tables(frames, unsure))
    assert x == [100, 104, 108]
    assert notes["persons"] == 1
    assert path(tables(frames, unsure), "largest")[2]["without"] == 2


def test_a_bounce_does_not_shake_the_track_off() -> None:
    """A springboard: 12 pixels down a frame, then 12 up, boxes of 20."""
    there = [20 + 12 * min(t, 10 - t) for t in range(11)]
    frames = [[box(50, y), box(150, 20, size=24)] if t else [box(50, y)] for t, y in enumerate(there)]
    x, _, notes = path(tables(frames))
    assert set(x) == {50.0}
    assert notes["restarts"] == 0


def test_coordinates_are_those_of_each_frame_and_zeros_are_nobody() -> None:
    """The second frame is of another size, the third one of zeros (--short zero)."""
    found = tables([[box(50)], [box(50)], [box(50)]])
    sizes = np.array([[100, 200], [501, 333], [0, 0]])
    before = found.copy()
    pose, notes = finish("largest", PIXELS)(found, sizes)
    assert np.array_equal(found, before)
    height, width = 100, 66  # of 501 x 333 in 100 x 200
    assert pose[:, 0].tolist() == [
        pytest.approx([50, 50, 0.8]),
        pytest.approx([50 * 333 / width, 50 * 501 / height, 0.8]),
        pytest.approx([50 * 333 / width, 50 * 501 / height, 0]),
    ]
    assert notes["pose"]["without"] == 1


def test_who_leaves_the_frame_keeps_the_joints_that_are_in_it() -> None:
    """A narrower frame than the input: what is found in the rest of it is nobody, or a guess."""
    found = tables([[box(80)], [box(90)], [box(96)], [box(150)]])
    found[:3, 0, 5 + 3 * 9 : 5 + 3 * 10] = [[95, 50, 0.8], [101, 50, 0.8], [99, 50, 0.8]]  # one hand
    pose, notes = finish("tracked", PIXELS)(found, np.tile((100, 100), (4, 1)))
    hand, others = pose[:, 9], np.delete(pose, 9, axis=1)
    assert hand.tolist() == [pytest.approx(row) for row in ([95, 50, 0.8], [97, 50, 0], [99, 50, 0.8], [99, 50, 0])]
    assert (others[:, :, 0] == np.array([80, 90, 96, 96])[:, None]).all()
    assert (others[3, :, 2] == 0).all()
    assert (notes["pose"]["without"], notes["pose"]["persons"]) == (1, 1)


def test_overlaps() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 0, 30, 10], [0, 0, 0, 0], [0, 0, 10, 0]], float)
    assert overlaps(boxes[0], boxes) == pytest.approx([1, 1 / 3, 0, 0, 0])
    assert overlaps(boxes[3], boxes) == pytest.approx([0, 0, 0, 0, 0])


def test_follow_gives_rows_of_the_table() -> None:
    boxes = np.array([[box(10), box(50)], [box(52), box(12)], [box(0, size=0), box(0, size=0)]], float)
    chosen, restarts = follow(boxes, np.array([[0.6, 0.9], [0.6, 0.9], [0, 0]]))
    assert (chosen.tolist(), restarts) == ([0, 1, -1], 0)
