"""Joints that were not seen: where they are taken to be, and that they stay marked."""

from __future__ import annotations

import numpy as np

from ..errors import BadParameter

LARGEST = 1e9  # pixels, parts of a picture, cm: what is beyond is no place


def filled(pose: np.ndarray) -> np.ndarray:
    """A pose [T, J, 3] of x, y, confidence with its gaps closed: finite float32; what was not seen keeps confidence 0.

    A joint is not seen where its confidence is 0 (or below) or any of its numbers is not finite (or beyond 1e9). Its
    place is interpolated linearly over time between the frames before and after, joint by joint; before the first and
    after the last it stays. A joint that is never seen lies at 0, 0. Filling twice changes nothing.

    Raises BadParameter for another shape.
    """
    seen = _seen(pose)
    out = np.empty(pose.shape, np.float32)
    out[..., :2] = interpolated(pose[..., :2], seen)
    out[..., 2] = np.where(seen, pose[..., 2], 0.0)
    return out


def interpolated(places: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Places [T, J, C] with those that are not `seen` [T, J] interpolated over T, as `filled` does; float32."""
    out = np.where(seen[..., None], places, 0.0).astype(np.float32)
    frames = np.arange(len(places))
    for joint in np.flatnonzero(seen.any(0) & ~seen.all(0)):
        there = np.flatnonzero(seen[:, joint])
        for axis in range(places.shape[-1]):
            out[:, joint, axis] = np.interp(frames, there, places[there, joint, axis])
    return out


def _seen(pose: np.ndarray) -> np.ndarray:
    if pose.ndim != 3 or pose.shape[-1] != 3 or len(pose) == 0:
        raise BadParameter(f"a pose is [T, joints, 3] with at least one frame, got {list(pose.shape)}")
    return usable(pose) & (pose[..., 2] > 0)


def usable(pose: np.ndarray) -> np.ndarray:
    """Which joints [..., J] have finite numbers, none beyond `LARGEST`."""
    return np.asarray((np.abs(pose) <= LARGEST).all(-1))  # false for NaN as well
