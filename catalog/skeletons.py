"""Layouts of joints, and what is done with any of them: to MPII's sixteen, mirrored, in body lengths.

A pose is an array [..., J, 3]: x to the right and y down in pixels (or in parts of the picture), then the confidence,
0 where a joint was not seen. Of `kinect-22` the third is no confidence: x to the right, y down, z away from the camera.
The number of joints names the layout (`of_joints`), so a stream [T, J, 3] says by itself what it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import BadParameter, UnknownName
from . import joints
from .gaps import filled, interpolated, usable

__all__ = ["SKELETONS", "Skeleton", "flipped", "normalised", "of_joints", "skeleton", "to_mpii"]

SMALLEST = 1e-6  # a torso below this is no length: nothing is divided by it


@dataclass(frozen=True, slots=True)
class Skeleton:
    """One layout of J joints. Joints are indices from 0 throughout.

    `bones`: pairs; the graph hangs together. `mirror`: the joint in whose place each is found in a mirror.
    `centre`: the pelvis is the middle of these. `torso`: joints at its lower and at its upper end, whose middles are a
    torso's length apart. `mpii`: per joint of MPII, the joints that it is made of, with weights that add up to 1.
    `third`: what stands in the third place.
    """

    name: str
    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    mirror: tuple[int, ...]
    centre: tuple[int, ...]
    torso: tuple[tuple[int, ...], tuple[int, ...]]
    mpii: tuple[tuple[tuple[int, float], ...], ...]
    third: Literal["confidence", "z"] = "confidence"


def skeleton(name: str) -> Skeleton:
    """The layout called `name`. Raises UnknownName."""
    if name not in SKELETONS:
        raise UnknownName("layout of joints", name, SKELETONS)
    return SKELETONS[name]


def of_joints(count: int) -> Skeleton:
    """The layout with `count` joints. Raises UnknownName."""
    found = {len(layout.joints): layout for layout in SKELETONS.values()}
    if count not in found:
        raise UnknownName("number of joints", str(count), [f"{n} ({layout.name})" for n, layout in found.items()])
    return found[count]


def to_mpii(pose: np.ndarray, layout: Skeleton) -> np.ndarray:
    """A pose [..., J, 3] of `layout` as one of MPII's joints, [..., 16, 3] float32.

    A joint that the layout does not have is made of several (`layout.mpii`; docs/poses.md has the list), with the
    lowest of their confidences; if one of them is not seen, neither is it, though it lies where they are taken to be.
    Numbers that are not finite become 0 with confidence 0. z, where it stands in the third place, is made like x and y.

    Raises BadParameter for another shape.
    """
    pose = _finite(pose, layout)
    out = np.empty((*pose.shape[:-2], len(layout.mpii), 3), np.float32)
    for joint, parts in enumerate(layout.mpii):
        which, weights = [part for part, _ in parts], np.array([weight for _, weight in parts], np.float32)
        out[..., joint, :] = np.einsum("...jc,j->...c", pose[..., which, :], weights)
        if layout.third == "confidence":
            out[..., joint, 2] = pose[..., which, 2].min(-1)
    return out


def flipped(pose: np.ndarray, layout: Skeleton, width: float | None) -> np.ndarray:
    """The pose [..., J, 3] of the same picture seen in a mirror, float32: x turned round, left and right exchanged.

    `width`: of the picture in the units of x (1 where x is a part of the picture; one less than the pixels where x
    counts their centres from 0); None for poses around 0, such as `normalised` gives. Raises BadParameter.
    """
    out = _finite(pose, layout)[..., list(layout.mirror), :]
    out[..., 0] = (0.0 if width is None else width) - out[..., 0]
    return out


def normalised(pose: np.ndarray, layout: Skeleton, how: str = "pelvis") -> np.ndarray:
    """The poses [T, J, 3] of one video around the pelvis and in torso lengths ("pelvis"), or as they are ("pixel").

    Always finite float32, confidences as they were. Gaps are closed first (`gaps.filled`). The pelvis is taken out
    frame by frame; the length is one number, the median over the frames in which the torso's ends are seen, so that a
    bad or a foreshortened frame does not scale. Where it is 0 or never seen, the root mean square distance of the seen
    joints from the pelvis stands in; where that is 0 too, nothing is divided. A pelvis that is never seen is replaced
    by the middle of the joints that are, and a joint that is never seen lies on the pelvis.

    Raises BadParameter for another shape or an unknown `how`.
    """
    if how not in ("pelvis", "pixel"):
        raise BadParameter(f"poses are normalised by 'pelvis' or not at all ('pixel'), not by '{how}'")
    if pose.ndim != 3 or len(pose) == 0:
        raise BadParameter(f"a pose is [T, joints, 3] with at least one frame, got {list(pose.shape)}")
    _checked(pose, layout)
    if layout.third == "confidence":
        out = filled(pose)
        places, seen = out[..., :2], out[..., 2] > 0
    else:
        seen = usable(pose)
        places = out = interpolated(pose, seen)
    if how == "pixel" or not seen.any():
        return out
    ever = np.asarray(seen.any(0))
    middle = [joint for joint in layout.centre if ever[joint]] or np.flatnonzero(ever)
    places -= places[:, middle].mean(1, keepdims=True)
    places[:, ~ever] = 0.0
    places /= _length(places.astype(np.float64), seen, layout.torso)
    return out


def _length(places: np.ndarray, seen: np.ndarray, torso: tuple[Sequence[int], Sequence[int]]) -> float:
    low, high = (list(end) for end in torso)
    whole = seen[:, low + high].all(1)
    if whole.any():
        lengths = np.linalg.norm(places[whole][:, high].mean(1) - places[whole][:, low].mean(1), axis=-1)
        if (length := float(np.median(lengths))) > SMALLEST:
            return length
    spread = float(np.sqrt((places[seen] ** 2).sum(-1).mean()))
    return spread if spread > SMALLEST else 1.0


def _finite(pose: np.ndarray, layout: Skeleton) -> np.ndarray:
    """A copy, float32, where a joint with a number that is not finite is all 0."""
    return np.where(usable(_checked(pose, layout))[..., None], pose, 0.0).astype(np.float32)


def _checked(pose: np.ndarray, layout: Skeleton) -> np.ndarray:
    wanted = (len(layout.joints), 3)
    if pose.shape[-2:] != wanted:
        raise BadParameter(f"poses of {layout.name} are [..., {wanted[0]}, 3], got {list(pose.shape)}")
    return pose


def _build(
    name: str,
    names: Sequence[str],
    bones: Sequence[tuple[str, str]],
    made: Mapping[str, joints.Parts],
    *,
    hips: Sequence[str] = ("left_hip", "right_hip"),
    shoulders: Sequence[str] = ("left_shoulder", "right_shoulder"),
    third: Literal["confidence", "z"] = "confidence",
) -> Skeleton:
    at = {joint: n for n, joint in enumerate(names)}
    other = {"left": "right", "right": "left"}
    mirrored = [joint.partition("_") for joint in names]
    return Skeleton(
        name=name,
        joints=tuple(names),
        bones=tuple((at[a], at[b]) for a, b in bones),
        mirror=tuple(at[f"{other.get(side, side)}{dash}{rest}"] for side, dash, rest in mirrored),
        centre=tuple(at[joint] for joint in hips),
        torso=(tuple(at[joint] for joint in hips), tuple(at[joint] for joint in shoulders)),
        mpii=tuple(
            tuple((at[part], weight) for part, weight in made.get(joint, {joint: 1.0}).items()) for joint in joints.MPII
        ),
        third=third,
    )


# The order of `kinect-22` is that of the program by which UI-PRMD's authors show their data, and the data agree: see
# catalog/kinect.py.
SKELETONS: dict[str, Skeleton] = {
    layout.name: layout
    for layout in (
        _build("mpii-16", joints.MPII, joints.MPII_BONES, {}, hips=("pelvis",)),
        _build("coco-17", joints.COCO, joints.COCO_BONES, joints.MADE_OF_EARS),
        _build("halpe-26", joints.HALPE, joints.HALPE_BONES, joints.MADE_OF_HALPE, hips=("hip",)),
        _build("mediapipe-33", joints.MEDIAPIPE, joints.MEDIAPIPE_BONES, joints.MADE_OF_EARS),
        _build(
            "kinect-22", joints.KINECT, joints.KINECT_BONES, joints.MADE_OF_KINECT,
            hips=("waist",), shoulders=("left_upper_arm", "right_upper_arm"), third="z",
        ),
    )
}  # fmt: skip
