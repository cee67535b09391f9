"""Phases of a dive from labels, from given frames, and from the pose where that can tell."""

from __future__ import annotations

import re

import numpy as np
import pytest

from aqa.catalog.sub_actions import PIKE, STRAIGHT, TAKE_OFFS, TUCK, TWISTS, are_sub_actions
from aqa.heads import joint_angles as joints
from aqa.heads.dive_phases import Phases
from aqa.heads.free_fall import MOVING, Fall, falls, free_fall
from aqa.heads.measures import dive_of, measure

from .stick_figures import TORSO, figure, inward_dive, pose_of, thrown

METRE = TORSO / 0.5


def phases(pose: np.ndarray, **said) -> Phases:
    return dive_of(pose, **said).phases


# --- FineDiving's labels


def test_every_sub_action_has_one_meaning():
    kinds = [TAKE_OFFS, STRAIGHT, PIKE, TUCK, TWISTS, {36}]
    assert sum(map(len, kinds)) == len(set().union(*kinds))
    assert set().union(*kinds) == set(range(1, 43)) - {38}  # 38 is the background


@pytest.mark.parametrize(
    ("labels", "known"),
    [
        ([4, 4, 25, 25, 36], True),
        ([1, 31, 14, 36, 36], True),
        ([4, 25, 35], True),
        ([], False),
        ([4, 4], False),
        ([0, 1, 2, 3], False),  # LOGO's
        ([25, 36], False),
        ([4, 25, 38, 36], False),
    ],
)
def test_labels_of_dives_are_told_from_others(labels: list[int], known: bool):
    assert are_sub_actions(labels) is known


def test_phases_of_labels():
    pose, _ = inward_dive()
    said = phases(pose, labels=[1] * 6 + [37] * 4 + [31] * 10 + [14] * 10 + [36] * 15)
    assert said.flight.frames == tuple(range(6, 30))
    assert said.somersault.frames == (*range(6, 10), *range(20, 30))
    assert said.twists.frames == tuple(range(10, 20))
    assert said.entry.frames == (30,)
    assert said.straight_legs.frames == (*range(6, 10), *range(20, 33))
    assert (said.position, said.flight.source) == ("pike", "labels")


def test_a_clip_that_ends_before_the_entry():
    pose, _ = inward_dive()
    said = phases(pose, labels=[1] * 10 + [22] * 35)
    assert said.entry.missing == "no frame is labelled as the entry"
    assert said.straight_legs.missing == said.entry.missing
    assert said.flight.frames


def test_labels_of_another_number_of_frames_are_of_no_use():
    pose, labels = inward_dive()
    assert phases(pose, labels=labels[:-1]).entry.missing
    assert phases(pose, labels=[label + 50 for label in labels]).entry.missing


# --- Given


def test_frames_that_are_given():
    pose, labels = inward_dive(hip=50)
    said = phases(pose, labels=labels, take_off=6, entry=34, kind="407C")
    assert said.flight.frames == tuple(range(6, 34))
    assert {said.flight.source, said.entry.source} == {"given"}
    assert (said.position, said.twists.missing) == ("tuck", "this dive has no twists")
    found = {one.name: one for one in measure(dive_of(pose, take_off=5, entry=35))}
    assert found["somersault_hip"].value == pytest.approx(50, abs=1e-3)
    assert (found["somersault_hip"].phases, found["feet_apart"].phases) == ("pose", "given")


@pytest.mark.parametrize(
    ("kind", "position", "twists"),
    [
        ("107B", "pike", False),
        ("101A", "straight", False),
        ("614B", "pike", False),
        ("6243d", "", True),
        ("5152b", "pike", True),
        ("", "", True),
        ("x", "", True),
    ],
)
def test_what_a_dive_number_says(kind: str, position: str, twists: bool):
    said = phases(inward_dive()[0], kind=kind)
    assert said.position == position
    assert (said.twists.missing != "this dive has no twists") is twists


# --- From the pose


def test_the_somersault_is_where_the_trunk_turns():
    pose, _ = inward_dive()
    said = phases(pose)
    assert said.somersault.source == "pose"
    turns = joints.trunk_turns(pose[..., :2].astype(float))
    assert turns[-1] == pytest.approx(540, abs=1e-3)
    assert all(45 < turns[i] < 495 for i in said.somersault.frames)
    assert said.somersault.frames == tuple(range(said.somersault.frames[0], said.somersault.frames[-1] + 1))
    assert said.flight.missing == "where the flight begins is not known"


def test_a_cut_is_seen_by_the_turn_of_the_trunk():
    pose, _ = inward_dive()
    pose[19:] = pose[:26]
    assert "degrees after frame 18: a cut" in phases(pose).somersault.missing
    assert "degrees after frame 1018: a cut" in phases(pose, first=1000).somersault.missing


def test_a_trunk_that_is_away_for_long_may_have_turned_by_anything():
    pose, _ = inward_dive()
    pose[15:18, 7, 2] = 0
    assert phases(pose).somersault.frames
    pose[18, 7, 2] = 0
    assert phases(pose).somersault.missing == "the trunk is not seen for 4 frames after frame 14"


def test_who_does_not_turn_makes_no_somersault():
    pose = pose_of([figure(lean=3.0 * k) for k in range(40)])
    assert phases(pose).somersault.missing == "the trunk turns by 117 degrees: no somersault"


