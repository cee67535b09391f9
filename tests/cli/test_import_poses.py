"""`aqa cache import` of poses: from data sets' folders and from files of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from aqa.cache import find_stores, select_store
from aqa.catalog.demo import render
from aqa.errors import DataError, SomeFailed, SplitError


def annotation(file: Path, numbers: list[int]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    joints = [[j, 2 * j] for j in range(16)]
    file.write_text(
        json.dumps(
            [{"joints": [[x + n, y] for x, y in joints], "joints_vis": [1] * 16, "image": f"{n}.jpg"} for n in numbers]
        )
    )


def mediapipe(file: Path, rows: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    frame = "1 \n33 \n" + " ".join(["-1"] * 10) + "\n" + "0.5 0.25 0.9 -1\n" * 33
    file.write_text(f"{rows}\n" + frame * rows)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Four samples: of two the number of frames is known (8)."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "samples.csv").write_text(
        "id,media,score,start_frame,end_frame\na,a.mp4,,2,10\nb,b.mp4,,0,8\nc,,,,\nd,,,,\n"
    )
    return folder


def imported(aqa, own: Path, path: Path, *more: str):
    return aqa("cache", "import", "csv", path, "--root", own, "--as", "pose", "--cache", "cache", *more)


def pose_of(sample: str) -> np.ndarray:
    return select_store(Path("cache"), "csv", "pose").read([sample])[0]


def test_demo(tmp_path: Path, aqa, value):
    render.write_poses(tmp_path / "poses.npz")
    said = value(aqa("cache", "import", "demo", tmp_path, "--as", "pose", "--cache", "cache", "--json"))
    assert (said["done"], said["shape"], said["missing"], said["unaligned"]) == (240, [16, 3], [], [])
    store = select_store(Path("cache"), "demo", "pose")
    values, offsets = store.read(["demo-007"])
    assert values.shape == (offsets[-1], 16, 3)
    assert store.dataset.digest() == "a60afe55ff6a29e6"


def test_annotated_poses_by_their_names(aqa, value, own: Path):
    annotation(own / "poses/a.json", [0, 1, 4, 5, 6, 7])
    annotation(own / "poses/b.json", [0, 1, 2, 3])
    annotation(own / "poses/c.json", [5, 6])
    (own / "poses/README.txt").write_text("how these were made\n")
    result = imported(aqa, own, own / "poses", "--json")
    said = value(result)
    assert (said["done"], said["missing"], said["unused"]) == (3, ["d"], ["README.txt"])
    assert said["unaligned"] == ["b"]
    assert "nobody can say which frames they are of: b" in result.stderr
    np.testing.assert_allclose(pose_of("a")[:, 0], [[n, 0, n not in (2, 3)] for n in range(8)])
    assert pose_of("b").shape == (4, 16, 3)
    sources = select_store(Path("cache"), "csv", "pose").sources()
    assert {i: source.get("aligned") for i, source in sources.items()} == {"a": None, "b": False, "c": None}
    again = value(imported(aqa, own, own / "poses", "--json"))
    assert (again["done"], again["skipped"], again["unaligned"]) == (0, 3, ["b"])


def test_texts_of_mediapipe(aqa, value, own: Path):
    for sample, rows in {"a": 8, "b": 5, "c": 3, "d": 3}.items():
        mediapipe(own / "texts" / f"{sample}.txt", rows)
    said = value(imported(aqa, own, own / "texts", "--json"))
    assert (said["done"], said["shape"], said["unaligned"]) == (4, [33, 3], ["b", "c", "d"])  # of c and d nobody knows


def test_no_person_in_the_whole_video(aqa, value, own: Path):
    mediapipe(own / "texts/a.txt", 8)
    mediapipe(own / "texts/b.txt", 0)
    said = value(imported(aqa, own, own / "texts", "--json"))
    assert (said["done"], said["unaligned"]) == (2, [])
    assert pose_of("b").shape == (8, 33, 3)
    assert (pose_of("b") == 0).all()


def test_nobody_for_nobody_knows_how_long_is_listed_and_the_rest_is_done(aqa, value, own: Path):
    mediapipe(own / "texts/a.txt", 8)
    mediapipe(own / "texts/c.txt", 0)
    mediapipe(own / "texts/d.txt", 3)
    result = imported(aqa, own, own / "texts", "--json")
    assert result.exit_code == SomeFailed.exit_code
    said = json.loads(result.stdout)
    assert (said["done"], said["missing"], [row["id"] for row in said["failed"]]) == (2, ["b"], ["c"])
    assert "1 sample failed: c" in result.stderr
    assert select_store(Path("cache"), "csv", "pose").ids() == ["a", "d"]
    (own / "texts/c.txt").unlink()  # the same store: it was made of the other files
    said = value(imported(aqa, own, own / "texts", "--json"))
    assert (said["done"], said["skipped"], said["failed"], said["missing"]) == (0, 2, [], ["b", "c"])
    assert len(find_stores(Path("cache"))) == 1


def test_the_table_says_how_many_frames_without_a_video_too(aqa, value, own: Path):
    (own / "samples.csv").write_text("id,media,score,start_frame,end_frame\na,,,2,10\nb,,,0,8\nc,,,0,8\n")
    mediapipe(own / "texts/a.txt", 8)
    mediapipe(own / "texts/b.txt", 0)
    mediapipe(own / "texts/c.txt", 5)
    said = value(imported(aqa, own, own / "texts", "--json"))
    assert (said["done"], said["unaligned"], said["failed"]) == (3, ["c"], [])
    assert pose_of("b").shape == (8, 33, 3)
    lines = (own / "samples.csv").read_text().replace("b,,,0,8", "b,,,0,9")
    (own / "samples.csv").write_text(lines)
    assert "sample b: frames 8 -> 9" in imported(aqa, own, own / "texts").stderr


def test_nobody_anywhere(aqa, own: Path):
    mediapipe(own / "texts/c.txt", 0)
    result = imported(aqa, own, own / "texts")
    assert result.exit_code == DataError.exit_code
    assert "no file has a frame with a pose" in result.stderr
    assert find_stores(Path("cache")) == []


def test_more_frames_of_pose_than_of_the_sample(aqa, own: Path):
    annotation(own / "poses/a.json", list(range(9)))
    result = imported(aqa, own, own / "poses")
    assert result.exit_code == DataError.exit_code
    assert "9 frames of pose, and the sample has 8" in result.stderr


def test_estimated_poses_are_poses_and_other_arrays_are_arrays(aqa, value, own: Path):
    (own / "pred").mkdir()
    np.savez(own / "pred/pred_comp_a.npz", pred=np.ones((96, 16, 2)))
    said = value(imported(aqa, own, own / "pred", "--json"))
    assert (said["done"], said["shape"], said["unaligned"]) == (1, [16, 3], [])
    assert (pose_of("a") == 1).all()
    np.save(own / "pred/b.npy", np.ones((4, 16, 2)))  # among other arrays it is one of them
    said = value(imported(aqa, own, own / "pred", "--json"))
    assert (said["done"], said["shape"]) == (2, [16, 2])


def test_one_file(aqa, value, own: Path):
    annotation(own / "c.json", [3, 4])
    said = value(imported(aqa, own, own / "c.json", "--json"))
    assert (said["done"], said["clips"], said["missing"]) == (1, 2, ["a", "b", "d"])
    annotation(own / "someone.json", [3, 4])
    result = imported(aqa, own, own / "someone.json")
    assert result.exit_code == DataError.exit_code
    assert "expected names like a, b, c, d; found someone" in result.stderr.lower()


def test_two_layouts_are_no_stream(aqa, value, own: Path):
    annotation(own / "poses/a.json", list(range(8)))
    mediapipe(own / "poses/c.txt", 4)
    result = imported(aqa, own, own / "poses")
    assert result.exit_code == DataError.exit_code
    assert "features are [4, 33, 3], not [T, 16, 3]" in result.stderr
    assert find_stores(Path("cache")) == []  # so that mending leaves one store, not two of that name
    (own / "poses/c.txt").unlink()
    assert value(imported(aqa, own, own / "poses", "--json"))["done"] == 1
    assert pose_of("a").shape == (8, 16, 3)


def test_a_refused_import_leaves_the_store_that_was_there(aqa, value, own: Path):
    annotation(own / "poses/a.json", list(range(8)))
    assert value(imported(aqa, own, own / "poses", "--json"))["done"] == 1
    mediapipe(own / "poses/c.txt", 4)
    assert imported(aqa, own, own / "poses").exit_code == DataError.exit_code
    assert select_store(Path("cache"), "csv", "pose").ids() == ["a"]


def test_numbers_that_are_not_finite_leave_no_store(aqa, own: Path):
    (own / "arrays").mkdir()
    np.save(own / "arrays/a.npy", np.ones((4, 16, 3)))
    np.save(own / "arrays/b.npy", np.full((4, 16, 3), np.nan))
    result = imported(aqa, own, own / "arrays")
    assert result.exit_code == DataError.exit_code
    assert "NaN or infinite" in result.stderr
    assert find_stores(Path("cache")) == []


def test_what_is_recorded_of_a_sample_is_shown(aqa, value, own: Path):
    annotation(own / "poses/a.json", list(range(8)))
    annotation(own / "poses/b.json", [0, 1, 2, 3])
    assert imported(aqa, own, own / "poses").exit_code == 0
    shown = value(aqa("cache", "show", "csv", "--cache", "cache", "--sample", "b", "--json"))["sample"]
    assert shown["source"] == select_store(Path("cache"), "csv", "pose").sources()["b"]
    assert shown["source"]["aligned"] is False
    lines = aqa("cache", "show", "csv", "--cache", "cache", "--sample", "b").stdout.splitlines()
    assert "sample.source.aligned: False" in lines
    assert "sample.source.import.file: b.json" in lines


def test_a_split_of_train_alone_matters_to_fit_only(aqa, value, own: Path):
    table = "id,media,score,split\n" + "".join(f"{i},,{n},train\n" for n, i in enumerate("abcd"))
    (own / "samples.csv").write_text(table)
    for i in "abcd":
        annotation(own / f"poses/{i}.json", list(range(8)))
    assert value(imported(aqa, own, own / "poses", "--json"))["done"] == 4
    assert value(aqa("cache", "show", "csv", "--cache", "cache", "--json"))["samples"] == 4
    result = aqa("fit", "csv", "--cache", "cache", "--features", "pose", "--head", "mean")
    assert result.exit_code == SplitError.exit_code
    assert "the test part is empty (file csv, protocol split, fold 0)" in result.stderr


def test_finediving_texts_by_event_and_index(aqa, value, tmp_path: Path):
    import pickle

    labels = tmp_path / "labels"
    labels.mkdir()
    rows = {("01", 1): ["407c", 88.0, 3.2, [2], [4] * 3 + [36] * 5], ("01", 2): ["407c", 80.0, 3.2, [2], [4, 4, 36]]}
    for name, plain in (
        ("fine-grained_annotation_aqa", rows), ("train_split", [("01", 2)]), ("test_split", [("01", 1)]),
    ):  # fmt: skip
        (labels / f"{name}.pkl").write_bytes(pickle.dumps(plain, protocol=3))
    mediapipe(tmp_path / "FineDiving_Skeleton/01/1.txt", 5)
    mediapipe(tmp_path / "FineDiving_Skeleton/01/2.txt", 3)
    path = tmp_path / "FineDiving_Skeleton"
    said = value(
        aqa("cache", "import", "finediving", path, "--root", labels, "--as", "mediapipe", "--cache", "c", "--json")
    )
    assert (said["done"], said["shape"], said["unaligned"]) == (2, [33, 3], ["01_1"])
