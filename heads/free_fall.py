"""Whether, and from when to when, a body falls freely in the picture: it does where the camera stands still."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GRAVITY = 9.81  # m / s^2
SHORTEST_TORSO, LONGEST_TORSO = 0.35, 0.75  # m, pelvis to thorax; adults have about 0.5
WINDOW = 0.36  # s over which the acceleration of a frame is taken
TOLERANCE = 0.05  # torso lengths by which the centre of mass may be off its path
SHORTEST = 0.6  # s: a low jump off a springboard of 1 m takes .9

MOVING = "the body does not fall freely in the picture: the camera moves, or the frame rate is another"


@dataclass(frozen=True, slots=True)
class Fall:
    """Frames from `start` to before `stop`. `torso`: how long the torso is in m if it is gravity that accelerates."""

    start: int
    stop: int
    torso: float


def falls(centre: np.ndarray, torso: float, fps: float | None, start: int, stop: int) -> Fall | str:
    """Whether the centre of mass [T, 2] (y down; NaN unseen) falls freely from `start` to before `stop`: down with the
    acceleration of gravity, sideways evenly, never more than `TOLERANCE` torso lengths (rms) off. Else why not."""
    if fps is None:
        return "how many frames there are in a second is not known"
    path = centre[start:stop] / torso
    seen = np.flatnonzero(np.isfinite(path).all(1))
    if len(seen) < SHORTEST * fps:
        return f"the whole body is seen in {len(seen)} frames of the flight, fewer than {SHORTEST} s"
    down, sideways = (np.polyfit(seen / fps, path[seen, axis], degree) for axis, degree in ((1, 2), (0, 1)))
    off = [np.polyval(fit, seen / fps) - path[seen, axis] for fit, axis in ((down, 1), (sideways, 0))]
    implied = _torso(float(down[0]))
    if not _plausible(implied) or max(float(np.sqrt(np.mean(one**2))) for one in off) > TOLERANCE:
        return MOVING
    return Fall(start, stop, implied)


def free_fall(centre: np.ndarray, torso: float, fps: float | None) -> Fall | str:
    """The longest free fall of the centre of mass [T, 2], or why none is found.

    The acceleration of a frame is that of a parabola over the `WINDOW` around it. The longest run of frames in which
    it is gravity's is one path, which goes on to either side as long as the centre of mass is on it.
    """
    if fps is None:
        return falls(centre, torso, fps, 0, len(centre))
    height = centre[:, 1] / torso
    half = max(2, round(WINDOW * fps / 2))
    gravity = [_is_gravity(height[max(0, t - half) : t + half + 1], fps, half) for t in range(len(height))]
    runs = np.flatnonzero(np.diff([False, *gravity, False])).reshape(-1, 2)
    if not len(runs):
        return MOVING
    start, stop = (int(edge) for edge in runs[(runs[:, 1] - runs[:, 0]).argmax()])
    inside = np.arange(start, stop)[np.isfinite(height[start:stop])]
    if len(inside) < 2 * half:
        return MOVING
    on = np.abs(np.polyval(np.polyfit(inside, height[inside], 2), np.arange(len(height))) - height) <= TOLERANCE
    while start > 0 and on[start - 1]:
        start -= 1
    while stop < len(height) and on[stop]:
        stop += 1
    return falls(centre, torso, fps, start, stop)


def _is_gravity(height: np.ndarray, fps: float, half: int) -> bool:
    seen = np.flatnonzero(np.isfinite(height))
    return len(seen) > half + 1 and _plausible(_torso(float(np.polyfit(seen / fps, height[seen], 2)[0])))


def _torso(quadratic: float) -> float:
    """Of a path q t^2 + ... in torso lengths and s: the torso's length in m that makes its acceleration gravity's."""
    return GRAVITY / (2 * quadratic) if quadratic > 0 else float("inf")


def _plausible(torso: float) -> bool:
    return SHORTEST_TORSO < torso < LONGEST_TORSO
