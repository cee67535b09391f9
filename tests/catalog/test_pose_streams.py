"""Poses and kinematics that the folders of data sets carry."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from aqa import catalog
from aqa.catalog import demo, kinect
from aqa.catalog.demo import body, diver, render, scene
from aqa.catalog.demo.looks import looks
from aqa.catalog.demo.programme import dives
from aqa.catalog.skeletons import of_joints, skeleton, to_mpii
from aqa.errors import AnnotationError

MPII, KINECT = skeleton("mpii-16"), skeleton("kinect-22")
LEFT, RIGHT = ([f"{side}_{word}" for word in ("lower_leg", "foot", "forearm", "hand")] for side in ("left", "right"))

# --- demo


@pytest.fixture(scope="module")
def poses(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo")
    render.write_poses(root / "poses.npz")
    return root


def test_poses_of_demo(poses: Path):
    dataset, found = demo.read(poses), catalog.streams("demo")["pose"](poses)
    assert list(found) == [sample.id for sample in dataset.samples]
    dive = dives()[51]
    pose = found[dive.id]
    assert (pose.dtype, pose.shape) == (np.float32, (sum(dive.frames), 16, 3))
    np.testing.assert_array_equal(pose[..., :2], scene.joints(dive))
    assert all((pose[..., 2] == 1).all() and len(pose) == len(dataset.by_id[i].phases) for i, pose in found.items())
    assert of_joints(pose.shape[1]) is MPII
    np.testing.assert_array_equal(catalog.streams("demo")["pose"](poses / "poses.npz")[dive.id], pose)


def test_left_of_demo_is_left_of_mpii():
    """The joints of the body carry the names that the layout gives them: right ankle first, left wrist last."""
    dive = dives()[0]
    points = diver.motion(dive, looks(dive).size).points[0]  # before the take-off; y to the diver's left
    assert (body.R_ANKLE, body.L_WRIST, body.PELVIS, body.HEAD) == (0, 15, 6, 9)
    facing = 1.0 if dive.number.faces_water else -1.0
    for word in ("ankle", "knee", "hip", "wrist", "elbow", "shoulder"):
        left, right = (points[MPII.joints.index(f"{side}_{word}"), 1] for side in ("left", "right"))
        assert facing * (left - right) > 0


def test_poses_of_demo_that_are_not_there_or_not_whole(poses: Path, tmp_path: Path):
    stream = catalog.streams("demo")["pose"]
    with pytest.raises(AnnotationError, match=r"no poses.*poses\.npz.*`aqa demo`"):
        stream(tmp_path)
    with np.load(poses / "poses.npz") as stored:
        arrays = dict(stored)
    for name, value in (
        ("offsets", arrays["offsets"][:-1]),
        ("poses", arrays["poses"][:-3]),
        ("ids", arrays["ids"][1:]),
    ):
        np.savez(tmp_path / "poses.npz", **{**arrays, name: value})
        with pytest.raises(AnnotationError, match="not the poses that aqa wrote"):
            stream(tmp_path)


# --- FineDiving

ROWS = {
    ("01", 1): ["407c", 88.0, 3.2, [2, 34], [4] * 3 + [25] * 7],
    ("01", 2): ["407c", 86.4, 3.2, [11, 47], [4] * 2 + [25] * 4],
    ("World_r1", 8): ["5253b", 75.2, 3.2, [1, 32], [5] * 2 + [13] * 6],
}


@pytest.fixture
def finediving(tmp_path: Path, dump) -> Path:
    dump(tmp_path / "Annotations/fine-grained_annotation_aqa.pkl", ROWS)
    dump(tmp_path / "Annotations/train_split.pkl", [("01", 2), ("World_r1", 8)])
    dump(tmp_path / "Annotations/test_split.pkl", [("01", 1)])
    return tmp_path


def annotation(file: Path, numbers: list[int]) -> None:
    rows = [
        {"joints": [[n + j, j] for j in range(16)], "joints_vis": [1] * 16, "image": f"{n:05d}.jpg"} for n in numbers
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(rows))


@pytest.mark.parametrize("folder", ["Pose/{}", "FineDiving/Pose/{}", "{}"])
def test_estimated_poses_of_finediving(finediving: Path, folder: str):
    for event, index in (("01", 1), ("World_r1", 8)):
        file = finediving / folder.format(event) / f"pred_comp_{index}.npz"
        file.parent.mkdir(parents=True)
        np.savez(file, pred=np.full((96, 16, 2), index, np.float64))
    found = catalog.streams("finediving")["pose"](finediving)
    assert {i: pose.shape for i, pose in found.items()} == {"01_1": (96, 16, 3), "World_r1_8": (96, 16, 3)}
    assert found["World_r1_8"][5, 3].tolist() == [8, 8, 1]


def test_annotated_poses_of_finediving(finediving: Path):
    annotation(finediving / "FineDiving-Pose/01/1.json", [7378, 7379, *range(7382, 7388)])
    annotation(finediving / "FineDiving-Pose/01/2.json", list(range(6)))
    (finediving / "Pose/01").mkdir(parents=True)
    np.savez(finediving / "Pose/01/pred_comp_1.npz", pred=np.ones((96, 16, 2)))  # the layout with more files is taken
    found = catalog.streams("finediving")["pose"](finediving)
    assert {i: pose.shape for i, pose in found.items()} == {"01_1": (10, 16, 3), "01_2": (6, 16, 3)}
    assert found["01_1"][:, 0, 2].tolist() == [1, 1, 0, 0, 1, 1, 1, 1, 1, 1]
    np.testing.assert_allclose(found["01_1"][:, 0, 0], np.arange(7378, 7388))


def test_annotated_poses_of_another_number_of_frames(finediving: Path):
    annotation(finediving / "Pose/01/2.json", [0, 1, 2, 3])
    with pytest.raises(AnnotationError, match=r"4 frames of pose, 6 of the dive.*2\.json, sample 01_2.*--root"):
        catalog.streams("finediving")["pose"](finediving)


def test_no_poses_of_finediving(finediving: Path):
    with pytest.raises(AnnotationError, match=r"no poses: looked for Pose/\{event\}/pred_comp_\{index\}\.npz"):
        catalog.streams("finediving")["pose"](finediving)


# --- JIGSAWS

LABELS = {f"{task}_B00{n}": [1, 2, 3, 4, 5, n] for task in ("Suturing", "Knot_Tying") for n in (1, 2)}


def kinematics(file: Path, rows: int, columns: int = 76) -> np.ndarray:
    table = np.random.default_rng(rows).normal(size=(rows, columns)).round(6)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join("    " + "    ".join(f"{x:.6f}" for x in row) + "\n" for row in table))
    return table


@pytest.mark.parametrize("release", [".", "JIGSAWS"])
def test_kinematics_of_jigsaws(tmp_path: Path, dump, release: str):
    dump(tmp_path / release / "info/label.pkl", LABELS)
    folder = tmp_path / release / "Suturing/kinematics/AllGestures"
    tables = {f"Suturing_B00{n}": kinematics(folder / f"Suturing_B00{n}.txt", 30 * n) for n in (1, 2)}
    kinematics(folder / "Suturing_Z009.txt", 3)  # nobody marked it
    found = catalog.streams("jigsaws")["kinematics"](tmp_path)
    assert {trial: table.shape for trial, table in found.items()} == {trial: t.shape for trial, t in tables.items()}
    for trial, table in tables.items():
        np.testing.assert_allclose(found[trial], table, rtol=1e-6)
        assert found[trial].dtype == np.float32


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("1 2 3\n", "wanted 76 columns, got 3"),
        (" ".join(["1"] * 76) + "\n" + " ".join(["1"] * 75), "not a table of numbers.*changed from 76 to 75 at row 2"),
        (" ".join(["1"] * 75) + " x", "not a table of numbers"),
        ("\n".join([" ".join(["1"] * 76), " ".join(["1"] * 75) + " nan"]), "row 2 has a number that is not finite"),
        (" ".join(["1"] * 75) + " 1e300", "row 1 has a number that is not finite"),
    ],
)
def test_bad_kinematics(tmp_path: Path, dump, text: str, said: str):
    dump(tmp_path / "info/label.pkl", LABELS)
    file = tmp_path / "kinematics/AllGestures/Suturing_B001.txt"
    kinematics(file, 1)
    file.write_text(text)
    with pytest.raises(AnnotationError, match=rf"{said}.*Suturing_B001\.txt, sample Suturing_B001"):
        catalog.streams("jigsaws")["kinematics"](tmp_path)


def test_no_kinematics(tmp_path: Path, dump):
    dump(tmp_path / "info/label.pkl", LABELS)
    with pytest.raises(AnnotationError, match="no kinematics: looked for"):
        catalog.streams("jigsaws")["kinematics"](tmp_path)


# --- UI-PRMD


@pytest.fixture(scope="module")
def joints(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    return catalog.streams("ui-prmd")["joints"](request.getfixturevalue("shared_data") / "ui-prmd")


def test_joints_of_ui_prmd(joints: dict[str, np.ndarray], shared_data: Path):
    positions = catalog.streams("ui-prmd")["positions"](shared_data / "ui-prmd")
    assert joints.keys() == positions.keys()
    for i, at in joints.items():
        assert at.shape == (len(positions[i]), 22, 3)
        relative = positions[i].reshape(-1, 22, 3)
        for joint, parent in enumerate(kinect.PARENTS):  # turning keeps lengths
            bone = at[:, joint] - (at[:, parent] if parent >= 0 else 0)
            np.testing.assert_allclose(
                np.linalg.norm(bone, axis=-1), np.linalg.norm(relative[:, joint], axis=-1), atol=2e-3
            )
    assert {frozenset((j, p)) for j, p in enumerate(kinect.PARENTS) if p >= 0} == set(map(frozenset, KINECT.bones))


def test_people_of_ui_prmd_stand_before_the_camera(joints: dict[str, np.ndarray]):
    """The layout is a fact: head above feet, left at larger x of who faces the camera, toes towards it."""
    first = np.stack([at[0] for at in joints.values()])
    where = {name: first[:, n] for n, name in enumerate(KINECT.joints)}
    order = ("head_tip", "head", "chest", "spine", "waist", "left_lower_leg", "left_foot")
    heights = np.stack([where[name][:, 1] for name in order])
    assert (np.diff(heights, axis=0) > 0).all()  # y grows downwards
    for left, right in zip(LEFT, RIGHT, strict=True):
        assert (where[left][:, 0] > where[right][:, 0]).all()
    for side in ("left", "right"):
        assert (where[f"{side}_toes"][:, 2] < where[f"{side}_foot"][:, 2]).mean() > 0.97  # z grows away from the camera
    assert (where["waist"][:, 2] > 100).all()


def test_feet_stand_still_while_the_body_goes_down(joints: dict[str, np.ndarray]):
    """Which tells the order of the angles: with the one of the authors' program feet drift by 19 cm in a deep squat."""
    drift, depth = [], []
    for at in (at for i, at in joints.items() if i.startswith("m01")):
        feet = at[:, [KINECT.joints.index(f"{side}_foot") for side in ("left", "right")]]
        drift.append(np.median(np.linalg.norm(feet - np.median(feet, axis=0), axis=-1)))
        depth.append(np.ptp(at[:, 0, 1]))
    assert np.mean(depth) > 40
    assert np.mean(drift) < 4
    still = []
    for at in (at for i, at in joints.items() if i.startswith("m02")):  # a hurdle step stands on one foot
        feet = at[:, [KINECT.joints.index(f"{side}_foot") for side in ("left", "right")]]
        still.append(np.median(np.linalg.norm(feet - np.median(feet, axis=0), axis=-1), axis=0).min())
    assert np.mean(still) < 1.5


