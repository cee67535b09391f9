"""Videos that are no videos, or not all there: a clear error that names the file, and nothing else opened."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from aqa.catalog.base import Media
from aqa.errors import VideoError
from aqa.extract.container import cut_short
from aqa.extract.decode import End, Wanted, probe, read_clips
from aqa.extract.plan import parse_plan

DENSE = {"a": Wanted(parse_plan("dense:8:8"))}
WINDOW = {"a": Wanted(parse_plan("2x8@16"))}


def read(path: Path, wanted: dict[str, Wanted] = DENSE, start: int = 0, stop: int | None = None) -> End:
    *_, end = read_clips(Media(path, start, stop), wanted)
    assert isinstance(end, End)
    return end


def refused(path: Path, match: str, **kwargs) -> str:
    with pytest.raises(VideoError, match=match) as caught:
        read(path, **kwargs)
    assert caught.value.file == str(path) or Path(caught.value.file or "").parent == path
    return str(caught.value)


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def test_missing_empty_and_other_files(tmp_path: Path) -> None:
    refused(tmp_path / "none.mp4", "there is no such file")
    (tmp_path / "empty.mp4").touch()
    refused(tmp_path / "empty.mp4", "the file is empty")
    (tmp_path / "folder.mp4").mkdir()
    refused(tmp_path / "folder.mp4", "there are no frames in the folder")
    with pytest.raises(VideoError, match="there are no frames in the folder"):
        probe(Media(tmp_path / "folder.mp4"))
    os.mkfifo(tmp_path / "pipe.mp4")
    refused(tmp_path / "pipe.mp4", "neither a video file nor a folder")
    for name, content in {
        "text.mp4": b"this is no video\n" * 100,
        "page.mp4": b"<!DOCTYPE html><html><body>404</body></html>",
        "zeros.mp4": bytes(5000),
        "noise.mp4": random.Random(0).randbytes(5000),
        "one.avi": b"R",
    }.items():
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, "no video of a known format")
        with pytest.raises(VideoError):
            probe(Media(tmp_path / name))


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read(movie, tmp_path: Path) -> None:
    path = movie(tmp_path / "a.mp4", 3)
    path.chmod(0)
    refused(path, "cannot be read|may not be read")


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile '{video}'\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{video}\n#EXT-X-ENDLIST\n",
        "<?xml version='1.0'?><MPD><Period><AdaptationSet><BaseURL>{video}</BaseURL></AdaptationSet></Period></MPD>",
        "v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    ],
)
def test_a_playlist_opens_no_other_file(text: str, movie, tmp_path: Path) -> None:
    secret = movie(tmp_path / "secret.mp4", 8)
    os.utime(secret, ns=(0, secret.stat().st_mtime_ns))
    path = tmp_path / "list.mp4"
    path.write_text(text.format(video=secret))
    refused(path, "no video of a known format")
    path.write_text(text.format(video="secret.mp4"))
    refused(path, "no video of a known format")
    assert secret.stat().st_atime_ns == 0, "it was not even opened"


def test_audio_alone(tmp_path: Path) -> None:
    path = tmp_path / "audio.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    refused(path, "no video stream")


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv"])
def test_a_video_without_frames(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"zero.{suffix}"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        file.start_encoding()
    refused(path, "no frame|no video stream|no video of a known format")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("name", ["faststart.mp4", "fragmented.mp4", "plain.mp4", "a.avi", "a.mkv", "a.gif"])
def test_cut_files(name: str, share: float, movie, tmp_path: Path) -> None:
    flags = {"faststart.mp4": {"movflags": "+faststart"}, "fragmented.mp4": {"movflags": "frag_keyframe+empty_moov"}}
    codec = {"avi": ("mjpeg", "yuvj420p"), "gif": ("gif", "rgb8")}.get(name[-3:], ("libx264", "yuv420p"))
    path = movie(tmp_path / name, 40, (160, 120), *codec, container=flags.get(name))
    assert cut_short(path) is None
    assert read(path).used == 40
    cut(path, share)
    said = refused(path, "the file is cut short")
    assert "bytes" in said or "index" in said or "inside an image" in said


def test_a_cut_file_still_gives_the_frames_that_are_there(movie, tmp_path: Path) -> None:
    path = cut(movie(tmp_path / "a.mp4", 60, (160, 120), container={"movflags": "+faststart"}), 0.8)
    assert read(path, WINDOW, 8, 24).used == 16, "a long download that broke off after the sample"
    refused(path, "the file is cut short .*the sample goes from frame 8 to 60", wanted=WINDOW, start=8, stop=60)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_flipped_bits_are_noticed(codec: str, movie, tmp_path: Path) -> None:
    path = movie(tmp_path / "a.mp4", 40, (160, 120), codec)
    whole = path.read_bytes()
    body = whole.index(b"mdat")
    size = int.from_bytes(whole[body - 4 : body], "big")
    rng = random.Random(0)
    noticed = 0
    for _ in range(10):
        data = bytearray(whole)
        at = body + size // 4 + rng.randrange(size // 2)
        data[at : at + 40] = rng.randbytes(40)
        path.write_bytes(data)
        try:
            assert read(path).used == 40, "every frame is there, as far as the decoder can tell"
        except VideoError as error:
            noticed += 1
            assert "frame" in str(error)
            assert "damaged" in str(error) or "cannot be decoded" in str(error)
    assert noticed >= 8


def patched_gif(movie: Callable[..., Path], tmp_path: Path, width: int, height: int) -> Path:
    path = movie(tmp_path / f"{width}.gif", 3, (64, 48), "gif", "rgb8")
    data = bytearray(path.read_bytes())
    data[6:10] = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("size", [(60000, 60000), (12000, 12000)])
def test_a_header_with_a_huge_size(size: tuple[int, int], movie, tmp_path: Path) -> None:
    """FFmpeg itself refuses the first; the second would take 576 MB a frame."""
    refused(patched_gif(movie, tmp_path, *size), "no frame can be decoded|pixels: at most")
    path = movie(tmp_path / "a.avi", 3, (64, 48), "mjpeg", "yuvj420p")
    data = bytearray(path.read_bytes())
    at = data.find(b"\xff\xc0")
    while at >= 0:
        data[at + 5 : at + 9] = size[1].to_bytes(2, "big") + size[0].to_bytes(2, "big")
        at = data.find(b"\xff\xc0", at + 4)
    path.write_bytes(data)
    refused(path, "no frame can be decoded|pixels: at most")


@pytest.mark.parametrize(("start", "stop"), [(5, 5), (7, 3), (-1, 4)])
def test_ranges_without_frames(start: int, stop: int, movie, tmp_path: Path) -> None:
    refused(movie(tmp_path / "a.mp4", 10), f"no frames lie between {start} and {stop}", start=start, stop=stop)


def test_ranges_beyond_the_end(movie, tmp_path: Path) -> None:
    path = movie(tmp_path / "a.mp4", 20)
    refused(path, "it has 20 frames, and the sample goes from frame 10 to 26", wanted=WINDOW, start=10, stop=26)
    refused(path, "it has 20 frames, and the sample starts at 20", start=20)
    assert read(path, WINDOW, 4, 20).used == 16


def test_short_samples_are_refused_if_the_plan_says_so(movie, tmp_path: Path) -> None:
    path = movie(tmp_path / "a.mp4", 10)
    said = refused(path, "10 frames, and 2x8@16 needs 16", wanted={"a": Wanted(parse_plan("2x8@16", "refuse"))})
    assert "Take another clip plan" in said
    assert read(path, WINDOW).used == 10


def test_nothing_is_printed(movie, tmp_path: Path, capfd) -> None:
    path = movie(tmp_path / "a.mp4", 20, (160, 120))
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    path.write_bytes(data)
    with pytest.raises(VideoError):
        read(path)
    assert capfd.readouterr() == ("", "")
