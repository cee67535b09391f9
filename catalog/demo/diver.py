"""The diver's motion: joint angles over time, a body that falls freely and turns with constant angular momentum.

The body frame has its origin in the pelvis, x to the front, y to the left, z along the trunk to the head; lengths in
m. In the world x points away from the platform's edge, z up from the water.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .programme import GRAVITY, PLATFORM, RATE, Dive

# MPII's sixteen joints, then what is only drawn: toes and finger tips.
R_ANKLE, R_KNEE, R_HIP, L_HIP, L_KNEE, L_ANKLE, PELVIS, THORAX, NECK, HEAD = range(10)
R_WRIST, R_ELBOW, R_SHOULDER, L_SHOULDER, L_ELBOW, L_WRIST, R_TOE, L_TOE, R_HAND, L_HAND = range(10, 20)
POINTS = 20

# (from, to, share of the body's mass, position of its centre on the way)
SEGMENTS = (
    (PELVIS, THORAX, 0.50, 0.5), (NECK, HEAD, 0.08, 0.5),
    (R_HIP, R_KNEE, 0.10, 0.43), (L_HIP, L_KNEE, 0.10, 0.43), (R_KNEE, R_ANKLE, 0.046, 0.43),
    (L_KNEE, L_ANKLE, 0.046, 0.43), (R_ANKLE, R_TOE, 0.014, 0.5), (L_ANKLE, L_TOE, 0.014, 0.5),
    (R_SHOULDER, R_ELBOW, 0.027, 0.43), (L_SHOULDER, L_ELBOW, 0.027, 0.43), (R_ELBOW, R_HAND, 0.023, 0.5),
    (L_ELBOW, L_HAND, 0.023, 0.5),
)  # fmt: skip

# A pose: degrees of hip and knee flexion, foot (0 pointed, 90 flexed), shoulder flexion, elbow, neck, of each leg to
# the side, of each leg to the front and back (scissors), and of each arm to the side.
HIP, KNEE, FOOT, SHOULDER, ELBOW, NOD, SPREAD, SCISSORS, WING = range(9)
REACH = np.array([0, 0, 0, 178, 0, 0, 1, 0, 2.0])
CROUCH = np.array([62, 78, 130, -25, 10, 5, 2, 0, 8.0])
TUCK = np.array([132, 142, 0, 52, 45, 35, 5, 0, 4.0])
PIKE = np.array([140, 0, 0, 70, 10, 28, 1, 0, 3.0])
WRAPPED = np.array([4, 0, 0, 60, 125, 8, 1, 0, 12.0])

SHAPE_IN, TWIST_END, SHAPE_OUT, OPENING = 0.14, 0.45, 0.64, 0.14  # fractions of the flight


@dataclass(frozen=True)
class Motion:
    """`points` [T, 20, 3] in the world (m), `contact`: where the hands meet the water (x in m), `tilt` there (rad)."""

    points: np.ndarray
    contact: float
    tilt: float


def motion(dive: Dive, *, size: float = 1.0) -> Motion:
    """The dive in three dimensions. `size`: the body's length over 1.75 m."""
    take_off, flight, entry = dive.frames
    count = take_off + flight + entry
    t = (np.arange(count) - take_off) / RATE  # seconds after leaving the platform
    airtime = flight / RATE
    u = np.clip(t / airtime, 0.0, 1.0)
    late = np.maximum(t - airtime, 0.0)
    pose = _poses(dive, u, t)

    fine = np.linspace(0.0, 1.0, 12 * flight + 1)
    inertia = _inertia(_body(_poses(dive, fine, fine * airtime), size))
    turned = np.concatenate([[0.0], np.cumsum(1.0 / inertia[1:] + 1.0 / inertia[:-1])])
    forward = 1.0 if dive.number.forward else -1.0
    water = 1.0 if dive.number.faces_water else -1.0
    start = np.pi if dive.number.armstand else 0.0
    error = np.radians(42.0) * dive.faults.entry
    # The diver leaves the platform leaning over the water, whichever way they then turn.
    lean = water * np.radians(9.0 if dive.number.armstand else 12.0 if forward == water else 4.0)
    total = forward * (np.pi * dive.number.somersaults + error) - lean
    angle = start + lean + np.interp(u, fine, turned / turned[-1]) * total
    before, after = t < 0, t > airtime
    angle[before] = start + lean * _smooth(1.0 + t[before] * RATE / 8)
    if not dive.number.armstand:
        angle[before] += np.radians(0.42) * pose[before, HIP]  # over the feet while crouched
    angle[after] += forward * error * np.minimum(late[after] / 0.2, 1.0)

    twist = np.pi * dive.number.twists * _smooth(u / TWIST_END)
    points = _turn(_body(pose, size), twist, angle, dive.number.faces_water)
    centre = _centre(points)
    foot = [R_HAND, L_HAND] if dive.number.armstand else [R_TOE, L_TOE]
    grip = points[:, foot].mean(1)
    anchored = np.stack([-0.06 - grip[:, 0], -grip[:, 1], PLATFORM + 0.02 - grip[:, 2]], -1)
    anchored[:, 1] = 0.0

    leave, touch = take_off, take_off + flight
    begin = centre[leave] + anchored[leave]
    reach = centre[touch, 2] - points[touch, [R_HAND, L_HAND], 2].min()
    away = 1.05 + (1.0 if dive.faults.distance > 0 else 0.62) * dive.faults.distance
    if dive.number.armstand:
        away = 0.75 + 0.45 * dive.faults.distance
    # What the counted frames leave of the nominal jump speed, so that the hands touch the water on the right frame.
    up = (reach - begin[2]) / airtime + GRAVITY * airtime / 2
    fall = np.stack([begin[0] + away * t, np.full(count, begin[1]), begin[2] + up * t - GRAVITY * t * t / 2], -1)
    speed = up - GRAVITY * airtime
    sink = speed * (1.0 - np.exp(-1.6 * late)) / 1.6
    fall[after, 2] = reach + sink[after]
    fall[after, 0] = begin[0] + away * airtime + (away - 2.0 * np.sin(error) * forward * water) * 0.6 * late[after]
    offset = np.where(before[:, None], anchored, fall - centre)
    points = points + offset[:, None]
    tip = points[touch, [R_HAND, L_HAND]].mean(0)
    return Motion(points, float(tip[0]), float(error * forward * water))


