"""Frames in folders of images: which are read, in which order, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aqa.catalog.base import Media
from aqa.errors import VideoError
from aqa.extract import folder
from aqa.extract.decode import Begin, End, Wanted, probe, read_clips, read_frames
from aqa.extract.frames import Chunk, Tally
from aqa.extract.plan import parse_plan


def test_the_frames_of_a_sample_are_those_of_the_sorted_names(frame_folder, shown) -> None:
    path = frame_folder(130)
    info = probe(Media(path))
    assert (info.kind, info.frames, info.width, info.height, info.timed) == ("folder", 130, 64, 48, False)
    # Layout B of MTL-AQA: sorted[end - 103 : end]; A and C: [3:106] (ERRATA 9)
    for start, stop in ((130 - 103, 130), (3, 106), (0, 103)):
        events = list(read_clips(Media(path, start, stop), {"a": Wanted(parse_plan("10x16@103"))}))
        got = [e for e in events if isinstance(e, Chunk)]
        assert shown(got) == list(range(start, stop))
        assert np.isnan(np.concatenate([c.times for c in got])).all()
        assert events[-1] == End(decoded=103, used=103)


def test_only_the_frames_used_are_opened(frame_folder, monkeypatch) -> None:
    path = frame_folder(40)
    opened: list[str] = []
    read = folder.Reader.__call__
    monkeypatch.setattr(folder.Reader, "__call__", lambda self, p: opened.append(p.name) or read(self, p))
    *_, end = read_clips(Media(path, 5, 25), {"a": Wanted(parse_plan("4of20"))})
    assert opened == ["00006.jpg", "00012.jpg", "00018.jpg", "00024.jpg"]
    assert end == End(decoded=4, used=4)


def test_images_are_decoded_as_pillow_decodes_them(tmp_path: Path, picture, image) -> None:
    scene = picture(0b1011, 64, 48)
    image(tmp_path / "1.jpg", scene)
    image(tmp_path / "2.png", scene)
    image(tmp_path / "3.bmp", scene)
    image(tmp_path / "4.tif", scene)
    Image.fromarray(scene).save(tmp_path / "5.png", compress_level=1)
    Image.fromarray(scene).convert("P").save(tmp_path / "6.png")
    Image.fromarray(np.dstack([scene, np.full((48, 64), 255, np.uint8)])).save(tmp_path / "7.png")
    Image.fromarray(scene).save(tmp_path / "8.jpg", quality=95, subsampling=0, progressive=True)
    Image.fromarray(scene).convert("L").save(tmp_path / "9.jpg", quality=95)
    for path in sorted(tmp_path.iterdir()):
        one = tmp_path / path.stem
        one.mkdir()
        path.rename(one / path.name)
        [chunk] = read_frames(Media(one), np.arange(1))
        truth = np.asarray(Image.open(one / path.name).convert("RGB")).astype(int)
        if chunk.layout.kind == "rgb":
            assert np.abs(chunk.planes[0][0] - truth).max() <= 4, path.name
        else:
            luma = truth @ [0.299, 0.587, 0.114]
            assert np.abs(chunk.planes[0][0] - luma).mean() < 1.5, path.name


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_images_without_loss_come_one_after_the_other(suffix: str, tmp_path: Path, picture, image, shown) -> None:
    scenes = [picture(i, 64, 48) for i in range(9)]
    for i, scene in enumerate(scenes):
        image(tmp_path / f"{i:03d}.{suffix}", scene)
    [chunk] = read_frames(Media(tmp_path), np.arange(9))
    assert np.array_equal(chunk.planes[0], np.stack(scenes))


def test_images_and_the_video_they_come_from_give_the_same_planes(tmp_path: Path, movie) -> None:
    """MJPEG: the packets are the images."""
    import av

    video = movie(tmp_path / "a.avi", 6, (64, 48), "mjpeg", "yuvj420p")
    twin = tmp_path / "twin"
    twin.mkdir()
    with av.open(str(video)) as file:
        for i, packet in enumerate(p for p in file.demux(video=0) if p.size):
            (twin / f"{i + 1:04d}.jpg").write_bytes(bytes(packet))
    [a], [b] = (list(read_frames(Media(path), np.arange(6))) for path in (video, twin))
    assert all(np.array_equal(x, y) for x, y in zip(a.planes, b.planes, strict=True))
    assert a.layout == b.layout


def test_what_is_no_frame_is_not_counted(frame_folder, shown) -> None:
    path = frame_folder(5)
    (path / ".DS_Store").write_bytes(b"x")
    (path / "._00001.jpg").write_bytes(b"x")
    (path / "Thumbs.db").write_bytes(b"x")
    (path / "notes.txt").write_text("x")
    assert probe(Media(path)).frames == 5
    assert shown(list(read_frames(Media(path), np.arange(5)))) == list(range(5))


def test_a_missing_frame_is_named(frame_folder) -> None:
    path = frame_folder(20)
    (path / "00008.jpg").unlink()
    window = {"a": Wanted(parse_plan("1x8@8"))}
    with pytest.raises(VideoError, match=r"between 00007\.jpg and 00009\.jpg a frame is missing"):
        list(read_clips(Media(path, 4, 12), window))
    with pytest.raises(VideoError, match="a frame is missing"):
        list(read_clips(Media(path, 10, 18), window))  # those behind it are counted wrongly
    assert list(read_clips(Media(path, 0, 7), {"a": Wanted(parse_plan("1x7@7"))}))[-1] == End(7, 7)


def test_numbers_that_do_not_sort_are_refused(frame_folder) -> None:
    path = frame_folder(12)
    for i in range(1, 13):
        (path / f"{i:05d}.jpg").rename(path / f"img_{i}.jpg")
    with pytest.raises(VideoError, match=r"img_12\.jpg sorts before img_2\.jpg.*[Pp]ad the numbers"):
        list(read_frames(Media(path), np.arange(12)))


def test_every_second_frame_and_names_without_numbers_are_fine(frame_folder, shown) -> None:
    path = frame_folder(9)
    for i in range(2, 10, 2):
        (path / f"{i:05d}.jpg").unlink()
    assert shown(list(read_frames(Media(path), np.arange(5)))) == [0, 2, 4, 6, 8]
    for i, name in zip(range(1, 10, 2), "abcde", strict=True):
        (path / f"{i:05d}.jpg").rename(path / f"{name}.jpg")
    assert shown(list(read_frames(Media(path), np.arange(5)))) == [0, 2, 4, 6, 8]


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda data: b"", "the image is empty"),
        (lambda data: data[: len(data) // 2], "the image is cut short"),
        (lambda data: data[:-2], "the image is cut short"),
        (lambda data: b"no image", "no image of a known format"),
        (lambda data: data[:2] + b"garbage" * 30 + b"\xff\xd9", "damaged|cannot be decoded"),
        (lambda data: b"\x89PNG\r\n\x1a\n" + data, "damaged|cannot be decoded"),
    ],
)
def test_a_damaged_image_is_named(damage, match: str, frame_folder) -> None:
    path = frame_folder(6)
    bad = path / "00004.jpg"
    bad.write_bytes(damage(bad.read_bytes()))
    with pytest.raises(VideoError, match=match) as caught:
        list(read_frames(Media(path), np.arange(6)))
    assert caught.value.file == str(bad)
    assert len(list(read_frames(Media(path), np.array([0, 1, 2, 4, 5])))) == 1, "the others can be read"


def test_an_image_with_a_huge_header(frame_folder) -> None:
    path = frame_folder(2)
    data = bytearray((path / "00001.jpg").read_bytes())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = (12000).to_bytes(2, "big") * 2
    (path / "00001.jpg").write_bytes(data)
    with pytest.raises(VideoError, match="damaged"):
        list(read_frames(Media(path), np.arange(2)))


def test_images_of_differing_size_are_refused(frame_folder, image, picture) -> None:
    path = frame_folder(4)
    image(path / "00003.jpg", picture(2, 80, 48))
    with pytest.raises(VideoError, match="80 x 48 pixels, where the images before have 64 x 48") as caught:
        list(read_frames(Media(path), np.arange(4)))
    assert caught.value.file == str(path / "00003.jpg")


def test_a_folder_that_is_too_short_or_empty(frame_folder, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="it has 6 frames, and the sample goes from frame 0 to 9"):
        list(read_clips(Media(frame_folder(6), 0, 9), {"a": Wanted(parse_plan("1x4@4"))}))
    (tmp_path / "empty").mkdir()
    with pytest.raises(VideoError, match="there are no frames in the folder"):
        list(read_clips(Media(tmp_path / "empty"), {"a": Wanted(parse_plan("1x4@4"))}))


@pytest.fixture
def flow_folder(tmp_path: Path):
    path = tmp_path / "flow"
    path.mkdir()
    for i in range(1, 9):
        for axis, level in (("x", 100 + i), ("y", 200 - i)):
            grey = np.full((48, 64), level, np.uint8)
            Image.fromarray(grey).save(path / f"flow_{axis}_{i:05d}.jpg", quality=98)
    return path


def test_flow_images_come_in_pairs(flow_folder: Path) -> None:
    info = probe(Media(flow_folder))
    assert (info.kind, info.frames, info.width, info.height) == ("flow", 8, 64, 48)
    tally = Tally()
    [chunk] = read_frames(Media(flow_folder), np.array([0, 3, 7]), flow=True, tally=tally)
    x, y = chunk.planes
    assert chunk.layout.kind == "flow"
    assert x.shape == y.shape == (3, 48, 64)
    assert x[:, 0, 0].tolist() == [101, 104, 108]
    assert y[:, 0, 0].tolist() == [199, 196, 192]
    assert (tally.decoded, tally.used) == (6, 3)


def test_frames_and_flow_in_one_folder(flow_folder: Path, image, picture) -> None:
    for i in range(9):  # between nine frames there are eight flow images
        image(flow_folder / f"img_{i + 1:05d}.jpg", picture(i, 64, 48))
    wanted = {"rgb": Wanted(parse_plan("dense:4:4")), "flow": Wanted(parse_plan("dense:4:4"), flow=True)}
    events = list(read_clips(Media(flow_folder, 0, 9), wanted))
    begins = [e for e in events if isinstance(e, Begin)]
    assert [list(b.clips) for b in begins] == [["rgb"], ["flow"]]
    assert [b.clips[name][:, 0].tolist() for b, name in zip(begins, ("rgb", "flow"), strict=True)] == [
        [0, 4, 5],
        [0, 4],
    ]
    assert [e.layout.kind for e in events if isinstance(e, Chunk)] == ["yuv420", "flow"]
    assert events[-1] == End(decoded=9 + 16, used=9 + 8)


def test_half_a_flow_pair_and_no_flow(flow_folder: Path, frame_folder) -> None:
    (flow_folder / "flow_y_00003.jpg").unlink()
    with pytest.raises(VideoError, match="flow_x_00003"):
        list(read_frames(Media(flow_folder), np.arange(8), flow=True))
    with pytest.raises(VideoError, match="no flow images in the folder"):
        list(read_clips(Media(frame_folder(3)), {"a": Wanted(parse_plan("1x2@2"), flow=True)}))
    with pytest.raises(VideoError, match="no frames in the folder, only flow"):
        list(read_clips(Media(flow_folder), {"a": Wanted(parse_plan("1x2@2"))}))


def test_a_video_has_no_flow(movie, tmp_path: Path) -> None:
    path = movie(tmp_path / "a.mp4", 4)
    with pytest.raises(VideoError, match="a flow network takes a folder of flow_x_"):
        list(read_clips(Media(path), {"a": Wanted(parse_plan("1x2@2"), flow=True)}))
