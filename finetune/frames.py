"""The frames of a sample at the size at which they are loaded, each decoded once, for all clips and all shifts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from ..catalog.base import Media
from ..extract.decode import Begin, Wanted, available, read_clips
from ..extract.frames import Chunk
from ..extract.pixels import to_frames
from ..extract.plan import ClipPlan
from .live import ClipSpec

Shifts = tuple[int, int]  # the first and the last: by how many frames a sample's range may be moved


class Loaded(NamedTuple):
    """`frames` uint8 [F, H, W, C], whole and resized; `places` int64 [S, T, L]: the frame of every clip for each of S
    shifts, -1 where it is one of zeros."""

    frames: Tensor
    places: np.ndarray


@dataclass(frozen=True)
class Shifted:
    """A plan under every shift of the sample's range, one after the other, inside media that were widened by `before`
    and `after` frames. What would lie outside of them is their first or last frame."""

    plan: ClipPlan
    shifts: Shifts
    before: int
    after: int

    @property
    def needs(self) -> int:
        return self.plan.needs + self.before + self.after

    @property
    def open_ended(self) -> bool:
        return self.plan.open_ended

    @property
    def length(self) -> int:
        return self.plan.length

    def indexes(self, n: int) -> np.ndarray:
        """Frames of each clip, int64 [S * T, length]; see `ClipPlan.indexes`."""
        clips = self.plan.indexes(n - self.before - self.after)
        low, high = self.shifts
        moved = [np.clip(clips + self.before + shift, 0, n - 1) for shift in range(low, high + 1)]
        return np.concatenate([np.where(clips < 0, -1, one) for one in moved])


def load_frames(media: Media, streams: Sequence[ClipSpec], shifts: Shifts = (0, 0)) -> dict[str, Loaded]:
    """What the clips of every stream hold under any of the shifts; the sample is decoded once for all of them.

    Raises VideoError if a frame that is needed is damaged or not there, or the sample is too short for a plan.
    """
    wide, before, after = _widened(media, shifts)
    plans = {s.name: cast(ClipPlan, Shifted(s.plan, shifts, before, after)) for s in streams}
    wanted = {s.name: Wanted(plans[s.name], s.channels == 2) for s in streams}
    parts: dict[str, _Frames] = {}
    for event in read_clips(wide, wanted):
        if isinstance(event, Begin):
            parts |= {s.name: _Frames(s, event, shifts) for s in streams if s.name in event.clips}
        elif isinstance(event, Chunk):
            planes = tuple(torch.from_numpy(plane) for plane in event.planes)
            for part in parts.values():
                part.add(event, planes)
    return {name: part.loaded() for name, part in parts.items()}


def cut(loaded: Loaded, shift: int, top: int, left: int, size: tuple[int, int], flip: bool) -> tuple[Tensor, Tensor]:
    """The clips of a sample: uint8 [T, L, h, w, C] cut out at `top`, `left` and mirrored if `flip` (horizontal flow
    then goes the other way), and bool [T, L]: which frames are of zeros. `shift` counts from 0, the first."""
    places = loaded.places[shift]
    frames = loaded.frames[:, top : top + size[0], left : left + size[1]]
    if flip:
        frames = frames.flip(2)
        if frames.shape[3] == 2:
            frames = torch.stack([255 - frames[..., 0], frames[..., 1]], dim=-1)
    clips = frames[torch.from_numpy(np.maximum(places, 0))]
    return clips, torch.from_numpy(places < 0)


class _Frames:
    """The frames of one stream as they come in."""

    def __init__(self, stream: ClipSpec, begin: Begin, shifts: Shifts) -> None:
        clips = begin.clips[stream.name]
        self.stream, self.start = stream, begin.start
        self.numbers = np.unique(clips[clips >= 0])
        places = np.where(clips >= 0, np.searchsorted(self.numbers, clips), -1)
        self.places = places.reshape(shifts[1] - shifts[0] + 1, -1, stream.plan.length)
        self.chunks: list[Tensor] = []

    def add(self, chunk: Chunk, planes: tuple[Tensor, ...]) -> None:
        if (chunk.layout.kind == "flow") != (self.stream.channels == 2):
            return
        mine = np.isin(chunk.numbers - self.start, self.numbers)
        if mine.any():
            rows = torch.from_numpy(np.flatnonzero(mine))
            kept = planes if mine.all() else tuple(plane.index_select(0, rows) for plane in planes)
            self.chunks.append(to_frames(kept, chunk.layout, self.stream.loaded(chunk.layout)))

    def loaded(self) -> Loaded:
        return Loaded(torch.cat(self.chunks), self.places)


def _widened(media: Media, shifts: Shifts) -> tuple[Media, int, int]:
    """`media` with the frames around the sample that shifts reach, as far as there are any, and how many these are
    before it and after it."""
    low, high = shifts
    before = min(max(-low, 0), media.start)
    if media.stop is None or high <= 0:
        return replace(media, start=media.start - before), before, 0
    after = max(0, min(high, available(media) - media.stop))
    return replace(media, start=media.start - before, stop=media.stop + after), before, after


def size_of(loaded: Mapping[str, Any]) -> int:
    """Bytes of the frames."""
    return sum(one.frames.numel() for one in loaded.values())
