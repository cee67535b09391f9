"""Layouts of joints: orders, mirrors, to MPII, flips, normalisation."""

from __future__ import annotations

import numpy as np
import pytest

from aqa.catalog.skeletons import SKELETONS, Skeleton, flipped, normalised, of_joints, skeleton, to_mpii
from aqa.errors import BadParameter, UnknownName

MPII = skeleton("mpii-16")
WITH_CONFIDENCE = [layout for layout in SKELETONS.values() if layout.third == "confidence"]
EVERY = pytest.mark.parametrize("layout", SKELETONS.values(), ids=SKELETONS)
SEEN = pytest.mark.parametrize("layout", WITH_CONFIDENCE, ids=[layout.name for layout in WITH_CONFIDENCE])

# Somebody of a thousand pixels who faces the camera: x to the right, y down, the person's left at larger x. Shoulders
# and ears are at .818 and .93 of the height.
SHOULDER, EAR = 182.0, 70.0
NECK, TOP = SHOULDER - 0.4 * (SHOULDER - EAR), SHOULDER - 1.6 * (SHOULDER - EAR)
HALF = {
    "shoulder": (110, SHOULDER), "elbow": (150, 340), "wrist": (170, 480), "hip": (60, 480), "knee": (70, 720),
    "ankle": (75, 950), "ear": (45, EAR), "eye": (20, 62), "eye_inner": (12, 62), "eye_outer": (28, 62),
    "mouth": (15, 100), "pinky": (185, 520), "index": (178, 525), "thumb": (165, 510), "heel": (72, 970),
    "foot_index": (85, 995), "big_toe": (80, 996), "small_toe": (95, 994),
}  # fmt: skip
MIDDLE = {
    "nose": (0, 78), "pelvis": (0, 480), "hip": (0, 480), "thorax": (0, SHOULDER), "upper_neck": (0, NECK),
    "neck": (0, NECK), "head_top": (0, TOP), "head": (0, TOP),
}  # fmt: skip


def drawn(layout: Skeleton, at: float = 320.0) -> np.ndarray:
    """The person of HALF and MIDDLE in this layout, [J, 3], the middle of the body at x = `at`."""
    rows = []
    for joint in layout.joints:
        side, _, word = joint.partition("_")
        sign = {"left": 1, "right": -1}.get(side, 0)
        x, y = HALF[word] if sign else MIDDLE[joint]
        rows.append((at + sign * x, y, 1.0))
    return np.array(rows, np.float32)


def waving(layout: Skeleton, frames: int = 7, seed: int = 0) -> np.ndarray:
    """The person over time, [T, J, 3]: shifted, and every joint moved by itself a little."""
    rng = np.random.default_rng(seed)
    pose = np.repeat(drawn(layout)[None], frames, axis=0)
    pose[..., :2] += rng.normal(size=(frames, len(layout.joints), 2)) * 5 + rng.normal(size=(frames, 1, 2)) * 40
    pose[..., 2] = rng.uniform(0.2, 1, pose.shape[:2])
    return pose


# --- Layouts


@EVERY
def test_a_layout_is_whole(layout: Skeleton):
    count = len(layout.joints)
    assert count == int(layout.name.rpartition("-")[2]) == len(set(layout.joints))
    assert of_joints(count) is skeleton(layout.name) is layout
    assert [layout.mirror[layout.mirror[j]] for j in range(count)] == list(range(count))
    for joint, other in enumerate(layout.mirror):
        names = layout.joints[joint], layout.joints[other]
        assert names[0] == names[1] or {name.split("_")[0] for name in names} == {"left", "right"}
    assert len(set(map(frozenset, layout.bones))) == len(layout.bones)
    mirrored = {frozenset((layout.mirror[a], layout.mirror[b])) for a, b in layout.bones}
    assert mirrored == set(map(frozenset, layout.bones))  # a person's two sides are built alike
    reached = {0}
    for _ in layout.joints:
        reached |= {j for bone in layout.bones if reached & set(bone) for j in bone}
    assert reached == set(range(count))
    assert len(layout.mpii) == 16
    assert all(sum(weight for _, weight in parts) == pytest.approx(1) for parts in layout.mpii)


def test_mpii_is_in_the_order_of_the_field():
    pairs = {frozenset((j, other)) for j, other in enumerate(MPII.mirror) if j != other}
    assert pairs == {frozenset(p) for p in ((0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13))}
    assert MPII.joints[:10] == (
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
        "pelvis", "thorax", "upper_neck", "head_top",
    )  # fmt: skip
    assert len(MPII.bones) == 15
    assert MPII.centre == (6,)
    assert MPII.torso == ((6,), (13, 12))


