"""Frames that lie in a folder as images, counted in the order of their sorted names.

JPEG and PNG go through FFmpeg's decoders like video: 1.4 to 2.7 times faster than Pillow, and the colours of a frame
are the same in a folder as in the video it was taken from.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import av
import av.error
import numpy as np

from ..catalog.frames import images, number
from ..errors import VideoError
from .frames import MAX_PIXELS, Layout, Picture, Tally
from .video import layout_of, plane_of, writer

_CODECS = {b"\xff\xd8": "mjpeg", b"\x89P": "png", b"BM": "bmp", b"II": "tiff", b"MM": "tiff", b"RI": "webp"}
_FLOW = re.compile(r"flow_(?P<axis>[xy])_(?P<rest>.*)", re.IGNORECASE)
_JPEG_END = b"\xff\xd9"


@dataclass(frozen=True)
class Listing:
    """Frames of a folder by name, in order; `flow` pairs ``flow_x_*`` with ``flow_y_*``, None for what is missing.

    `odd`: place of the first frame whose number does not follow from the one before, with what is wrong and a hint.
    """

    frames: tuple[str, ...]
    flow: tuple[tuple[str | None, str | None], ...]
    odd: tuple[int, str, str] | None


def listing(folder: Path) -> Listing:
    """Kept until the folder changes. Raises VideoError if it cannot be read."""
    return _listing(images(folder))


@lru_cache(maxsize=64)
def _listing(names: tuple[str, ...]) -> Listing:
    axes: dict[str, dict[str, str]] = {"x": {}, "y": {}}
    frames = []
    for name in names:
        if match := _FLOW.fullmatch(name):
            axes[match["axis"].lower()][match["rest"]] = name
        else:
            frames.append(name)
    pairs = tuple((axes["x"].get(rest), axes["y"].get(rest)) for rest in sorted(axes["x"].keys() | axes["y"].keys()))
    return Listing(tuple(frames), pairs, _odd(frames))


def _odd(names: list[str]) -> tuple[int, str, str] | None:
    """Names without numbers, or with several prefixes, are taken as they are."""
    numbers = [number(name) for name in names]
    if None in numbers or len(names) < 2 or len({re.sub(r"\d+$", "", Path(name).stem) for name in names}) > 1:
        return None
    steps = np.diff(np.array(numbers, dtype=np.int64))
    if (steps <= 0).any():
        i = int(np.argmax(steps <= 0))
        return i + 1, f"{names[i]} sorts before {names[i + 1]}", "pad the numbers with zeros to one length"
    if (steps != steps.min()).any():
        i = int(np.argmax(steps != steps.min()))
        return i + 1, f"between {names[i]} and {names[i + 1]} a frame is missing", "extract the frames again"
    return None


def count(folder: Path, *, flow: bool = False) -> int:
    """Frames in the folder, or pairs of flow images. Raises VideoError if there are none."""
    found = listing(folder)
    if flow and not found.flow:
        hint = "a flow network takes a folder of flow_x_* and flow_y_* images"
        raise VideoError("there are no flow images in the folder", file=folder, hint=hint)
    if not flow and not found.frames:
        raise VideoError(f"there are no frames in the folder{', only flow' if found.flow else ''}", file=folder)
    return len(found.flow if flow else found.frames)


def pictures(folder: Path, wanted: np.ndarray, tally: Tally, *, flow: bool = False) -> Iterator[Picture]:
    """The images at the places `wanted` (sorted, unique) of the sorted names; no other is opened. Images have no time.

    Raises VideoError for an image that is missing, cut short or damaged, and for images of differing size.
    """
    found = listing(folder)
    names = found.flow if flow else [(name,) for name in found.frames]
    if not flow and found.odd and found.odd[0] <= wanted[-1]:
        raise VideoError(found.odd[1], file=folder, hint=found.odd[2])
    tally.end = len(names)
    read = Reader()
    size = None
    for n in wanted[wanted < len(names)]:
        frames = []
        for name in names[n]:
            if name is None:
                raise VideoError(f"half of a pair of flow images is missing: {names[n]}", file=folder)
            frame = read(folder / name)
            frames.append(frame)
            tally.decoded += 1
            size = size or (frame.height, frame.width)
            if (frame.height, frame.width) != size:
                what = f"{frame.width} x {frame.height} pixels, where the images before have {size[1]} x {size[0]}"
                raise VideoError(what, file=folder / name)
        layout = _layout(frames)
        write = partial(_write_flow, frames) if flow else writer(frames[0], layout)
        yield Picture(int(n), math.nan, layout, write)


class Reader:
    """Decodes images, with one decoder per kind of file."""

    def __init__(self) -> None:
        self._decoders: dict[str, av.VideoCodecContext] = {}

    def __call__(self, path: Path) -> av.VideoFrame:
        """The image. Raises VideoError."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise VideoError(f"the image cannot be read: {error.strerror}", file=path) from error
        kind = _CODECS.get(data[:2])
        if kind is None:
            raise VideoError("the image is empty" if not data else "this is no image of a known format", file=path)
        if kind == "mjpeg" and _JPEG_END not in data[-1024:]:
            raise VideoError("the image is cut short", file=path, hint="extract the frames again")
        packet = av.Packet(data)
        packet.is_keyframe = True  # else the PNG decoder takes it for a difference to the image before
        try:
            frames = self._decoder(kind).decode(packet)
        except (av.error.FFmpegError, MemoryError) as error:
            self._decoders.pop(kind, None)
            why = getattr(error, "strerror", None) or "it takes too much memory"
            raise VideoError(f"the image is damaged: {why}", file=path, hint="extract the frames again") from error
        if len(frames) != 1:
            raise VideoError("the image cannot be decoded", file=path)
        return frames[0]

    def _decoder(self, kind: str) -> av.VideoCodecContext:
        if kind not in self._decoders:
            decoder = av.CodecContext.create(kind, "r")
            assert isinstance(decoder, av.VideoCodecContext)
            decoder.thread_count = 1
            decoder.options = {"max_pixels": str(MAX_PIXELS), "err_detect": "crccheck+explode"}
            self._decoders[kind] = decoder
        return self._decoders[kind]


def _layout(frames: list[av.VideoFrame]) -> Layout:
    if len(frames) == 2:
        return Layout("flow", frames[0].height, frames[0].width)
    layout = layout_of(frames[0])
    # An orientation tag is left alone, as by everybody who trained on such folders.
    return Layout(layout.kind, layout.height, layout.width, layout.matrix, layout.full)


def _write_flow(frames: list[av.VideoFrame], out: tuple[np.ndarray, ...]) -> None:
    for frame, plane in zip(frames, out, strict=True):
        plane[...] = _luma(frame)


def _luma(frame: av.VideoFrame) -> np.ndarray:
    if frame.format.name.startswith(("gray", "yuvj")) and frame.format.components[0].bits == 8:
        return plane_of(frame.planes[0])
    return frame.to_ndarray(format="gray")
