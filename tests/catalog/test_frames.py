from __future__ import annotations

import os
from pathlib import Path

import pytest

from aqa.catalog.files import bases, find_file, need_file, text
from aqa.catalog.frames import Layout, find_media, images, media_bases, number
from aqa.errors import AnnotationError, VideoError

WHOLE = Layout("whole", "frames/{video:02d}")
CUT = Layout("cut", "cut/{video:02d}_{sample:02d}")
KEYS = [{"video": 1, "sample": 1}, {"video": 1, "sample": 2}, {"video": 2, "sample": 1}]


def test_images_are_sorted_by_name_and_nothing_else_counts(tmp_path: Path, touch):
    touch(tmp_path, ["00010.jpg", "00002.JPG", "00003.png", "._00001.jpg", "Thumbs.db", "notes.txt"])
    assert images(tmp_path) == ("00002.JPG", "00003.png", "00010.jpg")


def test_images_are_listed_again_when_the_folder_changes(tmp_path: Path, touch, monkeypatch: pytest.MonkeyPatch):
    touch(tmp_path, ["1.jpg"])
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: (listed.append(folder), scandir(folder))[1])
    assert images(tmp_path) == images(tmp_path) == ("1.jpg",)
    assert len(listed) == 1
    touch(tmp_path, ["2.jpg"])
    os.utime(tmp_path, ns=(0, tmp_path.stat().st_mtime_ns + 1))
    assert images(tmp_path) == ("1.jpg", "2.jpg")


def test_a_missing_folder_is_a_video_error(tmp_path: Path):
    with pytest.raises(VideoError, match="none"):
        images(tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "value"), [("img_00007.jpg", 7), ("000103.jpg", 103), ("a.jpg", None), ("7_b.jpg", None)]
)
def test_number(name: str, value: int | None):
    assert number(name) == value


def test_the_layout_with_most_files_is_taken(tmp_path: Path, touch):
    touch(tmp_path / "frames/01", [])
    touch(tmp_path / "cut/02_01", [])
    found = find_media([tmp_path], [CUT, WHOLE], KEYS)
    assert found is not None
    assert (found.layout.name, found.present) == ("whole", 2)
    assert found.paths == (tmp_path / "frames/01", tmp_path / "frames/01", tmp_path / "frames/02")


def test_a_video_is_the_twin_of_a_folder(tmp_path: Path, touch):
    touch(tmp_path / "cut", ["01_01.AVI", "01_02.mkv", "01_02.txt", ".02_01.avi"])
    found = find_media([tmp_path], [CUT, WHOLE], KEYS)
    assert found is not None
    assert [path.name for path in found.paths] == ["01_01.AVI", "01_02.mkv", "02_01.AVI"]
    assert found.present == 2


def test_a_folder_goes_before_its_video(tmp_path: Path, touch):
    touch(tmp_path / "frames/01", [])
    touch(tmp_path / "frames", ["01.mp4", "02.mp4"])
    found = find_media([tmp_path], [WHOLE], KEYS)
    assert found is not None
    assert [path.name for path in found.paths] == ["01", "01", "02.mp4"]


def test_no_media_is_none_or_an_error_that_names_the_layouts(tmp_path: Path):
    assert find_media([tmp_path], [CUT, WHOLE], KEYS) is None
    with pytest.raises(AnnotationError, match=r"frames/\{video:02d\}"):
        find_media([tmp_path], [CUT, WHOLE], KEYS, required=True)
    with pytest.raises(AnnotationError, match="no such folder"):
        media_bases([tmp_path], tmp_path / "elsewhere")


def test_bases_take_the_folder_of_labels_for_its_parent(tmp_path: Path):
    (tmp_path / "SET/info").mkdir(parents=True)
    assert bases(tmp_path, "SET", "other") == (tmp_path, tmp_path / "SET")
    assert bases(tmp_path / "SET/info") == (tmp_path / "SET/info", tmp_path / "SET")
    (tmp_path / "SET/info/labels.pkl").touch()
    assert bases(tmp_path / "SET/info/labels.pkl") == (tmp_path / "SET/info", tmp_path / "SET")


def test_files_are_found_by_the_order_of_names(tmp_path: Path, touch):
    touch(tmp_path / "a", ["second"])
    touch(tmp_path / "b", ["first"])
    where = [tmp_path / "a", tmp_path / "b"]
    assert find_file(where, ["first", "second"]) == tmp_path / "b/first"
    with pytest.raises(AnnotationError, match=r"no labels: looked for x\.txt, here and in \.\./b"):
        need_file(where, ["x.txt"], what="labels")


def test_text_is_utf8_with_or_without_mark(tmp_path: Path):
    (tmp_path / "a.txt").write_bytes("\ufeffKür".encode())
    assert text(tmp_path / "a.txt") == "Kür"
    (tmp_path / "a.txt").write_bytes("Kür".encode("latin1"))
    with pytest.raises(AnnotationError, match="byte 1"):
        text(tmp_path / "a.txt")
    with pytest.raises(AnnotationError, match="cannot be read"):
        text(tmp_path / "none.txt")