def _poses(dive: Dive, u: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Joint angles [T, 9] at fractions `u` of the flight and times `t` in s."""
    f = dive.faults
    reach, shape, wrapped = REACH.copy(), (TUCK if dive.number.position == "tuck" else PIKE).copy(), WRAPPED.copy()
    reach[[HIP, KNEE, FOOT]] += f.knees * np.array([22.0, 55.0, 80.0])
    reach[[SPREAD, SCISSORS]] += f.apart * np.array([24.0, 30.0])
    wrapped[[KNEE, FOOT, SPREAD, SCISSORS]] += f.knees * np.array([60.0, 80.0, 0, 0]) + f.apart * np.array(
        [0, 0, 24.0, 30.0]
    )
    shape[SPREAD] += 36.0 * f.apart
    shape[FOOT] += 75.0 * f.knees
    if dive.number.position == "tuck":
        shape[[HIP, KNEE, SHOULDER]] -= f.loose * np.array([60.0, 72.0, 22.0])
        shape[SCISSORS] += 12.0 * f.knees
    else:
        shape[[HIP, SHOULDER]] -= f.loose * np.array([80.0, 25.0])
        shape[[KNEE, SCISSORS]] += np.array([62.0 * f.knees, 9.0 * f.apart])
    out = SHAPE_OUT + 0.2 * f.late
    into = TWIST_END if dive.number.twists else 0.0
    to_shape = _smooth((u - into) / SHAPE_IN)[:, None]
    to_reach = _smooth((u - out) / OPENING)[:, None]
    early = reach
    if dive.number.twists:
        wrap = (_smooth(u / 0.1) * (1.0 - _smooth((u - into + 0.06) / 0.08)))[:, None]
        early = reach + wrap * (wrapped - reach)
    pose = early + to_shape * (1.0 - to_reach) * (shape - early)
    pose = pose + to_reach * (reach - pose)
    if not dive.number.armstand:
        push = _smooth(1.0 + t * RATE / 7)[:, None]
        pose = np.where((t < 0)[:, None], CROUCH + push * (reach - CROUCH), pose)
    return pose


def _body(pose: np.ndarray, size: float) -> np.ndarray:
    """Points [T, 20, 3] in the body frame."""
    a = np.radians(pose)
    at = np.zeros((len(pose), POINTS, 3))

    def ray(angle: np.ndarray, side: np.ndarray, length: float) -> np.ndarray:
        """Straight down at angle 0, to the front at 90 degrees, `side` radians to the left."""
        c = np.cos(side)
        return length * np.stack([np.sin(angle) * c, np.sin(side), -np.cos(angle) * c], -1)

    at[:, THORAX], at[:, NECK] = (0, 0, 0.50), (0, 0, 0.57)
    at[:, HEAD] = at[:, NECK] + ray(np.pi - a[:, NOD], np.zeros(len(a)), 0.24)
    for sign, (hip, knee, ankle, toe), (shoulder, elbow, wrist, hand) in (
        (-1.0, (R_HIP, R_KNEE, R_ANKLE, R_TOE), (R_SHOULDER, R_ELBOW, R_WRIST, R_HAND)),
        (1.0, (L_HIP, L_KNEE, L_ANKLE, L_TOE), (L_SHOULDER, L_ELBOW, L_WRIST, L_HAND)),
    ):
        thigh = a[:, HIP] + sign * a[:, SCISSORS]
        shank, side = thigh - a[:, KNEE], sign * a[:, SPREAD]
        at[:, hip] = (0, 0.085 * sign, 0)
        at[:, knee] = at[:, hip] + ray(thigh, side, 0.43)
        at[:, ankle] = at[:, knee] + ray(shank, side, 0.42)
        at[:, toe] = at[:, ankle] + ray(shank + a[:, FOOT], side, 0.20)
        arm, wing = a[:, SHOULDER], sign * a[:, WING]
        at[:, shoulder] = (0, 0.17 * sign, 0.47)
        at[:, elbow] = at[:, shoulder] + ray(arm, wing, 0.29)
        at[:, wrist] = at[:, elbow] + ray(arm + a[:, ELBOW], wing - 0.32 * sign * (arm > 2.6), 0.26)
        at[:, hand] = at[:, wrist] + ray(arm + a[:, ELBOW], 0.0 * wing, 0.15)
    return at * size


def _turn(body: np.ndarray, twist: np.ndarray, angle: np.ndarray, faces_water: bool) -> np.ndarray:
    """Turn about the long axis by `twist`, then forward by `angle`, then towards or away from the platform."""
    x, y, z = np.moveaxis(body, -1, 0)
    c, s = np.cos(twist)[:, None], np.sin(twist)[:, None]
    x, y = x * c - y * s, x * s + y * c
    c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
    x, z = x * c + z * s, z * c - x * s
    return np.stack([x, y, z] if faces_water else [-x, -y, z], -1)


def _centre(points: np.ndarray) -> np.ndarray:
    """Centre of mass [T, 3]."""
    return sum(m * (points[:, i] * (1 - k) + points[:, j] * k) for i, j, m, k in SEGMENTS)  # type: ignore[return-value]


def _inertia(points: np.ndarray) -> np.ndarray:
    """Moment of inertia [T] about the somersault axis, per mass (m^2)."""
    away = points - _centre(points)[:, None]
    return sum(m * ((away[:, i] * (1 - k) + away[:, j] * k)[:, ::2] ** 2).sum(-1) for i, j, m, k in SEGMENTS)  # type: ignore[return-value]


def _smooth(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, with a soft step between."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * (3.0 - 2.0 * x)
