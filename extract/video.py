"""Frames of a video file, counted as a player shows them, through PyAV.

What a container says of its frames is a hint: an edit list hides some, a cut file lacks some, a damaged one breaks off.
So packets are counted, then frames; what the decoder flags as damaged is an error, never a feature.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import av
import av.container
import av.error
import numpy as np

from ..errors import VideoError
from .container import cut_short
from .frames import MAX_PIXELS, Layout, Picture, Tally

# Playlists (concat, hls, dash, image2...) are left out: they open other files.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,mpegts,mpeg,mpegvideo,flv,gif,apng,asf,ogg,h264,hevc,m4v,ivf,mxf,dv,"
    "nut,yuv4mpegpipe,wtv,rm,mjpeg"
)
AGAIN = "get the file again, or re-encode it with ffmpeg"
_ATTACHED_PICTURE = 0x400  # the cover of an audio file
_MATRIX: dict[int, Literal["bt601", "bt709"]] = {1: "bt709", 2: "bt601", 5: "bt601", 6: "bt601"}


class Astray(Exception):
    """A seek did not lead where the index says: read again from the start."""


@dataclass(frozen=True)
class Index:
    """Packets that will be shown. `times`: their timestamps, sorted, so that frame i has times[i]; None where they
    cannot tell frames apart. `keyframes`: (frame number, timestamp) of those to which one can seek.
    `stated`: frames by the container's header, 0 if it says nothing; `cut`: how the file is cut short."""

    shown: int
    stated: int
    times: np.ndarray | None
    keyframes: tuple[tuple[int, int], ...]
    cut: str | None

    def number(self, time: int | None) -> int | None:
        """The number of the frame with this timestamp."""
        if self.times is None or time is None:
            return None
        i = int(np.searchsorted(self.times, time))
        return i if i < len(self.times) and self.times[i] == time else None


@contextmanager
def opened(path: Path, threads: int = 1) -> Iterator[tuple[av.container.InputContainer, Any]]:
    """The container and its video stream, its decoder set up but not yet opened. Raises VideoError."""
    size = regular_size(path)
    if not size:
        raise VideoError("the file is empty", file=path, hint=AGAIN)
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    try:
        # Not `options`: these go to the streams too, and formats that find streams late crash on them (PyAV < 18).
        container = av.open(f"file:{path.absolute()}", container_options=options)
    except av.error.PermissionError as error:
        raise VideoError("the file may not be read", file=path) from error
    except (av.error.FFmpegError, UnicodeError) as error:
        cut = cut_short(path)
        what = f"the file is cut short: {cut}" if cut else "this is no video of a known format"
        raise VideoError(what, file=path, hint=AGAIN if cut else None) from error
    with container:
        streams = [s for s in container.streams.video if not _bits(s.disposition) & _ATTACHED_PICTURE]
        if not streams:
            raise VideoError("there is no video stream in it", file=path)
        stream = streams[0]
        codec = stream.codec_context
        if codec is None:
            raise VideoError("this FFmpeg has no decoder for it", file=path, hint="re-encode it as H.264")
        if codec.width * codec.height > MAX_PIXELS:
            raise _too_large(path, codec.width, codec.height)
        codec.thread_count = threads
        codec.options = {"max_pixels": str(MAX_PIXELS)}
        if codec.name == "mjpeg":  # frames do not depend on each other, so nothing but this shows damage
            codec.options = {**codec.options, "err_detect": "explode"}
        yield container, stream


def _bits(flags: Any) -> int:
    """A flag of PyAV, which is an enum in some versions and a number in others."""
    return int(getattr(flags, "value", flags))


def regular_size(path: Path) -> int:
    """The size of a file in bytes. Raises VideoError if it is none, or cannot be looked at."""
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise VideoError("there is no such file", file=path) from error
    except OSError as error:
        raise VideoError(f"the file cannot be read: {error.strerror}", file=path) from error
    if not stat.S_ISREG(status.st_mode):
        raise VideoError("this is neither a video file nor a folder of images", file=path)
    return status.st_size


def index_of(path: Path) -> Index:
    """Made by reading all packets and decoding none. Kept until the file changes: a competition is one long file from
    which many samples are taken. Raises VideoError."""
    regular_size(path)
    status = path.stat()
    return _index(os.fspath(path), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=8)
