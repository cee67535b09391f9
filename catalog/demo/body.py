"""The body: its joints, its proportions and masses, and where the points are for given joint angles.

The body frame has its origin in the pelvis, x to the front, y to the left, z along the trunk to the head; lengths in
m for a body of 1.75 m. Proportions and masses are rounded values of the usual anthropometric tables.
"""

from __future__ import annotations

import numpy as np

# MPII's sixteen joints in their order, then what is only drawn: toes and finger tips.
R_ANKLE, R_KNEE, R_HIP, L_HIP, L_KNEE, L_ANKLE, PELVIS, THORAX, NECK, HEAD = range(10)
R_WRIST, R_ELBOW, R_SHOULDER, L_SHOULDER, L_ELBOW, L_WRIST, R_TOE, L_TOE, R_HAND, L_HAND = range(10, 20)
JOINTS, POINTS = 16, 20
HANDS, TOES = [R_HAND, L_HAND], [R_TOE, L_TOE]

# from, to, share of the body's mass, where on the way its centre is
SEGMENTS = (
    (PELVIS, THORAX, 0.50, 0.5), (NECK, HEAD, 0.08, 0.5),
    (R_HIP, R_KNEE, 0.10, 0.43), (L_HIP, L_KNEE, 0.10, 0.43),
    (R_KNEE, R_ANKLE, 0.046, 0.43), (L_KNEE, L_ANKLE, 0.046, 0.43),
    (R_ANKLE, R_TOE, 0.014, 0.5), (L_ANKLE, L_TOE, 0.014, 0.5),
    (R_SHOULDER, R_ELBOW, 0.027, 0.43), (L_SHOULDER, L_ELBOW, 0.027, 0.43),
    (R_ELBOW, R_HAND, 0.023, 0.5), (L_ELBOW, L_HAND, 0.023, 0.5),
)  # fmt: skip

# A pose is nine angles in degrees: flexion of hips and knees, of the feet (0 pointed, 90 flexed), of shoulders, elbows
# and neck; each leg to its side, each leg to the front and back (scissors), each arm to its side.
POSE = ("hip", "knee", "foot", "shoulder", "elbow", "nod", "spread", "scissors", "wing")
HIP, KNEE, FOOT, SHOULDER, ELBOW, NOD, SPREAD, SCISSORS, WING = range(len(POSE))

ARMS_UP = 150.0  # degrees of shoulder flexion above which the hands come together


def points(pose: np.ndarray, size: float = 1.0) -> np.ndarray:
    """Poses [T, 9] to points [T, 20, 3] in the body frame; `size`: the body's length over 1.75 m."""
    a = np.radians(pose)
    at = np.zeros((len(pose), POINTS, 3))
    at[:, THORAX], at[:, NECK] = (0, 0, 0.50), (0, 0, 0.57)
    at[:, HEAD] = at[:, NECK] + _ray(np.pi - a[:, NOD], 0.0 * a[:, NOD], 0.24)
    joined = 0.32 * (pose[:, SHOULDER] > ARMS_UP)
    for left, (hip, knee, ankle, toe), (shoulder, elbow, wrist, hand) in (
        (-1.0, (R_HIP, R_KNEE, R_ANKLE, R_TOE), (R_SHOULDER, R_ELBOW, R_WRIST, R_HAND)),
        (1.0, (L_HIP, L_KNEE, L_ANKLE, L_TOE), (L_SHOULDER, L_ELBOW, L_WRIST, L_HAND)),
    ):
        thigh, side = a[:, HIP] + left * a[:, SCISSORS], left * a[:, SPREAD]
        shank = thigh - a[:, KNEE]
        at[:, hip] = (0, 0.085 * left, 0)
        at[:, knee] = at[:, hip] + _ray(thigh, side, 0.43)
        at[:, ankle] = at[:, knee] + _ray(shank, side, 0.42)
        at[:, toe] = at[:, ankle] + _ray(shank + a[:, FOOT], side, 0.20)
        arm, side = a[:, SHOULDER], left * a[:, WING]
        forearm = arm + a[:, ELBOW]
        at[:, shoulder] = (0, 0.17 * left, 0.47)
        at[:, elbow] = at[:, shoulder] + _ray(arm, side, 0.29)
        at[:, wrist] = at[:, elbow] + _ray(forearm, side - left * joined, 0.26)
        at[:, hand] = at[:, wrist] + _ray(forearm, 0.0 * side, 0.15)
    return at * size


def _ray(angle: np.ndarray, side: np.ndarray, length: float) -> np.ndarray:
    """[T, 3]: straight down at angle 0, to the front at 90 degrees, leaning to the left by `side`; angles in rad."""
    return length * np.stack([np.sin(angle) * np.cos(side), np.sin(side), -np.cos(angle) * np.cos(side)], -1)


def segment_centres(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points [T, 20, 3] to the segments' shares of the mass [S] and their centres [T, S, 3]."""
    begin, end, mass, way = (np.array(column) for column in zip(*SEGMENTS, strict=True))
    way = way[:, None]
    return mass, at[:, begin] * (1 - way) + at[:, end] * way


def centre_of_mass(at: np.ndarray) -> np.ndarray:
    """[T, 3] of points [T, 20, 3]."""
    mass, centres = segment_centres(at)
    return np.einsum("s,tsd->td", mass, centres)


def moment_of_inertia(at: np.ndarray) -> np.ndarray:
    """[T], over the mass, in m^2, about the axis along y through the centre of mass (segments as points)."""
    mass, centres = segment_centres(at)
    away = centres - centre_of_mass(at)[:, None]
    return np.einsum("s,ts->t", mass, away[..., 0] ** 2 + away[..., 2] ** 2)
