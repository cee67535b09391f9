"""Graphs over the joints of a skeleton, from its bones: what joint takes from which in a graph convolution.

Every matrix here is [joint, joint it takes from]: row v holds the weights with which v adds up the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..catalog.skeletons import Skeleton
from ..errors import UnknownName

# Where the body's centre is taken to be: the joint where the arms hang on the trunk, the centre of mass of HP-MCoRe.
# COCO and MediaPipe have no joint in the trunk: both shoulders.
CENTRE: dict[str, tuple[str, ...]] = {
    "mpii-16": ("thorax",),
    "coco-17": ("left_shoulder", "right_shoulder"),
    "kinect-22": ("chest",),
    "halpe-26": ("neck",),
    "mediapipe-33": ("left_shoulder", "right_shoulder"),
}


def hops(layout: Skeleton) -> np.ndarray:
    """int64 [J]: bones from the body's centre to each joint. Raises UnknownName for a layout without a centre."""
    if layout.name not in CENTRE:
        raise UnknownName("centre of the layout", layout.name, CENTRE)
    near = bones(layout) > 0
    away = np.full(len(near), -1)
    front = np.isin(layout.joints, CENTRE[layout.name])
    step = 0
    while front.any():
        away[front] = step
        front, step = near[:, front].any(axis=1) & (away < 0), step + 1
    return away


def bones(layout: Skeleton) -> np.ndarray:
    """float64 [J, J], symmetric: 1 where a bone joins two joints."""
    near = np.zeros((len(layout.joints), len(layout.joints)))
    for a, b in layout.bones:
        near[a, b] = near[b, a] = 1
    return near


def groups(layout: Skeleton) -> tuple[tuple[int, ...], ...]:
    """Joints by their distance from the centre, nearest first: every joint is in one group, of MPII's in five."""
    away = hops(layout)
    return tuple(tuple(np.flatnonzero(away == step).tolist()) for step in range(away.max() + 1))


def hierarchy(layout: Skeleton) -> np.ndarray:
    """float64 [H, 3, J, J]: for each pair of neighbouring groups the identity on both, each joint of the outer group
    from all of the inner, each of the inner from all of the outer (Lee et al., Hierarchically Decomposed Graph
    Convolutional Networks for Skeleton-Based Action Recognition, ICCV 2023; HP-MCoRe's groups).

    The last two are divided by the sums of their columns: what a joint gives adds up to 1.
    """
    parts = groups(layout)
    out = np.zeros((len(parts) - 1, 3, len(layout.joints), len(layout.joints)))
    for layer, (inner, outer) in enumerate(zip(parts[:-1], parts[1:], strict=True)):
        both = inner + outer
        out[layer, 0, both, both] = 1
        out[layer, 1][np.ix_(outer, inner)] = 1 / len(outer)
        out[layer, 2][np.ix_(inner, outer)] = 1 / len(inner)
    return out


def members(layout: Skeleton) -> np.ndarray:
    """float64 [H, J]: rows that take the mean over the joints of two neighbouring groups."""
    parts = groups(layout)
    return np.stack([_mean_of(a + b, len(layout.joints)) for a, b in zip(parts[:-1], parts[1:], strict=True)])


def partitions(layout: Skeleton) -> np.ndarray:
    """float64 [3, J, J]: each joint's mean over itself and its neighbours, split into those as far from the centre as
    itself (itself among them), nearer, and further: the spatial partition of ST-GCN (Yan et al., AAAI 2018, 3.3)."""
    away = hops(layout)
    near = bones(layout) + np.eye(len(away))
    near /= near.sum(axis=1, keepdims=True)
    further = away[None, :] - away[:, None]  # [joint, the other]
    return np.stack([near * (further == 0), near * (further < 0), near * (further > 0)])


def _mean_of(joints: Sequence[int], count: int) -> np.ndarray:
    row = np.zeros(count)
    row[list(joints)] = 1 / len(joints)
    return row
