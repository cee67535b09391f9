"""The diver's motion: poses over time, free fall of the centre of mass, somersaults at constant angular momentum.

In the world x points away from the platform's edge, z up from the water, y to the left of who looks along x; in m.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import body
from .body import HANDS, HIP, POSE, TOES
from .programme import GRAVITY, PLATFORM, RATE, TWISTING, Dive


def _pose(**degrees: float) -> np.ndarray:
    return np.array([float(degrees.get(name, 0.0)) for name in POSE])


REACH = _pose(shoulder=178, spread=1, wing=2)
CROUCH = _pose(hip=62, knee=78, foot=130, shoulder=-25, elbow=10, nod=5, spread=2, wing=8)
TUCK = _pose(hip=132, knee=142, shoulder=52, elbow=45, nod=35, spread=5, wing=4)
PIKE = _pose(hip=140, shoulder=70, elbow=10, nod=28, spread=1, wing=3)
WRAPPED = _pose(hip=4, shoulder=60, elbow=125, nod=8, spread=1, wing=12)  # of the arms, while twisting

# What the worst of a fault adds to each pose, in degrees.
BENT = {
    "reach": _pose(hip=22, knee=55, foot=80),
    "wrapped": _pose(knee=60, foot=80),
    "tuck": _pose(foot=75, scissors=12),
    "pike": _pose(knee=62, foot=75),
}
APART = {
    "reach": _pose(spread=24, scissors=30),
    "wrapped": _pose(spread=24, scissors=30),
    "tuck": _pose(spread=36),
    "pike": _pose(spread=36, scissors=9),
}
LOOSE = {"tuck": _pose(hip=-60, knee=-72, shoulder=-22), "pike": _pose(hip=-80, shoulder=-25)}
WORST_ENTRY = np.radians(42.0)  # from the vertical
LATEST = 0.2  # of the flight

SHAPING, OPEN_AT, OPENING = 0.14, 0.64, 0.14  # fractions of the flight


@dataclass(frozen=True)
class Motion:
    """`points` [T, 20, 3] in the world. The hands meet the water at x = `contact`, the body leaning by `tilt` (rad):
    feet away from the platform is positive."""

    points: np.ndarray
    contact: float
    tilt: float


def motion(dive: Dive, size: float = 1.0) -> Motion:
    """The dive in three dimensions; `size`: the body's length over 1.75 m."""
    take_off, flight, entry = dive.frames
    t = (np.arange(take_off + flight + entry) - take_off) / RATE  # seconds after leaving the platform
    pose = poses(dive, t)
    twist = np.pi * dive.number.twists * _smooth(t / (TWISTING * flight / RATE))
    points = _turn(body.points(pose, size), twist, _somersault(dive, pose, t, size), dive.number.faces_water)
    points = points + _path(dive, points, t)[:, None]
    contact = points[take_off + flight, HANDS, 0].mean()
    return Motion(points, float(contact), _over_rotation(dive) * _away(dive))


def poses(dive: Dive, t: np.ndarray) -> np.ndarray:
    """Joint angles [T, 9], degrees, at times `t` in s after leaving the platform."""
    faults, shape = dive.faults, "tuck" if dive.number.position == "tuck" else "pike"
    reach = REACH + faults.knees * BENT["reach"] + faults.apart * APART["reach"]
    wrapped = WRAPPED + faults.knees * BENT["wrapped"] + faults.apart * APART["wrapped"]
    shaped = TUCK if shape == "tuck" else PIKE
    shaped = shaped + faults.knees * BENT[shape] + faults.apart * APART[shape] + faults.loose * LOOSE[shape]

    u = np.clip(t * RATE / dive.frames[1], 0.0, 1.0)[:, None]  # fraction of the flight
    pose = np.broadcast_to(reach, (len(t), len(reach)))
    begin = 0.0
    if dive.number.twists:
        begin = TWISTING
        pose = pose + _smooth(u / 0.1) * (1.0 - _smooth((u - begin + 0.06) / 0.08)) * (wrapped - reach)
    pose = pose + _smooth((u - begin) / SHAPING) * (shaped - pose)
    pose = pose + _smooth((u - OPEN_AT - LATEST * faults.late) / OPENING) * (reach - pose)
    if dive.number.armstand:
        return pose
    push = _smooth(1.0 + t * RATE / 7)[:, None]
    return np.where((t < 0)[:, None], CROUCH + push * (reach - CROUCH), pose)