@pytest.mark.parametrize(
    ("name", "index", "joint"),
    [
        ("coco-17", 0, "nose"), ("coco-17", 5, "left_shoulder"), ("coco-17", 10, "right_wrist"),
        ("coco-17", 16, "right_ankle"), ("halpe-26", 17, "head"), ("halpe-26", 18, "neck"), ("halpe-26", 19, "hip"),
        ("halpe-26", 20, "left_big_toe"), ("halpe-26", 25, "right_heel"), ("mediapipe-33", 4, "right_eye_inner"),
        ("mediapipe-33", 7, "left_ear"), ("mediapipe-33", 10, "right_mouth"), ("mediapipe-33", 11, "left_shoulder"),
        ("mediapipe-33", 16, "right_wrist"), ("mediapipe-33", 23, "left_hip"), ("mediapipe-33", 32, "right_foot_index"),
        ("kinect-22", 0, "waist"), ("kinect-22", 5, "head_tip"), ("kinect-22", 9, "left_hand"),
        ("kinect-22", 13, "right_hand"), ("kinect-22", 14, "left_upper_leg"), ("kinect-22", 21, "right_toes"),
    ],
)  # fmt: skip
def test_orders_of_the_others(name: str, index: int, joint: str):
    assert skeleton(name).joints[index] == joint


def test_unknown_layouts():
    with pytest.raises(UnknownName, match="coco-17"):
        skeleton("coco17")
    with pytest.raises(UnknownName, match=r"'18'.*16 \(mpii-16\).*33 \(mediapipe-33\)"):
        of_joints(18)


# --- To MPII


@SEEN
def test_a_person_lands_on_the_same_joints_of_mpii(layout: Skeleton):
    np.testing.assert_allclose(to_mpii(drawn(layout), layout), drawn(MPII), atol=0.01)


def test_mpii_stays_what_it_is():
    pose = waving(MPII)
    np.testing.assert_array_equal(to_mpii(pose, MPII), pose)


@SEEN
def test_a_made_joint_has_the_lowest_confidence_of_its_parts(layout: Skeleton):
    pose = waving(layout)
    made = to_mpii(pose, layout)
    for joint, parts in enumerate(layout.mpii):
        np.testing.assert_array_equal(made[:, joint, 2], np.min([pose[:, part, 2] for part, _ in parts], axis=0))


def test_a_part_that_is_missing_takes_its_joints_along_and_no_other():
    coco = skeleton("coco-17")
    pose = np.stack([drawn(coco)] * 2)
    pose[0, coco.joints.index("left_ear")] = np.nan
    made = to_mpii(pose, coco)
    assert np.isfinite(made).all()
    assert [MPII.joints[j] for j in np.flatnonzero(made[0, :, 2] == 0)] == ["upper_neck", "head_top"]
    assert (made[1, :, 2] == 1).all()
    rest = made[0, :, 2] > 0
    np.testing.assert_array_equal(made[0, rest], made[1, rest])


def test_leading_axes_do_not_matter():
    coco = skeleton("coco-17")
    pose = waving(coco, 6)
    np.testing.assert_array_equal(to_mpii(pose.reshape(2, 3, 17, 3), coco).reshape(6, 16, 3), to_mpii(pose, coco))
    np.testing.assert_array_equal(to_mpii(pose[0], coco), to_mpii(pose, coco)[0])


@pytest.mark.parametrize("function", [to_mpii, lambda p, s: flipped(p, s, None), normalised])
def test_the_wrong_number_of_joints_is_refused(function):
    with pytest.raises(BadParameter, match=r"coco-17 are \[\.\.\., 17, 3\], got \[4, 16, 3\]"):
        function(np.zeros((4, 16, 3)), skeleton("coco-17"))


# --- Flips


@EVERY
@pytest.mark.parametrize("width", [640.0, None])
def test_twice_in_the_mirror_is_no_mirror(layout: Skeleton, width: float | None):
    pose = np.random.default_rng(1).uniform(0, 500, (5, len(layout.joints), 3)).astype(np.float32)
    once = flipped(pose, layout, width)
    assert not np.allclose(once, pose)
    np.testing.assert_allclose(flipped(once, layout, width), pose, atol=1e-4)