def _index(name: str, size: int, mtime_ns: int) -> Index:  # noqa: ARG001  (size and time are the key)
    path = Path(name)
    with opened(path) as (container, stream):
        try:
            packets = [(p.pts, p.is_keyframe, p.is_discard) for p in container.demux(stream) if p.size]
        except av.error.FFmpegError as error:
            raise VideoError(f"the file is damaged: {error.strerror}", file=path, hint=AGAIN) from error
        stated = int(stream.frames)
    # Nothing before the first keyframe can be decoded.
    first = next((i for i, (_, key, _) in enumerate(packets) if key), 0)
    shown = [(pts, key) for pts, key, discard in packets[first:] if not discard]
    cut = cut_short(path)
    stamps = [pts for pts, _ in shown if pts is not None]
    if len(set(stamps)) < len(shown):
        return Index(len(shown), stated, None, (), cut)
    times = np.sort(np.array(stamps, dtype=np.int64))
    index = Index(len(shown), stated, times, (), cut)
    keys = [(index.number(pts) or 0, pts) for pts, key in shown if key and pts is not None]
    return replace(index, keyframes=tuple(sorted(keys)))


def pictures(
    path: Path, wanted: np.ndarray, tally: Tally, *, seek: bool = True, to_end: bool = False, threads: int = 1
) -> Iterator[Picture]:
    """The frames whose numbers are in `wanted` (sorted, unique), each decoded once; ends early where the video ends.

    Decoding begins at the last keyframe before the first wanted frame (`seek`; else at the start) and stops after the
    last wanted one, or goes on `to_end` so that `tally.end` is known.

    Raises VideoError at the first damaged frame, Astray if a seek went wrong.
    """
    index = index_of(path)
    first, last = int(wanted[0]), int(wanted[-1])
    keyframe, timestamp = max((k for k in index.keyframes if k[0] <= first), default=(0, 0)) if seek else (0, 0)
    with opened(path, threads) as (container, stream):
        if keyframe:
            container.seek(timestamp, stream=stream)
        number, at = keyframe, 0
        for frame in _decoded(path, container, stream, tally):
            if keyframe:
                known = index.number(frame.pts)
                if known is not None and known < keyframe:  # refers to frames before the keyframe
                    continue
                if known != number:
                    raise Astray
            if frame.is_corrupt:
                raise VideoError(f"frame {number} is damaged", file=path, hint=AGAIN)
            if at < len(wanted) and number == wanted[at]:
                layout = layout_of(frame)
                yield Picture(number, math.nan if frame.time is None else frame.time, layout, writer(frame, layout))
                at += 1
            number += 1
            if number > last and not to_end:
                return
        tally.end = number


def _decoded(path: Path, container: Any, stream: Any, tally: Tally) -> Iterator[av.VideoFrame]:
    frames = container.decode(stream)
    try:
        for frame in frames:
            tally.decoded += 1
            if frame.width * frame.height > MAX_PIXELS:
                raise _too_large(path, frame.width, frame.height)
            yield frame
    except MemoryError as error:
        raise out_of_memory(path) from error
    except av.error.FFmpegError as error:
        which = f"frame {tally.decoded}" if tally.decoded else "no frame"
        what = f"{which} cannot be decoded: {error.strerror}" if tally.decoded else f"{which} can be decoded"
        raise VideoError(what, file=path, hint=AGAIN) from error


def out_of_memory(path: Path) -> VideoError:
    return VideoError("decoding it takes more memory than a worker may have", file=path, field="memory")


def _too_large(path: Path, width: int, height: int) -> VideoError:
    return VideoError(f"frames of {width} x {height} pixels: at most {MAX_PIXELS} are decoded", file=path)


def layout_of(frame: av.VideoFrame) -> Layout:
    """Planes as decoded for 8-bit 4:2:0 of even size and of a known colour matrix; RGB from the scaler for the rest."""
    turns = round(frame.rotation / 90) % 4 if frame.rotation % 90 == 0 else 0
    matrix = _MATRIX.get(int(frame.colorspace))
    planar = frame.format.name in ("yuv420p", "yuvj420p") and not (frame.width % 2 or frame.height % 2)
    if not planar or matrix is None:
        return Layout("rgb", frame.height, frame.width, turns=turns)
    full = frame.format.name == "yuvj420p" or int(frame.color_range) == 2
    return Layout("yuv420", frame.height, frame.width, matrix, full, turns)


def writer(frame: av.VideoFrame, layout: Layout) -> Callable[[tuple[np.ndarray, ...]], None]:
    return partial(_write_planes if layout.kind == "yuv420" else _write_rgb, frame)


def _write_planes(frame: av.VideoFrame, out: tuple[np.ndarray, ...]) -> None:
    for plane, target in zip(frame.planes, out, strict=True):
        target[...] = plane_of(plane)


def _write_rgb(frame: av.VideoFrame, out: tuple[np.ndarray, ...]) -> None:
    out[0][...] = frame.to_ndarray(format="rgb24")


def plane_of(plane: Any) -> np.ndarray:
    """The uint8 [height, width] inside a plane, whose lines are padded. Not copied: use it while the frame lives."""
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