def _forward(dive: Dive) -> float:
    """1 for somersaults to the diver's front, -1 for those to the back."""
    return 1.0 if dive.number.forward else -1.0


def _away(dive: Dive) -> float:
    """1 where the head moves away from the platform at the start of the somersault (forward, back), else -1."""
    return _forward(dive) * (1.0 if dive.number.faces_water else -1.0)


def _over_rotation(dive: Dive) -> float:
    return float(WORST_ENTRY * dive.faults.entry)


def _somersault(dive: Dive, pose: np.ndarray, t: np.ndarray, size: float) -> np.ndarray:
    """How far the trunk is turned to the front [T], rad: its speed is inverse to the moment of inertia."""
    flight = dive.frames[1]
    fine = np.linspace(0.0, flight / RATE, 12 * flight + 1)
    speed = 1.0 / body.moment_of_inertia(body.points(poses(dive, fine), size))
    turned = np.concatenate([[0.0], np.cumsum(speed[1:] + speed[:-1])])

    armstand, forward = dive.number.armstand, _forward(dive)
    start = np.pi if armstand else 0.0
    # The diver leaves the platform leaning over the water, whichever way they then turn.
    degrees = 9.0 if armstand else 12.0 if _away(dive) > 0 else 4.0
    lean = np.radians(degrees) * forward * _away(dive)
    end = forward * (np.pi * dive.number.somersaults + _over_rotation(dive))
    angle = start + lean + np.interp(t, fine, turned / turned[-1]) * (end - lean)
    before = t < 0
    angle[before] = start + lean * _smooth(1.0 + t[before] * RATE / 8)
    if not armstand:
        angle[before] += np.radians(0.42 * pose[before, HIP])  # over the feet while crouched
    under = np.maximum(t - fine[-1], 0.0)
    return angle + forward * _over_rotation(dive) * np.minimum(under / 0.2, 1.0)


def _path(dive: Dive, points: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Where the pelvis is [T, 3], of turned `points`: held on the platform, then falling, then sinking."""
    take_off, flight, _ = dive.frames
    airtime = flight / RATE
    held = points[:, HANDS if dive.number.armstand else TOES].mean(1)
    standing = np.stack([-0.06 - held[:, 0], 0.0 * t, PLATFORM + 0.02 - held[:, 2]], -1)
    centre = body.centre_of_mass(points)
    begin = centre[take_off] + standing[take_off]
    end = (centre[:, 2] - points[:, HANDS, 2].min(1))[take_off + flight]  # its height when the hands touch the water
    # The nominal jump speed, but for the rounding of the flight to whole frames.
    up = (end - begin[2]) / airtime + GRAVITY * airtime / 2
    far = dive.faults.distance
    out = 0.75 + 0.45 * far if dive.number.armstand else 1.05 + (1.0 if far > 0 else 0.62) * far

    fall = np.stack([begin[0] + out * t, begin[1] + 0.0 * t, begin[2] + up * t - GRAVITY * t * t / 2], -1)
    under = np.maximum(t - airtime, 0.0)
    wet = under > 0
    along = out - 2.0 * np.sin(_over_rotation(dive) * _away(dive))  # a leaning body slides along its axis
    fall[wet, 0] = begin[0] + out * airtime + 0.6 * along * under[wet]
    fall[wet, 2] = end + (up - GRAVITY * airtime) * (1.0 - np.exp(-1.6 * under[wet])) / 1.6
    return np.where((t < 0)[:, None], standing, fall - centre)


def _turn(at: np.ndarray, twist: np.ndarray, angle: np.ndarray, faces_water: bool) -> np.ndarray:
    """Body frame to world: turn about the long axis by `twist`, to the front by `angle`, then face the water or not."""
    x, y, z = np.moveaxis(at, -1, 0)
    c, s = np.cos(twist)[:, None], np.sin(twist)[:, None]
    x, y = x * c - y * s, x * s + y * c
    c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
    x, z = x * c + z * s, z * c - x * s
    return np.stack([x, y, z] if faces_water else [-x, -y, z], -1)


def _smooth(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, with a soft step between."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)
