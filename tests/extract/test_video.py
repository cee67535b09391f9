"""Which frames come out of a video: formats, edit lists, seeking, variable frame rate, rotation."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from aqa.catalog.base import Media
from aqa.errors import VideoError
from aqa.extract import video
from aqa.extract.decode import Begin, End, Wanted, probe, read_clips, read_frames
from aqa.extract.frames import Chunk, Tally, chunks
from aqa.extract.plan import parse_plan

FORMATS = {
    "h264.mp4": ("libx264", "yuv420p", (64, 48)),
    "h264.mkv": ("libx264", "yuv420p", (64, 48)),
    "h264.ts": ("libx264", "yuv420p", (64, 48)),
    "h264-odd.mp4": ("libx264", "yuv444p", (65, 49)),
    "h264-422.mp4": ("libx264", "yuv422p", (64, 48)),
    "h264-444.mp4": ("libx264", "yuv444p", (64, 48)),
    "h264-10bit.mp4": ("libx264", "yuv420p10le", (64, 48)),
    "h264-grey.mp4": ("libx264", "gray", (64, 48)),
    "mpeg4.avi": ("mpeg4", "yuv420p", (64, 48)),
    "mpeg4.mp4": ("mpeg4", "yuv420p", (64, 48)),
    "mjpeg.avi": ("mjpeg", "yuvj420p", (64, 48)),
    "mpeg2.mpg": ("mpeg2video", "yuv420p", (64, 48)),
    "vp8.webm": ("libvpx", "yuv420p", (64, 48)),
    "vp9.webm": ("libvpx-vp9", "yuv420p", (64, 48)),
    "ffv1.mkv": ("ffv1", "yuv420p", (64, 48)),
    "ffv1-odd.mkv": ("ffv1", "yuv420p", (65, 49)),
    "ffv1-alpha.mkv": ("ffv1", "yuva420p", (64, 48)),
    "palette.gif": ("gif", "rgb8", (65, 49)),
    "rgb.mov": ("png", "rgb24", (64, 48)),
}
SCALED = {name for name in FORMATS if name.startswith(("h264-", "ffv1-", "palette", "rgb"))} - {"h264-grey.mp4"}


@pytest.mark.parametrize("name", FORMATS)
def test_every_frame_of_every_format_once_and_in_order(name: str, movie, shown, tmp_path: Path) -> None:
    codec, pix_fmt, size = FORMATS[name]
    options = {"deadline": "realtime"} if codec.startswith("libvpx") else {"qmin": "2", "qmax": "3"}
    path = movie(tmp_path / name, 20, size, codec, pix_fmt, options=options if codec != "libx264" else None)
    info = probe(Media(path))
    assert (info.kind, info.frames, info.width, info.height) == ("video", 20, *size)
    assert info.timed
    assert info.fps == pytest.approx(25, abs=0.1)
    tally = Tally()
    got = list(read_frames(Media(path), np.arange(20), tally=tally, to_end=True))
    assert shown(got) == list(range(20))
    assert np.concatenate([c.numbers for c in got]).tolist() == list(range(20))
    assert (tally.decoded, tally.used, tally.end) == (20, 20, 20)
    assert {c.layout.kind for c in got} == {"rgb" if name in SCALED else "yuv420"}
    times = np.concatenate([c.times for c in got])
    assert np.allclose(np.diff(times), 0.04, atol=0.011), "GIF counts hundredths of a second"


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "mpeg4.avi", "mjpeg.avi", "vp9.webm"])
def test_decoding_goes_from_the_keyframe_before_to_the_last_wanted(name: str, movie, shown, tmp_path: Path) -> None:
    codec, pix_fmt, size = FORMATS[name]
    path = movie(tmp_path / name, 60, size, codec, pix_fmt, options={"g": "8"} if codec != "libx264" else None)
    keys = [number for number, _ in video.index_of(path).keyframes]
    for wanted in ([30, 31, 45], [59], [0], [8], [7, 8, 9]):
        tally = Tally()
        got = list(read_frames(Media(path), np.array(wanted), tally=tally))
        assert shown(got) == wanted
        key = max(k for k in keys if k <= wanted[0])
        assert wanted[0] - key < 8, "there is a keyframe every 8 frames"
        assert wanted[-1] - key < tally.decoded <= wanted[-1] - key + 4, "B-frames before the keyframe are few"
        assert tally.used == len(wanted)


def test_seeking_gives_the_pixels_that_reading_from_the_start_gives(movie, tmp_path: Path) -> None:
    path = movie(tmp_path / "open.mkv", 60, options={"x264-params": "keyint=8:min-keyint=8:bframes=3:open-gop=1"})
    for wanted in (np.arange(20, 30), np.arange(24, 25), np.arange(50, 60)):
        [a], [b] = (list(read_frames(Media(path), wanted, seek=seek)) for seek in (True, False))
        assert all(np.array_equal(x, y) for x, y in zip(a.planes, b.planes, strict=True))
        assert np.array_equal(a.times, b.times)


def test_a_seek_that_leads_astray_is_made_up_for(movie, shown, tmp_path: Path, monkeypatch) -> None:
    path = movie(tmp_path / "a.mp4", 40)
    index = video.index_of(path)
    wrong = video.Index(index.shown, index.stated, index.times, ((8, index.keyframes[2][1]),), None)  # leads to 16
    monkeypatch.setattr(video, "index_of", lambda _: wrong)
    events = list(read_clips(Media(path, 20, 24), {"a": Wanted(parse_plan("1x4@4"))}))
    starts = [i for i, event in enumerate(events) if isinstance(event, Begin)]
    assert len(starts) == 2, "what came before the second Begin is void"
    assert shown([e for e in events[starts[1] :] if isinstance(e, Chunk)]) == [20, 21, 22, 23]


def test_packets_and_frames_that_are_not_one_to_one(movie, shown, tmp_path: Path, monkeypatch) -> None:
    path = movie(tmp_path / "a.mp4", 30)
    index = video.index_of(path)
    for wrong in (33, 28):
        monkeypatch.setattr(video, "index_of", lambda _, n=wrong: video.Index(n, 0, None, (), None))
        events = list(read_clips(Media(path), {"a": Wanted(parse_plan("dense:8:8"))}))
        last = max(i for i, event in enumerate(events) if isinstance(event, Begin))
        begin = events[last]
        assert isinstance(begin, Begin)
        assert begin.clips["a"][:, 0].tolist() == [0, 8, 16, 22]
        assert shown([e for e in events[last:] if isinstance(e, Chunk)]) == list(range(30))
    assert index.shown == 30


def test_more_frames_than_packets_seem_to_be(movie, shown, tmp_path: Path, monkeypatch) -> None:
    path = movie(tmp_path / "a.mp4", 30)
    monkeypatch.setattr(video, "index_of", lambda _: video.Index(25, 0, None, (), None))
    window = {"a": Wanted(parse_plan("1x8@8"))}
    *_, end = read_clips(Media(path, 20, 28), window)
    assert end == End(decoded=30, used=8)
    with pytest.raises(VideoError, match="it has 30 frames, and the sample goes from frame 20 to 31"):
        list(read_clips(Media(path, 20, 31), window))


def test_variable_frame_rate_counts_frames_and_keeps_times(movie, shown, tmp_path: Path) -> None:
    times = [0, 1, 2, 5, 6, 20, 21, 22, 23, 40]
    path = movie(tmp_path / "vfr.mp4", 10, times=times)
    [chunk] = read_frames(Media(path), np.arange(10))
    assert shown([chunk]) == list(range(10))
    assert np.allclose(chunk.times, np.array(times) / 25)


def test_an_edit_list_hides_frames(movie, shown, tmp_path: Path) -> None:
    """The header counts 20 frames, an edit list shows the 11 from the second half second on."""
    path = movie(tmp_path / "a.mp4", 20)
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 8
    timescale = int.from_bytes(data[data.index(b"mvhd") + 16 :][:4], "big")
    media_scale = int.from_bytes(data[data.index(b"mdhd") + 16 :][:4], "big")
    (offset,) = struct.unpack_from(">i", data, at + 8)
    shown_for, skip = 11 * timescale // 25, 9 * media_scale // 25
    struct.pack_into(">Ii", data, at + 4, shown_for, offset + skip)
    path.write_bytes(data)
    info = probe(Media(path))
    assert (info.frames, info.stated) == (11, 20)
    got = list(read_frames(Media(path), np.arange(11), to_end=True))
    assert shown(got) == list(range(9, 20))
    with pytest.raises(VideoError, match="it has 11 frames, and the sample goes from frame 0 to 20"):
        list(read_clips(Media(path, 0, 20), {"a": Wanted(parse_plan("dense:4:4"))}))


@pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (180, 2), (270, 3), (0, 0)])
def test_rotation_of_the_container_is_kept(degrees: int, turns: int, movie, tmp_path: Path) -> None:
    path = rotate(movie(tmp_path / "a.mp4", 3), degrees)
    assert probe(Media(path)).rotation == degrees
    [chunk] = read_frames(Media(path), np.arange(3))
    assert chunk.layout.turns == turns
    assert chunk.planes[0].shape == (3, 48, 64), "planes stay as they were decoded"


def rotate(path: Path, degrees: int) -> Path:
    """Writes into the track's header that a player turns it by `degrees` counter-clockwise."""
    cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    struct.pack_into(">9i", data, at, cos << 16, -sin << 16, 0, sin << 16, cos << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def test_frames_of_all_plans_are_decoded_once(movie, tmp_path: Path) -> None:
    path = movie(tmp_path / "a.mp4", 60)
    plans = {name: Wanted(parse_plan(name)) for name in ("4x16@40", "dense:8:4", "2x16@40")}
    events = list(read_clips(Media(path, 10, 50), plans))
    end = events[-1]
    numbers = np.concatenate([e.numbers for e in events if isinstance(e, Chunk)])
    assert numbers.tolist() == list(range(10, 50))
    assert end == End(decoded=50 - 8, used=40), "from the keyframe at 8"


def test_only_needed_frames_are_kept(movie, tmp_path: Path) -> None:
    path = movie(tmp_path / "a.mp4", 60)
    *_, end = read_clips(Media(path), {"a": Wanted(parse_plan("8of40"))})
    assert end == End(decoded=39, used=8), "0, 5.5, ..., 38.5"


def test_one_index_for_all_samples_of_a_video(movie, tmp_path: Path) -> None:
    path = movie(tmp_path / "event.mp4", 60)
    before = video._index.cache_info().misses
    for start in range(0, 50, 10):
        list(read_clips(Media(path, start, start + 8), {"a": Wanted(parse_plan("1x8@8"))}))
    assert video._index.cache_info().misses == before + 1


def test_a_chunk_ends_where_its_buffer_is_full(movie, shown, tmp_path: Path) -> None:
    path = movie(tmp_path / "a.mp4", 20)
    tally = Tally()
    frame = 64 * 48 * 3 // 2
    got = list(chunks(video.pictures(path, np.arange(20), tally), tally, lambda: np.empty(frame * 7 + 5, np.uint8)))
    assert [len(c.numbers) for c in got] == [7, 7, 6]
    assert [c.capacity for c in got] == [7, 7, 7]
    assert shown(got) == list(range(20))
    tiny = list(chunks(video.pictures(path, np.arange(2), tally), tally, lambda: np.empty(10, np.uint8)))
    assert [len(c.numbers) for c in tiny] == [1, 1], "a frame larger than the buffer has one of its own"


def test_names_with_spaces_colons_and_other_letters(movie, shown, tmp_path: Path) -> None:
    for name in ("a dive.mp4", "плавание 3м.mp4", "飞跃.mp4", "http:x.mp4", "-i.mp4", "100%25.mp4"):
        path = movie(tmp_path / name, 3)
        assert shown(list(read_frames(Media(path), np.arange(3)))) == [0, 1, 2]


def test_h264_with_other_colours_and_ranges_is_told_apart(movie, tmp_path: Path) -> None:
    for matrix, pix_fmt, want in (
        ("bt709", "yuv420p", ("bt709", False)),
        ("smpte170m", "yuvj420p", ("bt601", True)),
        ("bt470bg", "yuv420p", ("bt601", False)),
        ("undef", "yuvj420p", ("bt601", True)),
    ):
        path = movie(tmp_path / f"{matrix}.mp4", 3, pix_fmt=pix_fmt, options={"x264-params": f"colormatrix={matrix}"})
        [chunk] = read_frames(Media(path), np.arange(3))
        assert (chunk.layout.matrix, chunk.layout.full) == want
    path = movie(tmp_path / "bt2020.mp4", 3, options={"x264-params": "colormatrix=bt2020nc"})
    [chunk] = read_frames(Media(path), np.arange(3))
    assert chunk.layout.kind == "rgb", "the scaler knows matrices that we do not"
