"""Measures of all 240 dives of `demo`, from their pictures' joints, against what is true in three dimensions.

docs/measures.md prints the errors that are bounded here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import spearmanr

from aqa.catalog.demo import body, diver, scene
from aqa.catalog.demo.looks import looks
from aqa.catalog.demo.programme import RATE, Dive, dives
from aqa.heads.measures import Measured, dive_of, measure

TORSO = 0.5  # m, of a body of 1.75 m


@dataclass(frozen=True)
class Case:
    dive: Dive
    said: dict[str, Measured]  # by the joints in the film's pictures
    still: dict[str, Measured]  # by those of a camera that stands still
    alone: dict[str, Measured]  # likewise, without labels
    true: dict[str, float]
    drawn: dict[str, float]


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return [case_of(dive) for dive in dives()]


def case_of(dive: Dive) -> Case:
    look = looks(dive)
    points = diver.motion(dive, look.size).points
    across = points[..., 0] * np.cos(look.azimuth) - points[..., 1] * np.sin(look.azimuth)
    still = 33.0 * np.stack([across, -points[..., 2]], -1)[:, :16]
    return Case(
        dive,
        *(
            {one.name: one for one in measure(dive_of(with_ones(xy), labels=labels, kind=dive.number.text, fps=RATE))}
            for xy, labels in ((scene.joints(dive), dive.phases), (still, dive.phases), (still, ()))
        ),
        true=truth(dive, points, TORSO * look.size),
        drawn=drawn(dive),
    )


def with_ones(xy: np.ndarray) -> np.ndarray:
    return np.concatenate([xy, np.ones_like(xy[..., :1])], -1)


def between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def quarter(values: np.ndarray, frames: np.ndarray, smallest: bool) -> float:
    """As docs/measures.md says it: the median of the smallest or largest quarter, at least three frames."""
    found = np.sort(values[frames])
    count = max(3, round(len(found) / 4))
    return float(np.median(found[:count] if smallest else found[-count:]))


def spans(dive: Dive) -> dict[str, np.ndarray]:
    labels, entry = np.array(dive.phases), dive.frames[0] + dive.frames[1]
    somersault = np.flatnonzero((labels >= 12) & (labels <= 28))
    straight = set(range(entry - 2, entry + 3)) | (set(somersault) if dive.number.position != "tuck" else set())
    return {
        "somersault": somersault,
        "twists": np.flatnonzero((labels >= 29) & (labels <= 35)),
        "straight": np.array(sorted(straight)),
        "flight": np.arange(dive.frames[0], entry),
    }


def truth(dive: Dive, p: np.ndarray, torso: float) -> dict[str, float]:
    """The same measures of the joints in three dimensions, seen by nobody."""
    at, entry = spans(dive), dive.frames[0] + dive.frames[1]
    trunk, ankles = p[:, body.THORAX] - p[:, body.PELVIS], (p[:, body.R_ANKLE] + p[:, body.L_ANKLE]) / 2
    hips = (between(trunk, p[:, 1] - p[:, 2]) + between(trunk, p[:, 4] - p[:, 3])) / 2
    knees = (between(p[:, 2] - p[:, 1], p[:, 0] - p[:, 1]) + between(p[:, 3] - p[:, 4], p[:, 5] - p[:, 4])) / 2
    lean = between(p[:, body.THORAX] - ankles, np.array([[0.0, 0.0, 1.0]]))[entry]
    centre = body.centre_of_mass(p)[at["flight"]]
    return {
        "somersault_hip": quarter(hips, at["somersault"], True),
        "somersault_knee": quarter(knees, at["somersault"], True),
        "knee_bend": quarter(180 - knees, at["straight"], False),
        "twist_bend": quarter(180 - between(trunk, ankles - p[:, body.PELVIS]), at["twists"], False)
        if len(at["twists"])
        else np.nan,
        "entry_tilt": float(min(lean, 180 - lean)),
        "feet_apart": quarter(np.linalg.norm(p[:, 0] - p[:, 5], axis=-1), at["flight"], False) / torso,
        "height": float(centre[:, 2].max() - centre[0, 2]) / torso,
        "distance": float(abs(centre[-1, 0] - centre[0, 0])) / torso,
    }


def drawn(dive: Dive) -> dict[str, float]:
    """Angles as the diver was told to take them: flexion of hips and knees, over-rotation."""
    at = spans(dive)
    pose = diver.poses(dive, (np.arange(sum(dive.frames)) - dive.frames[0]) / RATE)
    return {
        "somersault_hip": quarter(180 - pose[:, body.HIP], at["somersault"], True),
        "somersault_knee": quarter(180 - pose[:, body.KNEE], at["somersault"], True),
        "knee_bend": quarter(pose[:, body.KNEE], at["straight"], False),
        "entry_tilt": float(np.degrees(diver.WORST_ENTRY * abs(dive.faults.entry))),
    }


def pairs(cases: list[Case], name: str, camera: str = "said", against: str = "true") -> tuple[np.ndarray, np.ndarray]:
    """Measured and true values of the dives in which the measure is one."""
    found = [(getattr(case, camera)[name].value, getattr(case, against)[name]) for case in cases]
    return tuple(np.array([pair for pair in found if pair[0] is not None]).T)


# measure: dives, mean absolute error and its 95th percentile against the joints in three dimensions
BOUNDS = {
    "somersault_hip": (240, 1.5, 3.5),
    "somersault_knee": (120, 10.0, 21.5),
    "knee_bend": (240, 1.0, 3.5),
    "twist_bend": (60, 1.0, 2.5),
    "entry_tilt": (240, 0.5, 1.0),
    "feet_apart": (240, 0.65, 1.1),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_measures_agree_with_three_dimensions(cases: list[Case], name: str):
    count, mean, worst = BOUNDS[name]
    said, true = pairs(cases, name)
    off = np.abs(said - true)
    assert len(off) == count
    assert off.mean() < mean
    assert np.percentile(off, 95) < worst


@pytest.mark.parametrize(
    ("name", "mean", "worst"),
    [("somersault_hip", 0.8, 2.5), ("somersault_knee", 1.0, 2.5), ("knee_bend", 0.4, 1.0), ("entry_tilt", 1.5, 3.0)],
)
def test_measures_agree_with_the_angles_that_were_drawn(cases: list[Case], name: str, mean: float, worst: float):
    said, true = pairs(cases, name, against="drawn")
    off = np.abs(said - true)
    assert off.mean() < mean
    assert np.percentile(off, 95) < worst


def test_a_gap_between_the_feet_is_never_seen_too_large(cases: list[Case]):
    said, true = pairs(cases, "feet_apart")
    assert (said < 1.05 * true).all()


def test_a_camera_that_follows_gives_no_height_and_no_distance(cases: list[Case]):
    for case in cases:
        assert case.said["height"].value is case.said["distance"].value is None


@pytest.mark.parametrize(
    ("name", "camera", "mean"),
    [("height", "still", 0.02), ("distance", "still", 0.05), ("height", "alone", 0.02), ("distance", "alone", 0.15)],
)
def test_a_camera_that_stands_still_gives_both(cases: list[Case], name: str, camera: str, mean: float):
    said, true = pairs(cases, name, camera)
    assert len(said) == 240
    assert np.abs(said - true).mean() < mean


@pytest.mark.parametrize(
    ("name", "mean"), [("somersault_hip", 2.0), ("knee_bend", 1.5), ("feet_apart", 0.65), ("entry_tilt", 7.5)]
)
def test_phases_from_the_pose_alone_cost_little(cases: list[Case], name: str, mean: float):
    said, true = pairs(cases, name, "alone")
    assert len(said) == 240
    assert np.abs(said - true).mean() < mean


@pytest.mark.parametrize(
    ("name", "fault", "camera", "least"),
    [
        ("somersault_hip", "loose", "said", 0.98),
        ("somersault_knee", "loose", "said", 0.98),
        ("knee_bend", "knees", "said", 0.98),
        ("twist_bend", "knees", "said", 0.95),
        ("entry_tilt", "entry", "said", 0.95),
        ("feet_apart", "apart", "said", 0.75),
        ("height", "height", "still", 0.85),
        ("distance", "distance", "still", 0.95),
    ],
)
def test_measures_go_with_the_faults_that_were_drawn(
    cases: list[Case], name: str, fault: str, camera: str, least: float
):
    standing = [case for case in cases if name not in ("height", "distance") or not case.dive.number.armstand]
    chosen = [case for case in standing if getattr(case, camera)[name].value is not None]
    said = [getattr(case, camera)[name].value for case in chosen]
    faults = [getattr(case.dive.faults, fault) for case in chosen]
    if fault == "entry":
        faults = np.abs(faults)
    correlation = spearmanr(said, faults).statistic * (-1 if name == "height" else 1)
    assert correlation > least