@SEEN
def test_in_the_mirror_left_is_still_left(layout: Skeleton):
    pose = drawn(layout, at=200.0)
    pose[layout.joints.index("left_wrist"), 1] = 20.0  # the left arm is up, at larger x
    once = flipped(pose, layout, 640.0)
    raised = once[layout.joints.index("right_wrist")]
    assert raised[1] == 20.0  # in the mirror it is the right arm
    assert raised[0] == pytest.approx(640 - 370)
    for joint in ("shoulder", "hip", "ankle"):
        left, right = (once[layout.joints.index(f"{side}_{joint}"), 0] for side in ("left", "right"))
        assert left > right  # who faces the camera faces it in the mirror too


def test_without_the_exchange_of_sides_somebody_would_turn_round():
    """What `flipped` is for: turning x round alone gives a person seen from behind."""
    pose = drawn(MPII)
    turned = pose.copy()
    turned[:, 0] = 640 - turned[:, 0]
    assert turned[13, 0] < turned[12, 0]
    np.testing.assert_allclose(turned[list(MPII.mirror)], flipped(pose, MPII, 640.0))


@SEEN
def test_flip_and_conversion_commute(layout: Skeleton):
    pose = waving(layout)
    there = to_mpii(flipped(pose, layout, 640.0), layout)
    np.testing.assert_allclose(there, flipped(to_mpii(pose, layout), MPII, 640.0), atol=1e-3)


# --- Normalisation


@SEEN
def test_shift_and_scale_do_not_matter(layout: Skeleton):
    pose = waving(layout)
    other = pose.copy()
    other[..., :2] = 2.5 * other[..., :2] + [300.0, -70.0]
    plain = normalised(pose, layout)
    np.testing.assert_allclose(normalised(other, layout), plain, atol=1e-5)
    np.testing.assert_array_equal(plain[..., 2], pose[..., 2])
    low, high = (plain[:, list(end), :2].mean(1) for end in layout.torso)
    assert np.median(np.linalg.norm(high - low, axis=-1)) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(low, 0, atol=1e-5)


def test_one_bad_frame_does_not_scale():
    pose = np.stack([drawn(MPII)] * 9)
    plain = normalised(pose, MPII)
    pose[4, [12, 13], :2] = 1e4
    np.testing.assert_allclose(np.delete(normalised(pose, MPII), 4, 0), np.delete(plain, 4, 0), atol=1e-5)


def test_pixels_stay_pixels():
    pose = waving(MPII)
    np.testing.assert_array_equal(normalised(pose, MPII, "pixel"), pose)
    with pytest.raises(BadParameter, match="'torso'"):
        normalised(pose, MPII, "torso")


@EVERY
@pytest.mark.parametrize("how", ["pelvis", "pixel"])
@pytest.mark.parametrize("bad", ["point", "nan", "nothing", "one frame", "no pelvis", "no shoulders", "tiny"])
def test_whatever_comes_what_goes_is_finite(layout: Skeleton, how: str, bad: str):
    pose = np.random.default_rng(2).uniform(1, 500, (6, len(layout.joints), 3)).astype(np.float32)
    hidden = np.zeros(pose.shape[:2], bool)
    if bad == "point":
        pose[..., :2] = 7.0
        pose[..., 2] = 7.0
    elif bad == "nan":
        hidden[2, 1:4] = hidden[:, 5] = True
        pose[hidden] = np.nan
        pose[3, 2, 0], hidden[3, 2] = np.inf, True
    elif bad == "nothing":
        hidden[:] = True
        pose[hidden] = np.nan
    elif bad == "one frame":
        pose, hidden = pose[:1], hidden[:1]
    elif bad == "no pelvis":
        hidden[:, list(layout.centre)] = True
        pose[hidden] = np.nan
    elif bad == "no shoulders":
        hidden[:, list(layout.torso[1])] = True
        pose[hidden] = np.nan
    else:
        pose *= 1e-30
    out = normalised(pose, layout, how)
    assert out.shape == pose.shape
    assert out.dtype == np.float32
    assert np.isfinite(out).all()
    if layout.third == "confidence":
        assert (out[..., 2] == 0).tolist() == hidden.tolist()
    if how == "pelvis" and not hidden.all():
        places = out[..., :2] if layout.third == "confidence" else out
        never = hidden.all(0)
        assert (places[:, never] == 0).all()
        assert np.abs(places).max() < 100


def test_a_pelvis_that_is_never_seen_is_replaced_by_the_middle_of_the_rest():
    pose = waving(MPII)
    pose[:, 6, 2] = 0
    out = normalised(pose, MPII)
    rest = np.delete(out, 6, 1)
    np.testing.assert_allclose(rest[..., :2].mean(1), 0, atol=1e-4)
    assert (rest[..., :2] ** 2).sum(-1).mean() == pytest.approx(1, rel=1e-4)  # no torso: the spread is the unit
