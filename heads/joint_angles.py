"""Angles and lengths of a body in the picture, frame by frame, from MPII's joints. Unseen is NaN, and stays so."""

from __future__ import annotations

import numpy as np

(
    R_ANKLE, R_KNEE, R_HIP, L_HIP, L_KNEE, L_ANKLE, PELVIS, THORAX, UPPER_NECK, HEAD_TOP,
    R_WRIST, R_ELBOW, R_SHOULDER, L_SHOULDER, L_ELBOW, L_WRIST,
) = range(16)  # fmt: skip
LEGS = ((R_HIP, R_KNEE, R_ANKLE), (L_HIP, L_KNEE, L_ANKLE))

# From, to, share of the body's mass, where on the way its centre is. Winter, Biomechanics and Motor Control of Human
# Movement, 2009, table 4.1; the foot is taken to the ankle, the hand to the forearm.
SEGMENTS = (
    (PELVIS, THORAX, 0.497, 0.5), (UPPER_NECK, HEAD_TOP, 0.081, 0.5),
    *((hip, knee, 0.1, 0.433) for hip, knee, _ in LEGS), *((knee, ankle, 0.061, 0.606) for _, knee, ankle in LEGS),
    (R_SHOULDER, R_ELBOW, 0.028, 0.436), (L_SHOULDER, L_ELBOW, 0.028, 0.436),
    (R_ELBOW, R_WRIST, 0.022, 0.682), (L_ELBOW, L_WRIST, 0.022, 0.682),
)  # fmt: skip

# Breadth of shoulders and of hips between the joints' centres, in torso lengths.
SHOULDER_BREADTH, HIP_BREADTH = 0.7, 0.35


def angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Between vectors [..., 2]: 0 to 180 degrees; NaN where one of them has no length."""
    cross, dot = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0], (a * b).sum(-1)
    found = np.degrees(np.abs(np.arctan2(cross, dot)))
    return np.where((a == 0).all(-1) | (b == 0).all(-1), np.nan, found)


def either(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The mean of a left and a right thing; one of them where the other is not seen."""
    return np.where(np.isnan(a), b, np.where(np.isnan(b), a, (a + b) / 2))


def hip_angle(xy: np.ndarray) -> np.ndarray:
    """[T, 16, 2] to [T] degrees: between trunk (pelvis to thorax) and thigh (hip to knee); 180: stretched."""
    trunk = xy[:, THORAX] - xy[:, PELVIS]
    return either(*(angle(trunk, xy[:, knee] - xy[:, hip]) for hip, knee, _ in LEGS))


def knee_angle(xy: np.ndarray) -> np.ndarray:
    """[T, 16, 2] to [T] degrees: between thigh and shank, at the knee; 180: straight."""
    return either(*(angle(xy[:, hip] - xy[:, knee], xy[:, ankle] - xy[:, knee]) for hip, knee, ankle in LEGS))


def feet(xy: np.ndarray) -> np.ndarray:
    """[T, 2]: the middle of the ankles."""
    return either(xy[:, R_ANKLE], xy[:, L_ANKLE])


def body_line_angle(xy: np.ndarray) -> np.ndarray:
    """[T, 16, 2] to [T] degrees: at the pelvis, from the thorax to the middle of the ankles; 180: one line."""
    return angle(xy[:, THORAX] - xy[:, PELVIS], feet(xy) - xy[:, PELVIS])


def from_vertical(xy: np.ndarray) -> np.ndarray:
    """[T, 16, 2] to [T] degrees, 0 to 90: the line from the middle of the ankles to the thorax against the vertical."""
    line = xy[:, THORAX] - feet(xy)
    upright = angle(line, np.array([0.0, -1.0]))
    return np.minimum(upright, 180.0 - upright)


def ankle_distance(xy: np.ndarray) -> np.ndarray:
    """[T, 16, 2] to [T], in the units of `xy`."""
    return np.linalg.norm(xy[:, R_ANKLE] - xy[:, L_ANKLE], axis=-1)


def torso_length(xy: np.ndarray) -> float:
    """The median distance from pelvis to thorax over the frames in which both are seen; NaN if there are none."""
    lengths = np.linalg.norm(xy[:, THORAX] - xy[:, PELVIS], axis=-1)
    lengths = lengths[np.isfinite(lengths)]
    return float(np.median(lengths)) if len(lengths) and np.median(lengths) > 0 else float("nan")


def turned_away(xy: np.ndarray, torso: float) -> np.ndarray:
    """[T, 16, 2] to [T] degrees, 0 to 90: 0 where the body is seen from its side, 90 from its front or back.

    The sine is how broad shoulders or hips look (the broader of the two that are seen) over how broad they are. Hips
    and knees bend in a plane that is seen edge-on at 90.
    """
    shoulders = np.linalg.norm(xy[:, R_SHOULDER] - xy[:, L_SHOULDER], axis=-1) / (SHOULDER_BREADTH * torso)
    hips = np.linalg.norm(xy[:, R_HIP] - xy[:, L_HIP], axis=-1) / (HIP_BREADTH * torso)
    return np.degrees(np.arcsin(np.clip(np.fmax(shoulders, hips), 0.0, 1.0)))


def centre_of_mass(xy: np.ndarray) -> np.ndarray:
    """[T, 2] of [T, 16, 2]; NaN where a joint is not seen."""
    begin, end, mass, way = (np.array(column) for column in zip(*SEGMENTS, strict=True))
    centres = xy[:, begin] * (1 - way[:, None]) + xy[:, end] * way[:, None]
    return np.einsum("s,tsd->td", mass / mass.sum(), centres)


def trunk_turns(xy: np.ndarray) -> np.ndarray:
    """[T] degrees by which the trunk has turned, over full turns; clockwise positive; NaN where it is not seen.

    Between two frames in which it is seen the shorter way is taken.
    """
    trunk = xy[:, THORAX] - xy[:, PELVIS]
    at = np.degrees(np.arctan2(trunk[:, 0], -trunk[:, 1]))
    at[(trunk == 0).all(-1)] = np.nan
    seen = np.isfinite(at)
    at[seen] = np.unwrap(at[seen], period=360.0)
    return at