def test_the_entry_is_where_the_track_ends_head_first():
    pose, _ = inward_dive()
    assert phases(pose).entry.missing
    gone = pose.copy()
    gone[36:, :, 2] = 0
    said = phases(gone, kind="403C").entry
    assert (said.frames, said.source) == ((35,), "pose")
    gone = pose.copy()
    gone[3:, :, 2] = 0  # still on the feet
    assert phases(gone, kind="403C").entry.missing


@pytest.mark.parametrize(
    ("seen", "kind", "why"),
    [
        (36, "", "nobody is seen behind frame 35, at the entry or before it"),
        (36, "405C", "nobody is seen behind frame 35, after 540 of 900 degrees"),
        (36, "612B", "nobody is seen behind frame 35, at the entry or before it"),  # an armstand is head first at once
        (16, "403C", r"nobody is seen behind frame 15, after 1\d\d of 540 degrees"),
        (1, "403C", "where the entry begins is not known"),
    ],
)
def test_a_diver_who_is_lost_has_neither_entry_nor_somersault(seen: int, kind: str, why: str):
    pose, _ = inward_dive()
    gone = pose.copy()
    gone[seen:, :, 2] = 0
    said = phases(gone, kind=kind)
    assert re.fullmatch(why, said.entry.missing)
    assert said.somersault.missing
    assert not said.somersault.frames


# --- Free fall


def thrown_dive(up: float = 2.5, along: float = 1.2, fps: float = 25.0, metre: float = METRE) -> np.ndarray:
    return thrown(inward_dive()[0], up, along, slice(5, 35), fps, metre)


@pytest.mark.parametrize("fps", [24.0, 25.0, 29.97])
def test_a_fall_is_found_from_begin_to_end(fps: float):
    pose = thrown_dive(fps=fps).astype(float)
    centre = joints.centre_of_mass(pose[..., :2])
    fall = free_fall(centre, TORSO, fps)
    assert isinstance(fall, Fall)
    assert abs(fall.start - 5) <= 1
    assert abs(fall.stop - 35) <= 2
    assert fall.torso == pytest.approx(0.5, rel=0.05)


def test_height_and_distance_of_a_still_camera():
    up, along, fps = 2.5, 1.2, 25.0
    pose, labels = thrown_dive(up, along), inward_dive()[1]
    said = {one.name: one for one in measure(dive_of(pose, labels=labels, fps=fps))}
    assert said["height"].value == pytest.approx(up**2 / (2 * 9.81) / 0.5, abs=0.02)
    assert said["distance"].value == pytest.approx(along * 29 / fps / 0.5, abs=0.01)
    assert said["height"].frames[0] == 5
    assert said["distance"].frames == (5, 34)
    alone = {one.name: one for one in measure(dive_of(pose, fps=fps))}  # without labels
    assert alone["height"].value == pytest.approx(said["height"].value, abs=0.06)
    assert alone["distance"].value == pytest.approx(said["distance"].value, abs=0.3)
    assert alone["entry_tilt"].phases == "pose"


@pytest.mark.parametrize(
    ("pose", "fps"),
    [
        (thrown_dive(), 40.0),
        (thrown_dive(metre=3 * METRE), 25.0),
        (inward_dive()[0], 25.0),  # the camera follows
        (inward_dive()[0][:, :, :] * [1, 0, 1], 25.0),
    ],
    ids=["another frame rate", "another size", "a camera that follows", "flat"],
)
def test_what_does_not_fall_has_no_height(pose: np.ndarray, fps: float):
    found = {one.name: one for one in measure(dive_of(pose, labels=inward_dive()[1], fps=fps))}
    assert found["height"].reason == found["distance"].reason == MOVING
    assert phases(pose, fps=fps).flight.missing


def test_a_camera_that_pans_evenly_and_one_that_jerks():
    pose = thrown_dive()
    jerk = pose.copy()
    jerk[20:, :, 0] += 0.4 * TORSO
    found = {one.name: one for one in measure(dive_of(jerk, labels=inward_dive()[1], fps=25.0))}
    assert found["distance"].reason == MOVING


def test_a_rate_that_nobody_knows():
    pose, labels = thrown_dive(), inward_dive()[1]
    found = {one.name: one for one in measure(dive_of(pose, labels=labels))}
    assert found["height"].reason == "how many frames there are in a second is not known"
    pose[8:32, 10, 2] = 0  # a wrist: the centre of mass is not known
    found = {one.name: one for one in measure(dive_of(pose, labels=labels, fps=25.0))}
    assert found["height"].reason == "the whole body is seen in 6 frames of the flight, fewer than 0.6 s"


def test_noise_moves_the_ends_of_a_fall_little():
    rng = np.random.default_rng(3)
    clean = thrown_dive().astype(float)[..., :2]
    for _ in range(10):
        fall = free_fall(joints.centre_of_mass(clean + rng.normal(size=clean.shape) * 0.03 * TORSO), TORSO, 25.0)
        assert isinstance(fall, Fall)
        assert abs(fall.start - 5) <= 3
        assert abs(fall.stop - 35) <= 3


def test_a_span_that_is_too_short_is_no_fall():
    centre = joints.centre_of_mass(thrown_dive().astype(float)[..., :2])
    assert isinstance(falls(centre, TORSO, 25.0, 5, 35), Fall)
    assert isinstance(falls(centre, TORSO, 25.0, 5, 15), str)
    assert isinstance(falls(centre, float("nan"), 25.0, 5, 35), str)
