"""The divers obey mechanics, and their poses are where the pictures show them."""

from __future__ import annotations

import numpy as np
import pytest

from aqa.catalog.demo import body, diver, scene
from aqa.catalog.demo.programme import GRAVITY, PLATFORM, RATE, Dive, dives

EACH = {dive.number.text: dive for dive in reversed(dives())}  # the first dive of every number
pytestmark = pytest.mark.parametrize("dive", EACH.values(), ids=EACH.keys())


def flight_of(dive: Dive) -> slice:
    return slice(dive.frames[0], dive.frames[0] + dive.frames[1] + 1)


def trunk_angle(points: np.ndarray) -> np.ndarray:
    """Angle of the trunk from upright in the plane of the somersault, rad, without jumps; away from the platform +."""
    trunk = points[:, body.THORAX] - points[:, body.PELVIS]
    return np.unwrap(np.arctan2(trunk[:, 0], trunk[:, 2]))


def test_limbs_keep_their_lengths(dive: Dive) -> None:
    points = diver.motion(dive, 1.05).points
    for begin, end, *_ in scene.LIMBS:
        lengths = np.linalg.norm(points[:, end] - points[:, begin], axis=-1)
        assert np.ptp(lengths) < 1e-9


def test_centre_of_mass_falls_freely(dive: Dive) -> None:
    centre = body.centre_of_mass(diver.motion(dive).points)[flight_of(dive)]
    acceleration = np.diff(centre, 2, axis=0) * RATE**2
    np.testing.assert_allclose(acceleration[:, 2], -GRAVITY, rtol=1e-9)
    np.testing.assert_allclose(acceleration[:, :2], 0.0, atol=1e-9)


def test_better_jumps_go_higher(dive: Dive) -> None:
    if dive.number.armstand:
        return
    centre = body.centre_of_mass(diver.motion(dive).points)[flight_of(dive), 2]
    rise = centre.max() - centre[0]
    nominal = (3.3 - 1.4 * dive.faults.height) ** 2 / (2 * GRAVITY)
    assert abs(rise - nominal) < 0.2


def test_somersaults_are_those_of_the_dive_number(dive: Dive) -> None:
    """The trunk turns by as many half turns as the number says, plus the error of the entry."""
    angle = trunk_angle(diver.motion(dive).points)[flight_of(dive)]
    start = np.pi if dive.number.armstand else 0.0
    turned = abs(angle[-1] - round((angle[0] - start) / (2 * np.pi)) * 2 * np.pi - start)
    expected = np.pi * dive.number.somersaults + diver.WORST_ENTRY * dive.faults.entry
    assert turned == pytest.approx(expected, abs=1e-6)


def test_forward_and_back_dives_turn_over_the_water_reverse_and_inward_ones_over_the_platform(dive: Dive) -> None:
    angle = trunk_angle(diver.motion(dive).points)[flight_of(dive)]
    assert (angle[-1] > angle[0]) == (dive.number.direction in ("forward", "back"))


def test_angular_momentum_is_constant_in_flight(dive: Dive) -> None:
    points = diver.motion(dive).points
    angle = trunk_angle(points)[flight_of(dive)]
    inertia = body.moment_of_inertia(body.points(diver.poses(dive, (np.arange(len(points)) - dive.frames[0]) / RATE)))
    inertia = inertia[flight_of(dive)]
    momentum = np.diff(angle) * (inertia[1:] + inertia[:-1]) / 2
    steady = np.abs(np.diff(inertia)) < 0.02 * inertia[1:]  # a frame is long where the shape changes
    assert steady.sum() >= 5
    assert np.ptp(momentum[steady]) < 0.1 * abs(momentum[steady]).mean()


def test_twists_are_those_of_the_dive_number(dive: Dive) -> None:
    """Seen along the trunk, the shoulders turn by the half turns of the number."""
    if not dive.number.twists:
        return
    points = diver.motion(dive).points[flight_of(dive)]
    trunk = points[:, body.THORAX] - points[:, body.PELVIS]
    front = np.stack([trunk[:, 2], np.zeros(len(trunk)), -trunk[:, 0]], -1)
    front /= np.linalg.norm(front, axis=-1, keepdims=True)
    shoulders = points[:, body.L_SHOULDER] - points[:, body.R_SHOULDER]
    turned = np.unwrap(np.arctan2((shoulders * front).sum(-1), shoulders[:, 1]))
    assert abs(turned[-1] - turned[0]) == pytest.approx(np.pi * dive.number.twists, abs=1e-6)


def test_feet_or_hands_stay_on_the_edge_until_the_flight(dive: Dive) -> None:
    points = diver.motion(dive).points[: dive.frames[0]]
    held = points[:, body.HANDS if dive.number.armstand else body.TOES].mean(1)
    np.testing.assert_allclose(held, [[-0.06, 0.0, PLATFORM + 0.02]] * len(held), atol=1e-9)


def test_hands_touch_the_water_when_the_entry_begins(dive: Dive) -> None:
    motion = diver.motion(dive)
    touch = dive.frames[0] + dive.frames[1]
    assert motion.points[touch, body.HANDS, 2].min() == pytest.approx(0.0, abs=1e-9)
    assert motion.points[:touch, :, 2].min() > 0
    assert 0 < motion.contact < 4
    assert dive.phases[touch - 1] != dive.phases[touch] == 36


def test_poses_are_in_the_picture_until_the_water_takes_them(dive: Dive) -> None:
    joints = scene.joints(dive)
    assert joints.shape == (sum(dive.frames), 16, 2)
    assert joints.dtype == np.float32
    dry = joints[: dive.frames[0] + dive.frames[1]]
    centre = dry.mean(1)
    assert dry.min() > 0
    assert (dry < [scene.WIDTH, scene.HEIGHT]).all()
    # What a square centre crop of 112 of 171 x 128 keeps.
    assert (abs(centre - [80, 60]) < [52, 52]).all()
