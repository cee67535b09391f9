"""Measures on people of sticks: exact angles, the frames that decide, and what is not measured."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from aqa.catalog.skeletons import flipped, skeleton
from aqa.errors import BadParameter
from aqa.heads import joint_angles as joints
from aqa.heads.measures import MEASURES, Measured, dive_of, measure

from .stick_figures import TORSO, away, figure, inward_dive, pose_of


def measured(pose: np.ndarray, labels=(), **said) -> dict[str, Measured]:
    return {one.name: one for one in measure(dive_of(pose, labels=labels, **said))}


def values(pose: np.ndarray, labels=(), **said) -> dict[str, float | None]:
    return {name: one.value for name, one in measured(pose, labels, **said).items()}


# --- Angles of one frame


@pytest.mark.parametrize("lean", [0, 33, 90, 180, 271])
def test_a_straight_body_has_no_angles(lean: float):
    xy = figure(lean=lean)[None]
    assert joints.hip_angle(xy) == pytest.approx(180)
    assert joints.knee_angle(xy) == pytest.approx(180)
    assert joints.body_line_angle(xy) == pytest.approx(180)
    assert joints.ankle_distance(xy) == pytest.approx(0)


@pytest.mark.parametrize("angle", [5, 45, 90, 135, 175])
def test_hips_and_knees_have_their_angles(angle: float):
    assert joints.hip_angle(figure(hip=angle, lean=50)[None]) == pytest.approx(angle)
    assert joints.knee_angle(figure(knee=angle, hip=70, lean=-20)[None]) == pytest.approx(angle)
    assert joints.body_line_angle(figure(hip=angle)[None]) == pytest.approx(angle)


@pytest.mark.parametrize(("lean", "tilt"), [(0, 0), (180, 0), (168, 12), (-168, 12), (12, 12), (90, 90), (135, 45)])
def test_the_body_line_against_the_vertical(lean: float, tilt: float):
    assert joints.from_vertical(figure(lean=lean)[None]) == pytest.approx(tilt, abs=1e-6)


def test_how_far_a_body_is_turned_away_from_its_side_view():
    for degrees in (0, 30, 60, 90):
        xy = figure(broad=joints.SHOULDER_BREADTH * np.sin(np.radians(degrees)))[None]
        assert joints.turned_away(xy, TORSO) == pytest.approx(degrees, abs=1e-5)


def test_a_leg_that_is_not_seen_is_made_up_for_by_the_other():
    xy = figure(hip=60, knee=75)[None]
    xy[:, [3, 4, 5]] = np.nan
    assert joints.hip_angle(xy) == pytest.approx(60)
    assert joints.knee_angle(xy) == pytest.approx(75)
    assert np.isfinite(joints.from_vertical(xy)).all()
    assert np.isnan(joints.ankle_distance(xy)).all()
    xy[:, 1] = np.nan
    assert np.isnan(joints.knee_angle(xy)).all()


def test_masses_of_the_segments_are_those_of_a_body():
    assert sum(mass for *_, mass, _ in joints.SEGMENTS) == pytest.approx(1.0)
    standing = joints.centre_of_mass(figure()[None])[0] / TORSO
    assert standing[0] == pytest.approx(0, abs=1e-9)
    assert -0.5 < standing[1] < 0.5  # near the hips, as of any body


# --- A whole dive


def test_a_tucked_dive():
    pose, labels = inward_dive(hip=42, knee=51, tilt=9)
    said = values(pose, labels)
    assert said["somersault_hip"] == pytest.approx(42, abs=1e-3)
    assert said["somersault_knee"] == pytest.approx(51, abs=1e-3)
    assert said["knee_bend"] == pytest.approx(0, abs=0.1)
    assert said["entry_tilt"] == pytest.approx(9, abs=1e-3)
    assert said["feet_apart"] == pytest.approx(0, abs=1e-3)
    assert said["twist_bend"] is said["height"] is said["distance"] is None


def test_a_piked_dive_is_asked_for_straight_knees():
    pose, labels = inward_dive(hip=35, knee=155, position="pike")
    found = measured(pose, labels)
    assert found["somersault_hip"].value == pytest.approx(35, abs=1e-3)
    assert found["knee_bend"].value == pytest.approx(25, abs=1e-3)
    assert found["somersault_knee"].reason == "the somersault is a pike: see the bend of the knees"


def test_a_straight_somersault_is_not_asked_to_be_tight():
    found = measured(*inward_dive(hip=170, knee=150, position="straight"))
    assert found["somersault_hip"].reason == "the somersault is in the straight position"
    assert found["knee_bend"].value == pytest.approx(30, abs=1e-3)


def test_twists_are_asked_for_a_straight_line():
    pose, labels = inward_dive(hip=165, knee=180)
    labels[10:30] = [31] * 20
    found = measured(pose, labels)["twist_bend"]
    assert found.value == pytest.approx(15, abs=1e-3)
    assert len(found.frames) == 5  # a quarter of the twenty
    assert set(found.frames) <= set(range(10, 30))


def test_the_quarter_of_the_frames_that_decides():
    hips = [180.0] * 5 + [100.0 - k for k in range(12)] + [180.0] * 4
    pose = pose_of([figure(hip=h, knee=h, lean=30.0 * k) for k, h in enumerate(hips)])
    found = measured(pose, [1] * 5 + [22] * 12 + [36] * 4)["somersault_hip"]
    assert found.frames == (14, 15, 16)
    assert found.value == pytest.approx(90, abs=1e-3)
    assert (found.unit, found.phases) == ("degrees", "labels")


def test_one_wild_frame_does_not_decide():
    pose, labels = inward_dive(hip=60)
    pose[20, :, :2] = 200 + np.random.default_rng(0).normal(size=(16, 2)) * 40
    assert values(pose, labels)["somersault_hip"] == pytest.approx(60, abs=0.01)


def test_feet_apart_are_counted_in_torso_lengths():
    pose = pose_of([figure(lean=20.0 * k, apart=30) for k in range(30)])
    gap = np.linalg.norm(85 * (away(15) - away(-15))) / TORSO
    assert values(pose, [1] * 4 + [22] * 20 + [36] * 6)["feet_apart"] == pytest.approx(gap, rel=1e-5)


@pytest.mark.parametrize("change", ["turned", "scaled", "shifted", "mirrored", "other layout"])
def test_values_do_not_depend_on_how_the_picture_lies(change: str):
    pose, labels = inward_dive(hip=48, knee=66, tilt=14)
    before = values(pose, labels)
    other = pose.copy()
    if change == "turned":  # but for what is against the vertical
        c, s = np.cos(0.7), np.sin(0.7)
        other[..., :2] = pose[..., :2] @ np.array([[c, s], [-s, c]], np.float32)
        before.pop("entry_tilt")
    elif change == "scaled":
        other[..., :2] *= 7.5
    elif change == "shifted":
        other[..., :2] += [-1000, 333]
    elif change == "mirrored":
        other = flipped(pose, skeleton("mpii-16"), 400)
    else:
        other = np.zeros((len(pose), 26, 3), np.float32)
        halpe = skeleton("halpe-26")
        for mpii, parts in enumerate(halpe.mpii):
            for joint, _ in parts:
                other[:, joint] = pose[:, mpii]
    after = values(other, labels)
    for name, value in before.items():
        assert after[name] == (None if value is None else pytest.approx(value, abs=0.02)), name


def test_noise_of_two_hundredths_of_a_torso_costs_a_few_degrees():
    rng = np.random.default_rng(1)
    pose, labels = inward_dive(hip=50, knee=60, tilt=10)
    off = []
    for _ in range(20):
        noisy = pose.copy()
        noisy[..., :2] += rng.normal(size=(45, 16, 2)) * 0.02 * TORSO
        said = values(noisy, labels)
        off.append([said["somersault_hip"] - 50, said["somersault_knee"] - 60, said["entry_tilt"] - 10])
    assert np.abs(np.mean(off, axis=0)).max() < 5  # the smallest quarter of noisy angles is a little too small
    assert np.std(off, axis=0).max() < 2


# --- Not measured


def reasons(pose: np.ndarray, labels=(), **said) -> dict[str, str]:
    found = measured(pose, labels, **said)
    assert all(one.value is None and not one.frames for one in found.values() if one.reason)
    return {name: one.reason for name, one in found.items() if one.value is None}


def test_nobody():
    pose, labels = inward_dive()
    for nobody in (
        np.zeros_like(pose),
        np.full_like(pose, np.nan),
        np.concatenate([pose[..., :2], 0 * pose[..., 2:]], -1),
    ):
        assert reasons(nobody, labels) == dict.fromkeys(MEASURES, "no joint is seen in any frame")


def test_one_frame():
    pose, _ = inward_dive()
    assert set(reasons(pose[:1])) == set(MEASURES)
    assert set(reasons(pose[:1], [36])) == set(MEASURES)


def test_a_body_without_a_torso():
    pose, labels = inward_dive()
    pose[..., :2] = 100
    assert set(reasons(pose, labels).values()) == {"pelvis and thorax are never seen in two places"}


def test_knees_that_are_not_seen():
    pose, labels = inward_dive()
    pose[:, [1, 4], 2] = 0.2
    said = reasons(pose, labels)
    assert said["somersault_knee"] == "the joints are seen in 0 of 30 frames, 15 are needed"
    assert said["somersault_hip"] == "the joints are seen in 0 of 30 frames, 15 are needed"
    assert said["knee_bend"] == "the joints are seen in 0 of 5 frames, 3 are needed"
    assert "entry_tilt" not in said
    assert "somersault_hip" not in reasons(pose, labels, confidence=0.1)


def test_half_of_the_frames_are_needed():
    pose, labels = inward_dive(hip=44)
    pose[5:20, 7] = np.nan
    assert values(pose, labels)["somersault_hip"] == pytest.approx(44, abs=1e-3)
    pose[20, 7, 2] = 0
    assert reasons(pose, labels)["somersault_hip"] == "the joints are seen in 14 of 30 frames, 15 are needed"


def test_a_body_that_is_seen_from_its_front():
    pose, labels = inward_dive()
    front = pose_of([figure(lean=9.0 * k, broad=0.68) for k in range(45)])
    said = reasons(front, labels)
    assert said["somersault_hip"] == "the body is seen from its side in 0 of 30 frames, 15 are needed"
    assert said["entry_tilt"] == "the body is not seen from its side at the entry"
    pose[:, [2, 3, 12, 13], 2] = 0  # neither shoulders nor hips: nobody can say from where
    assert {"somersault_hip", "knee_bend", "entry_tilt"} <= reasons(pose, labels).keys()


def test_the_entry_needs_its_frame():
    pose, labels = inward_dive()
    pose[35, 7] = np.nan
    assert reasons(pose, labels)["entry_tilt"] == "thorax or ankles are not seen in the frame of the entry"


def test_nonsense_is_never_a_crash_and_never_a_number_that_is_none():
    rng = np.random.default_rng(5)
    for seed in range(150):
        count = int(rng.integers(1, 70))
        pose = (rng.normal(size=(count, 16, 3)) * 10.0 ** rng.integers(-3, 12)).astype(np.float32)
        pose[..., 2] = rng.uniform(-0.5, 1.5, pose.shape[:2])
        pose[rng.random(pose.shape) < rng.choice([0, 0.02, 0.5])] = rng.choice([np.nan, np.inf, -np.inf, 0])
        labels = sorted(rng.choice([1, 4, 12, 22, 30, 36, 38, 99], count).tolist()) if seed % 2 else ()
        fps = None if seed % 3 else 25.0
        entry = int(rng.integers(count)) if seed % 5 == 0 else None
        for one in measure(dive_of(pose, labels=labels, fps=fps, entry=entry, kind="5253B" if seed % 7 else "")):
            assert (one.value is None) == bool(one.reason)
            assert one.value is None or np.isfinite(one.value)
            assert all(0 <= frame < count for frame in one.frames)


@pytest.mark.parametrize(
    ("pose", "said", "message"),
    [
        (np.zeros((5, 16, 2)), {}, "poses of mpii-16"),
        (np.zeros((0, 16, 3)), {}, "at least one frame"),
        (np.zeros((16, 3)), {}, "a pose is"),
        (np.zeros((5, 22, 3)), {}, "kinect-22 have no confidences"),
        (np.zeros((5, 16, 3)), {"entry": 5}, "the entry at frame 5, and the pose has frames 0 to 4"),
        (np.zeros((5, 16, 3)), {"entry": 3, "take_off": 3}, "is not before the entry"),
        (np.zeros((5, 16, 3)), {"entry": 3, "first": 10}, "the entry at frame 3, and the pose has frames 10 to 14"),
    ],
)
def test_what_is_no_pose_is_refused(pose: np.ndarray, said: dict, message: str):
    with pytest.raises(BadParameter, match=message):
        dive_of(pose, **said)


def test_nothing_heavy_is_needed():
    heavy = "{'torch', 'sklearn', 'h5py', 'av', 'scipy', 'pandas'}"
    code = f"import sys, aqa.heads.measures, aqa.heads.reference; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
