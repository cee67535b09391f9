"""The frames of a sample, whether it is a video or a folder of images; each is decoded once for all clip plans."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ..catalog.base import Media
from ..errors import VideoError
from . import folder, video
from .frames import Chunk, Tally, chunks, fresh_room
from .plan import ClipPlan


@dataclass(frozen=True)
class Probe:
    """What is known of a video or folder without decoding more than its first frame.

    `frames`: packets that will be shown, or images; `stated`: what the container's header says, 0 if nothing. `fps` is
    0.0 and `timed` False for images. `rotation`: degrees counter-clockwise that a player turns it. `cut`: how the file
    is cut short, or None. `height` and `width` are those before the turn.
    """

    kind: Literal["video", "folder", "flow"]
    frames: int
    height: int
    width: int
    fps: float = 0.0
    rotation: int = 0
    timed: bool = False
    stated: int = 0
    cut: str | None = None


@dataclass(frozen=True)
class Begin:
    """The plans in `clips` begin, perhaps again: then the frames that they were given are void.

    `clips`: plan -> frames of the sample, int64 [T, length], -1 for zeros. Frame 0 of the sample is frame `start` of
    the media.
    """

    clips: Mapping[str, np.ndarray]
    start: int


@dataclass(frozen=True)
class End:
    """All clips have their frames. `decoded`: frames decoded or images opened; `used`: frames that clips hold."""

    decoded: int
    used: int


@dataclass(frozen=True)
class Wanted:
    """A clip plan, and whether it is over flow images."""

    plan: ClipPlan
    flow: bool = False


def probe(media: Media) -> Probe:
    """Raises VideoError if there is no frame that can be decoded."""
    path = Path(media.path)
    if path.is_dir():
        found = folder.listing(path)
        flow = not found.frames and bool(found.flow)
        count = folder.count(path, flow=flow)
        chunk = next(read_frames(media, np.zeros(1, np.int64), flow=flow))
        return Probe("flow" if flow else "folder", count, chunk.layout.height, chunk.layout.width)
    index = video.index_of(path)
    chunk = next(read_frames(media, np.zeros(1, np.int64)), None)
    if chunk is None:
        raise VideoError("there is no frame in it", file=path, hint=video.AGAIN)
    with video.opened(path) as (_, stream):
        fps = float(stream.average_rate or 0)
    h, w, turns = chunk.layout.height, chunk.layout.width, chunk.layout.turns
    timed = not math.isnan(chunk.times[0])
    return Probe("video", index.shown, h, w, fps, 90 * turns, timed, index.stated, index.cut)


def available(media: Media) -> int:
    """Frames of the whole video or folder, as far as can be told without decoding. Raises VideoError."""
    path = Path(media.path)
    if path.is_dir():
        return folder.count(path, flow=not folder.listing(path).frames)
    return video.index_of(path).shown


def read_frames(
    media: Media,
    wanted: np.ndarray,
    *,
    flow: bool = False,
    tally: Tally | None = None,
    room: Callable[[], np.ndarray] = fresh_room,
    seek: bool = True,
    to_end: bool = False,
) -> Iterator[Chunk]:
    """The frames of the video or folder with the numbers `wanted` (from 0, sorted, unique), in order, in chunks.

    Ends early where the frames end: `tally.used` tells. Raises VideoError at the first frame that is damaged.
    """
    path = Path(media.path)
    tally = Tally() if tally is None else tally
    if path.is_dir():
        return chunks(folder.pictures(path, wanted, tally, flow=flow), tally, room)
    if flow:
        raise VideoError("a flow network takes a folder of flow_x_* and flow_y_* images", file=path)
    return chunks(video.pictures(path, wanted, tally, seek=seek, to_end=to_end), tally, room)


def read_clips(
    media: Media, wanted: Mapping[str, Wanted], room: Callable[[], np.ndarray] = fresh_room
) -> Iterator[Begin | Chunk | End]:
    """Begin, the frames that the clips of all plans hold, each once and in order, and End. Flow comes after images.

    Raises VideoError if a frame that is needed is damaged or not there, or the sample is too short for its plan.
    """
    if media.start < 0 or (media.stop is not None and media.stop <= media.start):
        raise VideoError(f"no frames lie between {media.start} and {media.stop}", file=media.path, field="frames")
    total = Tally()
    for flow in sorted({w.flow for w in wanted.values()}):
        plans = {name: w.plan for name, w in wanted.items() if w.flow == flow}
        yield from _read_kind(media, plans, flow, room, total)
    yield End(total.decoded, total.used)


def _read_kind(
    media: Media, plans: Mapping[str, ClipPlan], flow: bool, room: Callable[[], np.ndarray], total: Tally
) -> Iterator[Begin | Chunk]:
    path = Path(media.path)
    stop, sure = _stop(media, flow)
    n = stop - media.start
    to_end = not sure or (media.stop is None and any(plan.open_ended or n < plan.needs for plan in plans.values()))
    seek = True
    while True:
        clips = {name: _indexes(plan, n, path) for name, plan in plans.items()}
        needed = np.unique(np.concatenate([c[c >= 0] for c in clips.values()])) + media.start
        tally = Tally()
        yield Begin(clips, media.start)
        try:
            yield from read_frames(media, needed, flow=flow, tally=tally, room=room, seek=seek, to_end=to_end)
        except video.Astray:
            seek = False
            continue
        finally:
            total.decoded += tally.decoded
        end = tally.end or 0
        if tally.used == len(needed) and (not to_end or end == media.start + n or (not sure and end >= stop)):
            total.used += tally.used
            return
        counted = end - media.start
        if media.stop is not None or counted < 1 or counted == n:
            raise _too_few(media, end)
        n = counted  # packets and frames are not always one to one


def _stop(media: Media, flow: bool) -> tuple[int, bool]:
    """Where the sample ends, as far as that can be told without decoding; False if there seem to be fewer packets."""
    path = Path(media.path)
    if path.is_dir():
        there, cut = folder.count(path, flow=flow), None
        # Between n frames there are n - 1 flow images.
        stop = there if media.stop is None or (flow and media.stop == there + 1) else media.stop
    else:
        index = video.index_of(path)
        there, cut = index.shown, index.cut
        if cut and media.stop is None:
            raise VideoError(f"the file is cut short: {cut}", file=path, hint=video.AGAIN)
        if not there:
            raise VideoError("there is no frame in it", file=path, hint=video.AGAIN)
        stop = there if media.stop is None else media.stop
        if stop > there and not cut:
            return stop, False
    if stop > there or stop <= media.start:
        raise _too_few(media, there, cut)
    return stop, True


def _indexes(plan: ClipPlan, n: int, path: Path) -> np.ndarray:
    try:
        return plan.indexes(n)
    except VideoError as error:
        error.file = str(path)
        raise


def _too_few(media: Media, there: int, cut: str | None = None) -> VideoError:
    what = f"it has {there} frames" if there else "no frame can be decoded"
    if cut:
        what = f"the file is cut short ({cut}): {what}"
    wants = f"starts at {media.start}" if media.stop is None else f"goes from frame {media.start} to {media.stop}"
    hint = "compare the frame numbers of the annotation with the video" if not cut else video.AGAIN
    return VideoError(f"{what}, and the sample {wants}", file=media.path, field="frames", hint=hint)
