from __future__ import annotations

from pathlib import Path

import pytest

from aqa.catalog.base import Dataset, Fold, Media, Protocol, Sample, Target
from aqa.catalog.check import check, example
from aqa.catalog.frames import images
from aqa.errors import VideoError


def dataset(*samples: Sample) -> Dataset:
    return Dataset("made-up", samples, (Target("score"),), ())


def sample(i: str, path: Path | None, start: int = 0, stop: int | None = None, labels: int = 0) -> Sample:
    media = None if path is None else Media(path, start, stop)
    return Sample(i, {"score": 1.0}, media=media, phases=(1,) * labels)


def count(media: Media) -> int:
    return len(images(media.path))


def pictures(*numbers: int, width: int = 6) -> list[str]:
    return [f"{n:0{width}d}.jpg" for n in numbers]


def test_nothing_to_say(tmp_path: Path, touch):
    folder = touch(tmp_path / "01", pictures(*range(1, 111)))
    assert check(dataset(sample("a", folder, 0, 103), sample("b", folder, 7, 110), sample("c", folder, 5)), count) == []


@pytest.mark.parametrize(
    ("start", "stop", "said"),
    [
        (8, 111, "110 frames, 8 up to 111 are asked for: one too many"),
        (20, 123, "110 frames, 20 up to 123 are asked for"),
        (110, None, "110 up to None"),
        (200, 303, "200 up to 303"),
    ],
)
def test_frames_beyond_the_end(tmp_path: Path, touch, start: int, stop: int | None, said: str):
    folder = touch(tmp_path / "01", pictures(*range(1, 111)))
    (finding,) = check(dataset(sample("a", folder, start, stop)), count)
    assert (finding.sample, finding.field, finding.severity) == ("a", "media", "error")
    assert said in finding.message


def test_too_few_images_of_one_dive(tmp_path: Path, touch):
    folder = touch(tmp_path / "01_01", pictures(*range(1, 104)))
    (finding,) = check(dataset(sample("01_01", folder, 3, 106)), count)
    assert "103 frames, 3 up to 106 are asked for" in finding.message


def test_frame_labels_must_be_as_many_as_frames(tmp_path: Path, touch):
    folder = touch(tmp_path / "55", pictures(*range(1, 95)))
    (finding,) = check(dataset(sample("a", folder, labels=98), sample("b", folder, 4, labels=90)), count)
    assert (finding.sample, finding.field) == ("a", "phases")
    assert "98 frame labels for 94 frames" in finding.message


def test_missing_media_are_found_and_the_limit_is_kept(tmp_path: Path, touch):
    folder = touch(tmp_path / "01", pictures(1, 2))
    made = dataset(sample("a", folder), sample("b", tmp_path / "none.mp4"), sample("c", tmp_path / "no"))
    assert [(f.sample, f.severity) for f in check(made, count)] == [("b", "error"), ("c", "error")]
    assert [f.sample for f in check(made, count, limit=2)] == ["b"]
    assert check(made, count, limit=1) == []


def test_labels_without_media_are_a_warning(tmp_path: Path, touch):
    folder = touch(tmp_path / "01", pictures(1, 2))
    (finding,) = check(dataset(sample("a", None), sample("b", None)), count)
    assert (finding.sample, finding.severity) == ("a", "warning")
    assert "no sample has frames or videos" in finding.message
    (finding,) = check(dataset(sample("a", folder), sample("b", None)), count)
    assert "1 samples have none" in finding.message


def test_a_split_that_nothing_can_be_tested_on_is_a_warning(tmp_path: Path, touch):
    folder = touch(tmp_path / "01", pictures(1, 2))
    protocol = Protocol("split", (Fold("0", ("a",), ()),))
    (finding,) = check(Dataset("made-up", (sample("a", folder),), (Target("score"),), (protocol,)), count)
    assert (finding.field, finding.severity) == ("split", "warning")
    assert "the test part is empty" in finding.message


def test_a_file_is_probed_once_and_its_error_is_said_once(tmp_path: Path):
    video = tmp_path / "a.mp4"
    video.touch()
    asked = []

    def probe(media: Media) -> int:
        asked.append(media)
        raise VideoError("no video stream", file=media.path)

    findings = check(dataset(sample("a", video, 0, 5), sample("b", video, 5, 9)), probe)
    assert asked == [Media(video)]
    assert [f.sample for f in findings] == ["a"]
    assert "no video stream" in findings[0].message


