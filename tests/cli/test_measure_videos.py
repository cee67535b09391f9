"""`aqa measure VIDEO`: the pose backbone of `aqa extract`, whose pose it is, and what is said where nobody is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aqa.cache import select_store
from aqa.extract.backbones import keypoint_rcnn

RANDOM = ("--backbone", "pose.random")


@pytest.fixture
def clip(own_videos: Path) -> Path:
    """20 frames of 64x48."""
    return own_videos / "clip 3.mp4"


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights say one half of every box."""
    monkeypatch.setattr(keypoint_rcnn, "CANDIDATE", 0.9)


def test_a_video_is_measured_as_its_extracted_pose_is(aqa, value, clip: Path):
    said = ("--start", 2, "--end", 6, "--take-off", 2, "--entry", 5, "--kind", "403B", "--draw", "x.png", "--json")
    done = aqa("measure", clip, *RANDOM, "--person", "largest", *said)
    video = value(done)
    assert "the weights are random numbers" in done.stderr
    assert "looking for persons in 4 frames of" in done.stderr
    assert (video["frames"], video["without"]) == (4, 0)
    found = video["found"]
    assert (found["backbone"], found["person"], found["frames"], found["restarts"]) == ("pose.random", "largest", 4, 0)
    assert found["persons"] > 1
    assert {frame for row in video["measures"] for frame in row["frames"]} <= {2, 3, 4, 5}
    assert video["phases"]["flight"]["first"] == 2
    with Image.open("x.png", formats=["PNG"]) as picture:
        assert picture.width > 1000

    rows = ("id,media,score,start_frame,end_frame", f"one,{clip},,2,6")
    Path("samples.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    words = ("extract", "csv", "--root", ".", "--cache", "cache", *RANDOM, "--person", "largest", "--workers", 0)
    done = aqa(*words)
    assert done.exit_code == 0, done.stderr
    said = ("--take-off", 0, "--entry", 3, "--kind", "403B", "--json")
    kept = value(aqa("measure", "csv:one", "--features", "pose:largest", "--cache", "cache", *said))
    assert kept["found"] == found
    assert [row["value"] for row in kept["measures"]] == [row["value"] for row in video["measures"]]
    assert [row["frames"] for row in kept["measures"]] == [
        [frame - 2 for frame in row["frames"]] for row in video["measures"]
    ]


def test_nobody_in_a_video_and_in_a_folder_of_one_frame(aqa, value, clip: Path, nobody: None):
    done = aqa("measure", clip, *RANDOM, "--end", 3, "--draw", "x.png")
    assert done.exit_code == 0
    assert "found by pose.random, tracked; nobody is seen in any of 3 frames" in done.stdout
    with Image.open("x.png", formats=["PNG"]) as picture:
        assert picture.height < 400, "words alone"
    Path("frames").mkdir()
    Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save("frames/1.png")
    said = value(aqa("measure", "frames", "--weights", "random", "--json"))
    assert {row["reason"] for row in said["measures"]} == {"no joint is seen in any frame"}
    assert (said["frames"], said["without"], said["found"]["without"], said["found"]["persons"]) == (1, 1, 1, 0)


def test_nobody_in_an_extracted_video_is_recorded(aqa, value, clip: Path, nobody: None):
    Path("samples.csv").write_text(f"id,media,score,end_frame\nempty,{clip},,3\nsingle,{clip},,1\n", encoding="utf-8")
    words = ("extract", "csv", "--root", ".", "--cache", "cache", *RANDOM, "--workers", 0)
    done = aqa(*words)
    assert done.exit_code == 0, done.stderr
    assert "pose: nobody in 4 of 4 frames (2 samples have nobody at all)" in done.stdout
    store = select_store(Path("cache"), "csv", "pose")
    values, offsets = store.read(["empty", "single"])
    assert offsets.tolist() == [0, 3, 4]
    assert not values.any()
    assert store.sources()["single"]["pose"]["without"] == 1
    said = value(aqa("measure", "csv:single", "--cache", "cache", "--json"))
    assert (said["without"], said["found"]["backbone"]) == (1, "pose.random")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 3, "pose.coco needs a weight file, and torch's cache does not have it"),
        (("--backbone", "pose:central"), 3, "or --weights torchvision to download it"),
        (("--weights", "torchvision"), 3, "the weights of pose.coco could not be downloaded"),
        (("--weights", "nowhere.pth"), 3, "there is no such weight file (file nowhere.pth)"),
        (
            ("--backbone", "resnet18"),
            2,
            "resnet18 finds no persons (field --backbone). Take --backbone pose",
        ),
        (("--backbone", "poze"), 2, "Did you mean pose"),
        (("--backbone", "pose.random", "--weights", "x.pth"), 2, "pose.random takes no weight file"),
        (("--start", 20), 2, "frames 20 to 20 of"),
        (("--start", 5, "--end", 21), 2, "--end is at most 20"),
    ],
)
def test_what_a_video_cannot_be_measured_by(
    aqa, clip: Path, monkeypatch: pytest.MonkeyPatch, words: tuple, code: int, said: str
):
    import torch

    def offline(*_args, **_more):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: "hub")
    done = aqa("measure", clip, *words)
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr


def test_what_is_no_video(aqa):
    Path("empty").mkdir()
    Path("text.mp4").write_text("this is no video")
    for path, said in (("empty", "there are no frames in the folder"), ("text.mp4", "this is no video")):
        done = aqa("measure", path, *RANDOM)
        assert (done.exit_code, done.stdout) == (3, "")
        assert said in done.stderr
        assert "sample" not in done.stderr
