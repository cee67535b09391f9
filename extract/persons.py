"""Which of the persons in a sample's frames is the one to assess, and one pose per frame of it.

A pose network gives a table per frame of the persons that it is surest of; which of them is the athlete is a matter of
the whole sample and is decided here. Joints are those of COCO-17.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from ..catalog.gaps import filled
from .backbones.base import Finish, Pixels
from .pixels import resized

PERSONS = 5  # rows of a frame's table, the surest first
JOINTS = 17  # COCO: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles; left before right
COLUMNS = 5 + 3 * JOINTS  # box (x1, y1, x2, y2), score, then x, y, confidence of each joint; all 0: nobody

SURE = 0.5  # score from which a person is taken without having been seen before
OVERLAP = 0.2  # IoU from which a box is that of the person before
PATIENCE = 8  # frames in which a lost person may come back before another is taken
CHOICES = ("tracked", "largest", "central")  # layers of a pose backbone; the first is the default


def finish(how: str, pixels: Pixels) -> Finish:
    """From tables float32 [T, PERSONS, COLUMNS] in pixels of the network's input to poses float32 [T, JOINTS, 3].

    x and y are in pixels of the frames as a player shows them, the corner of the upper left pixel being (0, 0) and its
    middle (0.5, 0.5). Frames without the person are interpolated, with confidence 0; so are joints outside the frame,
    which nobody can have seen: networks guess them for who leaves it. `how`: one of `CHOICES`.

    - tracked: the largest sure person of the first frame that has one, followed by the overlap of boxes, where the box
      is expected to move on as it did. Who is lost for more than `PATIENCE` frames is given up, and the largest sure
      person then there is taken: a restart.
    - largest, central: in each frame for itself, the sure person with the largest box, or nearest to the middle.

    The notes under "pose": the choice, how many frames there are, in how many the person was not found ("without"),
    most persons in a frame (sure ones), and restarts.
    """
    return partial(_finish, how=how, pixels=pixels)


def _finish(found: np.ndarray, sizes: np.ndarray, *, how: str, pixels: Pixels) -> tuple[np.ndarray, Mapping[str, Any]]:
    scale, ends = _to_frames(sizes, pixels), sizes[:, ::-1]  # [T, 2]; ends: width and height
    boxes = np.clip(found[..., :4] * np.tile(scale, 2)[:, None], 0, np.tile(ends, 2)[:, None])
    score = found[..., 4] * (_areas(boxes) > 0)
    joints = found[..., 5:].reshape(*found.shape[:2], JOINTS, 3).copy()
    joints[..., :2] *= scale[:, None, None]
    inside = (joints[..., :2] >= 0) & (joints[..., :2] <= ends[:, None, None])
    joints[..., 2] *= inside.all(axis=-1)
    restarts = 0
    if how == "tracked":
        chosen, restarts = follow(boxes, score)
    else:
        rank = _areas(boxes) if how == "largest" else -_off_centre(boxes, sizes)
        chosen = np.where((score >= SURE).any(axis=1), np.where(score >= SURE, rank, -np.inf).argmax(axis=1), -1)
    pose = np.zeros((len(found), JOINTS, 3), np.float32)
    there = chosen >= 0
    pose[there] = joints[there, chosen[there]]
    notes = {
        "person": how,
        "frames": len(found),
        "without": int((~there).sum()),
        "persons": int((score >= SURE).sum(axis=1).max()),
        "restarts": restarts,
    }
    return filled(pose), {"pose": notes}


def follow(boxes: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, int]:
    """The person of each frame, int64 [T], -1 where it is not seen, and how often another one was taken.

    `boxes` [T, P, 4], `score` [T, P], 0 where there is nobody. See `finish`.
    """
    chosen = np.full(len(boxes), -1)
    last, speed = np.zeros(4), np.zeros(4)
    seen, starts = -1, 0  # the frame of `last`, and how often somebody was taken
    for t in range(len(boxes)):
        there = score[t] > 0
        if starts and t - seen <= PATIENCE + 1:
            ahead = overlaps(last + speed * (t - seen), boxes[t]) * there
            near = overlaps(last, boxes[t]) * there
            overlap = ahead if ahead.max() >= OVERLAP else near
            if overlap.max() >= OVERLAP:
                chosen[t] = overlap.argmax()
                moved = (boxes[t, chosen[t]] - last).reshape(2, 2).mean(axis=0) / (t - seen)  # of the middle
                speed = np.tile(moved, 2)
                last, seen = boxes[t, chosen[t]], t
            if t - seen <= PATIENCE:
                continue
        sure = score[t] >= SURE
        if sure.any():
            chosen[t] = np.where(sure, _areas(boxes[t]), -np.inf).argmax()
            last, speed, seen, starts = boxes[t, chosen[t]], np.zeros(4), t, starts + 1
    return chosen, max(starts - 1, 0)


def overlaps(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of one box [4] with each of `boxes` [P, 4]: [P]; 0 for boxes without area."""
    inside = np.clip(np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]), 0, None).prod(axis=1)
    union = _areas(box) + _areas(boxes) - inside
    return np.divide(inside, union, out=np.zeros(len(boxes)), where=union > 0)


def _to_frames(sizes: np.ndarray, pixels: Pixels) -> np.ndarray:
    """What x and y of the network's input are multiplied with, float64 [T, 2]; 1 for frames of zeros.

    The frame lies in the input's upper left (`Pixels.resize` "fit"), so there is nothing to add.
    """
    scales = {(0, 0): (1.0, 1.0)}
    for height, width in {(int(h), int(w)) for h, w in sizes} - {(0, 0)}:
        h, w = resized(pixels, height, width)
        scales[height, width] = (width / w, height / h)
    return np.array([scales[int(h), int(w)] for h, w in sizes])


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.clip(boxes[..., 2:] - boxes[..., :2], 0, None).prod(axis=-1)


def _off_centre(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Distance of the boxes' middles from the frame's, in halves of its width and height: [T, P]."""
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    half = np.maximum(sizes[:, None, ::-1], 1) / 2
    return np.linalg.norm(middle / half - 1, axis=-1)
