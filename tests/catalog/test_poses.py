"""Files of poses that people have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aqa.catalog.poses import (
    filled,
    is_pose,
    mediapipe_rows,
    read_finediving_pose,
    read_mediapipe,
    read_pose,
    read_predicted,
)
from aqa.errors import AnnotationError


def entry(frame: int, x: float = 0.0, name: str = "finediv{:05d}.jpg") -> dict[str, Any]:
    return {
        "joints_vis": [1] * 16,
        "joints": [[x + j, 2.0 * j] for j in range(16)],
        "image": name.format(frame),
        "scale": 1.1,
        "center": [x, 1.0],
    }


@pytest.fixture
def annotated(tmp_path: Path) -> Callable[[Any], Path]:
    def write(rows: Any) -> Path:
        (tmp_path / "clip.json").write_text(rows if isinstance(rows, str) else json.dumps(rows))
        return tmp_path / "clip.json"

    return write


def mediapipe_text(rows: int, landmarks: int = 33) -> str:
    """Row n: landmark j at (n / 100, j / 100), visibility .9."""
    frame = "1 \n{n} \n" + " ".join(["-1"] * 10) + "\n"
    lines = [str(rows)]
    for n in range(rows):
        joints = [f"{n / 100} {j / 100} 0.9" + " -1" * 9 for j in range(landmarks)]
        lines.append(frame.format(n=landmarks) + "\n".join(joints))
    return "\n".join(lines) + "\n"


# --- FineDiving-Pose, annotated by hand


def test_the_real_example(shared_data: Path):
    pose = read_finediving_pose(shared_data / "finediving-pose" / "annotations_examples.json")
    assert pose.shape == (101, 16, 3)
    assert pose.dtype == np.float32
    first = [
        [228.83, 204.41], [219.19, 159.23], [214.21, 130.33], [215.21, 130.33], [220.19, 159.56], [229.16, 203.42],
        [214.54, 129.66], [193.95, 80.82], [190.62, 76.50], [182.65, 62.22], [194.61, 7.73], [190.29, 35.97],
        [193.61, 63.88], [194.61, 63.55], [190.62, 34.64], [193.95, 7.40],
    ]  # fmt: skip
    np.testing.assert_allclose(pose[0, :, :2], first, atol=0.006)
    assert (pose[..., 2] == 1).all()
    np.testing.assert_array_equal(filled(pose), pose)


def test_frames_that_are_left_out_are_gaps_and_no_shift(annotated):
    numbers = [7378, 7379, 7382, 7383]
    pose = read_finediving_pose(annotated([entry(n, x=10.0 * n) for n in reversed(numbers)]))
    assert pose.shape == (6, 16, 3)
    assert np.isnan(pose[2:4, :, :2]).all()
    assert (pose[2:4, :, 2] == 0).all()
    closed = filled(pose)
    np.testing.assert_allclose(closed[:, 0, 0], 10.0 * np.arange(7378, 7384))
    assert closed[:, 3, 2].tolist() == [1, 1, 0, 0, 1, 1]


def test_joints_that_are_not_visible(annotated):
    rows = [entry(n, x=float(n)) for n in range(3)]
    rows[1]["joints_vis"][4], rows[1]["joints"][4] = 0, [-1, -1]
    rows[2]["joints_vis"][5], rows[2]["joints"][5] = 0, [None, None]
    pose = read_finediving_pose(annotated(rows))
    assert np.argwhere(pose[..., 2] == 0).tolist() == [[1, 4], [2, 5]]
    np.testing.assert_allclose(filled(pose)[1, 4], [5, 8, 0])


def test_one_frame(annotated):
    assert read_finediving_pose(annotated([entry(41)])).shape == (1, 16, 3)


def changed(field: str, value: Any) -> list[dict[str, Any]]:
    row = entry(1)
    if value is None:
        del row[field]
    else:
        row[field] = value
    return [entry(0), row]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("", "not a whole JSON file"),
        (json.dumps([entry(0), entry(1)])[:-40], "not a whole JSON file"),
        ("[" * 100_000, "not a whole JSON file"),
        ([], "not a list of one object per frame"),
        ({"frames": [entry(0)]}, "not a list of one object per frame"),
        ([entry(0), 5], "not a list of one object per frame"),
        (changed("joints_vis", None), "finediv00001.jpg has no joints_vis.*field joints_vis"),
        (changed("joints", None), "finediv00001.jpg has no joints.*field joints"),
        (changed("image", None), "no number of a frame.*field image"),
        (changed("image", "cover.jpg"), "no number of a frame.*cover.*field image"),
        (changed("image", 7), "no number of a frame.*field image"),
        (changed("joints", [[0, 0]] * 17), "wanted 16 x 2 numbers, got 17 x 2.*field joints"),
        (changed("joints", [[0, 0, 0]] * 16), "wanted 16 x 2 numbers, got 16 x 3"),
        (changed("joints", [[0, 0]] * 15 + [[0]]), "no numbers.*field joints"),
        (changed("joints", [["a", 0]] * 16), "no numbers.*field joints"),
        (changed("joints", [[10**400, 0]] * 16), "no numbers.*field joints"),
        (changed("joints", [[float("nan"), 0]] * 16), "a visible joint has no finite place.*field joints"),
        (changed("joints_vis", [1] * 15), "wanted 16 numbers, got 15.*field joints_vis"),
        (changed("joints_vis", [float("nan")] * 16), "no finite place"),
        ([entry(0), entry(3), entry(0)], "frame 0 is there twice.*field image"),
        ([entry(0), entry(9_999_999)], "numbered from 0 to 9999999"),
    ],
)
def test_bad_annotations_name_file_sample_and_field(annotated, rows, said):
    with pytest.raises(AnnotationError, match=said) as caught:
        read_finediving_pose(annotated(rows), "01_1")
    assert "clip.json" in str(caught.value)
    assert caught.value.sample == "01_1"


# --- FineDiving-Pose, estimated


@pytest.mark.parametrize("channels", [2, 3])
def test_estimated_poses(tmp_path: Path, channels: int):
    pred = np.random.default_rng(0).uniform(0, 112, (96, 16, channels))
    np.savez(tmp_path / "pred_comp_1.npz", pred=pred)
    pose = read_predicted(tmp_path / "pred_comp_1.npz")
    assert pose.dtype == np.float32
    np.testing.assert_allclose(pose[..., :channels], pred, rtol=1e-6)
    if channels == 2:
        assert (pose[..., 2] == 1).all()


def test_estimated_poses_with_nan_have_gaps(tmp_path: Path):
    pred = np.ones((4, 16, 2))
    pred[1, 2, 0], pred[2] = np.nan, np.inf
    np.savez(tmp_path / "a.npz", pred=pred)
    assert (read_predicted(tmp_path / "a.npz")[..., 2] == 0).sum(1).tolist() == [0, 1, 16, 0]


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"pose": np.ones((96, 16, 2))}, "there is no array pred.*field pred"),
        ({"pred": np.ones((96, 32))}, r"wanted numbers of \[frames, joints, 2 or 3\], got float64 of \[96, 32\]"),
        ({"pred": np.ones((96, 16, 4))}, "2 or 3"),
        ({"pred": np.ones((0, 16, 2))}, r"\[0, 16, 2\]"),
        ({"pred": np.full((2, 16, 2), "a")}, "wanted numbers"),
        ({"pred": np.ones((96, 18, 2))}, r"unknown number of joints '18'.*Known: 16 \(mpii-16\)"),
        ({"pred": np.array([None])}, "npz of numbers"),
    ],
)
def test_bad_estimates(tmp_path: Path, arrays: dict[str, np.ndarray], said: str):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(AnnotationError, match=said) as caught:
        read_predicted(tmp_path / "a.npz", "01_1")
    assert caught.value.sample == "01_1"
    assert Path(str(caught.value.file)).name == "a.npz"


# --- MediaPipe


def test_rows_of_mediapipe(tmp_path: Path):
    file = tmp_path / "1.txt"
    file.write_text(mediapipe_text(3))
    rows = mediapipe_rows(file)
    assert rows.shape == (3, 33, 3)
    np.testing.assert_allclose(rows[2, 32], [0.02, 0.32, 0.9], rtol=1e-6)
    np.testing.assert_array_equal(read_mediapipe(file, frames=3), rows)
    np.testing.assert_array_equal(read_pose(file), rows)


def test_dropped_frames_are_gaps_and_no_shift(tmp_path: Path):
    file = tmp_path / "1.txt"
    file.write_text(mediapipe_text(3))
    pose = read_mediapipe(file, frames=6, which=[0, 3, 5])
    assert (pose[:, 0, 2] > 0).tolist() == [True, False, False, True, False, True]
    np.testing.assert_allclose(pose[[0, 3, 5], 0, 0], [0, 0.01, 0.02])
    np.testing.assert_allclose(filled(pose)[:, 0, 0], [0, 1 / 300, 2 / 300, 0.01, 0.015, 0.02], atol=1e-6)


def test_which_frames_were_dropped_cannot_be_known(tmp_path: Path):
    file = tmp_path / "1.txt"
    file.write_text(mediapipe_text(3))
    for frames in (2, 4):
        with pytest.raises(AnnotationError, match=f"3 rows for {frames} frames.*field frames.*`which`"):
            read_mediapipe(file, "01_1", frames=frames)
    for which in ([0, 1], [0, 0, 1], [0, 2, 1], [1, 2, 4], [-1, 0, 1]):
        with pytest.raises(AnnotationError, match=r"wanted 3 rising numbers below 4.*sample 01_1, field which"):
            read_mediapipe(file, "01_1", frames=4, which=which)


def test_a_video_without_any_detection(tmp_path: Path):
    (tmp_path / "1.txt").write_text("0\n")
    assert mediapipe_rows(tmp_path / "1.txt").shape == (0, 33, 3)
    pose = read_mediapipe(tmp_path / "1.txt", frames=4)
    assert (filled(pose) == 0).all()
    assert pose.shape == (4, 33, 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
        ("Ball_001 10.5 8.3\n", "no text of MediaPipe"),
        ("-1\n", "no text of MediaPipe"),
        (mediapipe_text(2)[:-900], "2 frames of 36 lines are promised.*cut off"),
        (mediapipe_text(2, landmarks=32), "2 frames of 36 lines are promised"),
        (mediapipe_text(2).replace("33 \n", "17 \n"), "row 1: wanted lines of 1 person and of 33 landmarks"),
        (mediapipe_text(2).replace("1 \n33", "2 \n33"), "row 1: wanted lines of 1 person"),
        (mediapipe_text(2).replace("0.01 0.05", "0.01 x"), "row 2.*field landmarks"),
        (mediapipe_text(1).replace("0.0 0.05 0.9" + " -1" * 9, "0.0 0.05"), "row 1.*field landmarks"),
        (mediapipe_text(2).replace("0.01 0.05", "nan 0.05"), "not finite.*field landmarks"),
    ],
)
def test_bad_texts(tmp_path: Path, text: str, said: str):
    (tmp_path / "1.txt").write_text(text)
    with pytest.raises(AnnotationError, match=said) as caught:
        mediapipe_rows(tmp_path / "1.txt", "01_1")
    assert (caught.value.sample, Path(str(caught.value.file)).name) == ("01_1", "1.txt")


# --- By suffix


def test_what_is_taken_for_a_pose(tmp_path: Path):
    np.savez(tmp_path / "pred.npz", pred=np.ones((2, 16, 2)), other=1)
    np.savez(tmp_path / "features.npz", features=np.ones((2, 8)))
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04")
    names = ("pred.npz", "features.npz", "damaged.npz", "missing.npz", "a.JSON", "a.txt", "a.npy", "a.mp4")
    assert [is_pose(tmp_path / name) for name in names] == [True, False, False, False, True, True, False, False]
    with pytest.raises(AnnotationError, match=r"not one of \.json \.txt \.npz"):
        read_pose(tmp_path / "a.npy")
