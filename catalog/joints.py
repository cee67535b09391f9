"""What the layouts of joints are made of: names in order, bones, and how MPII's joints are made of others'.

Orders: COCO (Lin et al., ECCV 2014), MPII (Andriluka et al., CVPR 2014), Halpe (Fang et al., TPAMI 2022; its first 26),
MediaPipe (BlazePose, Bazarevsky et al., 2020), UI-PRMD's Kinect (Vakanski et al., Data 3(1), 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

Parts = Mapping[str, float]  # joint -> weight


def _sides(*words: str) -> tuple[str, ...]:
    """ "eye ear" -> left eye, right eye, left ear, right ear."""
    return tuple(f"{side}_{word}" for word in words for side in ("left", "right"))


def _each(side: str, *words: str) -> tuple[str, ...]:
    return tuple(f"{side}_{word}" for word in words)


def _limbs(*chains: str) -> tuple[tuple[str, str], ...]:
    """ "hip knee ankle" -> the bones along it, on both sides. A name that begins with "." is in the middle."""
    bones = []
    for chain in chains:
        for side in ("left", "right"):
            names = [word[1:] if word[0] == "." else f"{side}_{word}" for word in chain.split()]
            bones += pairwise(names)
    return tuple(dict.fromkeys(bones))


ARMS = ("shoulder", "elbow", "wrist")
BODY = (*ARMS, "hip", "knee", "ankle")
ACROSS = (("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"))

MPII = (
    *_each("right", "ankle", "knee", "hip"), *_each("left", "hip", "knee", "ankle"),
    "pelvis", "thorax", "upper_neck", "head_top",
    *_each("right", "wrist", "elbow", "shoulder"), *_each("left", *ARMS),
)  # fmt: skip
COCO = ("nose", *_sides("eye", "ear", *BODY))
HALPE = (*COCO, "head", "neck", "hip", *_sides("big_toe", "small_toe", "heel"))
MEDIAPIPE = (
    "nose",
    *_each("left", "eye_inner", "eye", "eye_outer"), *_each("right", "eye_inner", "eye", "eye_outer"),
    *_sides("ear", "mouth", *ARMS, "pinky", "index", "thumb", "hip", "knee", "ankle", "heel", "foot_index"),
)  # fmt: skip
_ARM, _LEG = ("collar", "upper_arm", "forearm", "hand"), ("upper_leg", "lower_leg", "foot", "toes")
KINECT = (
    "waist", "spine", "chest", "neck", "head", "head_tip",
    *_each("left", *_ARM), *_each("right", *_ARM), *_each("left", *_LEG), *_each("right", *_LEG),
)  # fmt: skip

# Every graph hangs together, so that what is learnt along bones reaches every joint.
MPII_BONES = (
    *_limbs(".pelvis hip knee ankle", ".thorax shoulder elbow wrist"),
    ("pelvis", "thorax"), ("thorax", "upper_neck"), ("upper_neck", "head_top"),
)  # fmt: skip
COCO_BONES = (
    *_limbs(".nose eye ear shoulder elbow wrist", "shoulder hip knee ankle"), *ACROSS, ("left_eye", "right_eye")
)  # fmt: skip
HALPE_BONES = (
    *_limbs(".head .nose eye ear", ".neck shoulder elbow wrist", ".hip hip knee ankle heel", "ankle big_toe small_toe"),
    ("head", "neck"), ("neck", "hip"),
)  # fmt: skip
MEDIAPIPE_BONES = (
    *_limbs(
        ".nose eye_inner eye eye_outer ear shoulder elbow wrist pinky index wrist thumb", ".nose mouth",
        "shoulder hip knee ankle heel foot_index ankle",
    ),
    *ACROSS, ("left_mouth", "right_mouth"),
)  # fmt: skip
KINECT_BONES = (
    *_limbs(".chest collar upper_arm forearm hand", ".waist upper_leg lower_leg foot toes"),
    ("waist", "spine"), ("spine", "chest"), ("chest", "neck"), ("neck", "head"), ("head", "head_tip"),
)  # fmt: skip


def _both(word: str, weight: float) -> Parts:
    return {f"left_{word}": weight, f"right_{word}": weight}


# MPII's joints that a layout does not have under this name. Between shoulders and ears: the middle of the ears is 0.62
# of the way from the shoulders to the top of the head (standard heights .818, .93 and 1 of the body), and MPII's upper
# neck is a quarter of that way (median of the annotated dive of FineDiving-Pose: .23 from the thorax, .29 from the
# middle of the shoulders), so 0.4 of the way to the ears.
_TRUNK = {"pelvis": _both("hip", 0.5), "thorax": _both("shoulder", 0.5)}
MADE_OF_EARS: Mapping[str, Parts] = {
    **_TRUNK,
    "upper_neck": {**_both("shoulder", 0.3), **_both("ear", 0.2)},
    "head_top": {**_both("shoulder", -0.3), **_both("ear", 0.8)},
}
# Halpe's neck and head are where networks are taught MPII's upper neck and head top (RTMPose's training sets).
MADE_OF_HALPE: Mapping[str, Parts] = {
    "pelvis": {"hip": 1.0},
    "thorax": _TRUNK["thorax"],
    "upper_neck": {"neck": 1.0},
    "head_top": {"head": 1.0},
}
_SEGMENTS = {
    "ankle": "foot", "knee": "lower_leg", "hip": "upper_leg",
    "wrist": "hand", "elbow": "forearm", "shoulder": "upper_arm",
}  # fmt: skip
# UI-PRMD names segments; the point is the end at which a segment hangs.
MADE_OF_KINECT: Mapping[str, Parts] = {
    **{f"{side}_{joint}": {f"{side}_{s}": 1.0} for side in ("left", "right") for joint, s in _SEGMENTS.items()},
    "pelvis": {"waist": 1.0},
    "thorax": _both("upper_arm", 0.5),
    "upper_neck": {"head": 1.0},
    "head_top": {"head_tip": 1.0},
}