def test_rotations_are_those_of_three_turns():
    angles = np.random.default_rng(0).uniform(-np.pi, np.pi, (50, 3))
    turns = []
    for axis, angle in zip(range(3), angles.T, strict=True):
        turn = np.zeros((50, 3, 3))
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn[:, axis, axis] = 1
        turn[:, a, a] = turn[:, b, b] = np.cos(angle)
        turn[:, b, a], turn[:, a, b] = np.sin(angle), -np.sin(angle)
        turns.append(turn)
    x, y, z = turns
    np.testing.assert_allclose(kinect._rotations(angles), z @ x @ y, atol=1e-12)


def test_a_kinect_body_has_mpii_s_joints(joints: dict[str, np.ndarray]):
    at = joints["m01_s01_e01"]
    made = to_mpii(at, KINECT)
    for name, source in (("right_wrist", "right_hand"), ("left_knee", "left_lower_leg"), ("head_top", "head_tip")):
        np.testing.assert_array_equal(made[:, MPII.joints.index(name)], at[:, KINECT.joints.index(source)])
    heights = made[0, [MPII.joints.index(n) for n in ("head_top", "upper_neck", "thorax", "pelvis", "left_knee")], 1]
    assert (np.diff(heights) > 5).all()


def test_angles_and_positions_must_be_of_one_kind(tmp_path: Path):
    for kind, rows in (("Angles", 3), ("Positions", 4)):
        folder = tmp_path / "Segmented Movements/Kinect" / kind
        folder.mkdir(parents=True)
        (folder / f"m01_s01_e01_{kind.lower()}.txt").write_text((",".join(["0"] * 66) + "\n") * rows)
    stream = catalog.streams("ui-prmd")["joints"]
    with pytest.raises(AnnotationError, match=r"angles are \[3, 66\], positions \[4, 66\].*m01_s01_e01"):
        stream(tmp_path)
    (folder / "m01_s01_e02_positions.txt").write_text(",".join(["0"] * 66))
    with pytest.raises(AnnotationError, match=r"positions without angles.*m01_s01_e02"):
        stream(tmp_path)
