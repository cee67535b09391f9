"""People of sticks with angles that are known, seen from their right side, and whole dives of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

TORSO = 50.0  # pixels


def away(degrees: float) -> np.ndarray:
    """A unit step; 0 degrees is up in the picture, 90 to the right."""
    return np.array([np.sin(np.radians(degrees)), -np.cos(np.radians(degrees))])


def figure(hip: float = 180, knee: float = 180, lean: float = 0, *, apart: float = 0, broad: float = 0) -> np.ndarray:
    """Joints [16, 2] around the pelvis. `lean`: of the trunk from upright, clockwise; `hip`, `knee`: 180 is stretched.
    `apart`: degrees between the legs; `broad`: of shoulders, in torso lengths, hips being half as broad."""
    trunk, across = away(lean), away(lean + 90)
    thorax = TORSO * trunk
    at = {6: 0 * trunk, 7: thorax, 8: thorax + 8 * trunk, 9: thorax + 30 * trunk}
    for side, (hip_at, knee_at, ankle_at), (shoulder, elbow, wrist) in (
        (-1, (2, 1, 0), (12, 11, 10)),
        (1, (3, 4, 5), (13, 14, 15)),
    ):
        thigh = lean + hip + side * apart / 2
        at[hip_at] = side * across * broad / 4 * TORSO
        at[knee_at] = at[hip_at] + 43 * away(thigh)
        at[ankle_at] = at[knee_at] + 42 * away(thigh + knee - 180)
        at[shoulder] = thorax + side * across * broad / 2 * TORSO
        at[elbow] = at[shoulder] + 29 * trunk
        at[wrist] = at[elbow] + 26 * trunk
    return np.stack([at[joint] for joint in range(16)])


def pose_of(figures: Sequence[np.ndarray]) -> np.ndarray:
    """[T, 16, 3], all seen, in the middle of a picture of 400 pixels."""
    xy = np.stack(figures) + 200.0
    return np.concatenate([xy, np.ones_like(xy[..., :1])], axis=-1).astype(np.float32)


def inward_dive(
    hip: float = 40, knee: float = 40, tilt: float = 0, position: str = "tuck"
) -> tuple[np.ndarray, list[int]]:
    """A pose [45, 16, 3] and its labels: 5 frames of take-off, 30 in which the body turns by 540 degrees less `tilt`,
    20 of them with these angles and 5 stretched at either end, 10 of the entry."""
    angles = [(180.0, 180.0)] * 10 + [(hip, knee)] * 20 + [(180.0, 180.0)] * 15
    leans = [0.0] * 5 + np.linspace(0, 540 - tilt, 31).tolist() + [540.0 - tilt] * 9
    pose = pose_of([figure(h, k, lean) for (h, k), lean in zip(angles, leans, strict=True)])
    somersault = {"tuck": 25, "pike": 17, "straight": 8}[position]
    return pose, [4] * 5 + [somersault] * 30 + [36] * 10


def thrown(pose: np.ndarray, up: float, along: float, flight: slice, fps: float, metre: float) -> np.ndarray:
    """The pose with its centre of mass on the path of a body that is thrown with `up` and `along` m/s at the begin of
    `flight` and falls until its end, `metre` pixels long each; before and after it stays where it is."""
    from aqa.heads.joint_angles import centre_of_mass

    t = np.clip(np.arange(len(pose)) - flight.start, 0, flight.stop - flight.start) / fps
    path = np.stack([along * t, -(up * t - 9.81 * t * t / 2)], -1) * metre + 200
    out = pose.copy()
    out[..., :2] += (path - centre_of_mass(pose[..., :2].astype(np.float64)))[:, None]
    return out