def test_an_empty_folder(tmp_path: Path, touch):
    (finding,) = check(dataset(sample("a", touch(tmp_path / "01", ["notes.txt"]))), count)
    assert "no frames" in finding.message


def test_names_without_zeros_are_in_the_wrong_order(tmp_path: Path, touch):
    folder = touch(tmp_path / "01", [f"{n}.jpg" for n in range(1, 13)])
    (finding,) = check(dataset(sample("a", folder)), count)
    assert (finding.severity, "pad the numbers" in finding.message) == ("error", True)


def test_missing_images(tmp_path: Path, touch):
    folder = touch(tmp_path / "01", pictures(*range(1, 10), *range(12, 20), *range(21, 25)))
    (finding,) = check(dataset(sample("a", folder, 0, 3)), count)
    assert finding.severity == "error"
    assert "3 images are missing, the first between 000009.jpg and 000012.jpg" in finding.message


def test_every_second_frame_is_enough_of_one_dive_and_not_of_a_whole_video(tmp_path: Path, touch):
    folder = touch(tmp_path / "01", pictures(*range(1, 100, 2)))
    assert check(dataset(sample("a", folder)), count) == []
    (finding,) = check(dataset(sample("a", folder, 0, 9), sample("b", folder, 9, 20)), count)
    assert "go up by 2" in finding.message


def test_flow_images_are_no_frames_of_their_own(tmp_path: Path, touch):
    flow = [f"flow_{axis}_{n:05d}.jpg" for axis in "xy" for n in range(1, 20)]
    both = touch(tmp_path / "both", [*flow, *pictures(*range(1, 21))])
    alone = touch(tmp_path / "alone", flow)
    assert check(dataset(sample("a", both), sample("b", alone)), count) == []
    assert example(dataset(sample("a", both, 0, 16)))["last"] == "000016.jpg"
    assert example(dataset(sample("b", alone, 0, 16)))["last"] == "flow_x_00016.jpg"


@pytest.mark.parametrize(("first", "said"), [(0, "count from 0"), (5, "begin at 5")])
def test_whole_videos_whose_names_do_not_begin_at_1(tmp_path: Path, touch, first: int, said: str):
    folder = touch(tmp_path / "01", pictures(*range(first, first + 20)))
    (finding,) = check(dataset(sample("a", folder, 0, 10), sample("b", folder, 10, 20)), count)
    assert finding.severity == "warning"
    assert said in finding.message
    assert check(dataset(sample("a", folder, 0, 10)), count) == []  # a folder of one performance may begin anywhere


def test_names_that_are_no_numbers_are_left_alone(tmp_path: Path, touch):
    folder = touch(tmp_path / "01", ["a.jpg", "b.jpg", "10.jpg", "9.jpg"])
    assert check(dataset(sample("a", folder), sample("b", folder)), count) == []


def test_example_of_a_folder(tmp_path: Path, touch):
    folder = touch(tmp_path / "01", pictures(*range(1, 151)))
    made = dataset(sample("a", tmp_path / "none", 0, 5), sample("b", folder, 37, 140))
    assert example(made) == {
        "sample": "b",
        "path": str(folder),
        "kind": "frames",
        "start": 37,
        "stop": 140,
        "first": "000038.jpg",
        "last": "000140.jpg",
    }
    assert example(dataset(sample("b", folder)))["last"] == "000150.jpg"
    assert example(dataset(sample("b", folder, 100, 203)))["last"] is None
    assert example(made, "a")["kind"] == "missing"


def test_example_of_a_video(tmp_path: Path):
    video = tmp_path / "01.mp4"
    video.touch()
    found = example(dataset(sample("a", video, 7359, 7462)))
    assert (found["kind"], found["first"], found["last"]) == (
        "video",
        "frame 7360 of the video (index 7359)",
        "frame 7462 of the video (index 7461)",
    )
    assert example(dataset(sample("a", video)))["last"] is None


def test_example_without_media():
    assert example(dataset(sample("a", None)))["kind"] == "none"
