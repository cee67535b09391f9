"""From the frames of a sample, as they come in, to the clips of each network, and from their features to a result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from .backbones.base import Pixels
from .frames import Chunk
from .pixels import to_frames


class Part:
    """What one job makes of one sample: `clips` int64 [T, L] (frames of the sample, -1 for zeros) and their features.

    A part whose sample begins again is replaced; features that still come in for it go nowhere.
    """

    def __init__(self, clips: np.ndarray) -> None:
        self.clips = clips
        self.features: np.ndarray | None = None
        self.left = len(clips)

    def put(self, t: int, feature: np.ndarray) -> None:
        if self.features is None:
            self.features = np.empty((len(self.clips), *feature.shape), np.float32)
        self.features[t] = feature
        self.left -= 1


def first_frames(clips: np.ndarray, rows: bool) -> np.ndarray:
    """The frame with which each row of a stream begins, int64, of clips int64 [T, L]: a row is a clip, with `rows` a
    frame of one."""
    return clips.reshape(-1) if rows else clips[:, 0]


class View:
    """The frames of one sample as `pixels` asks for them, kept until the last clip that holds them has been taken."""

    def __init__(self, pixels: Pixels, parts: Sequence[Part], start: int) -> None:
        self.pixels = pixels
        used = np.concatenate([part.clips[part.clips >= 0] for part in parts])
        self._numbers = np.unique(used)
        self._start = start
        self._queues = [_Queue(part, self._numbers) for part in parts]
        self._chunks: list[tuple[int, torch.Tensor]] = []  # place of the first frame in _numbers, frames
        self._have = 0

    def add(self, chunk: Chunk, planes: Sequence[torch.Tensor]) -> Iterator[tuple[Part, int, torch.Tensor, np.ndarray]]:
        """Takes in frames; yields the clips that are now complete: part, place, uint8 [L, H, W, C], which are zeros."""
        mine = np.isin(chunk.numbers - self._start, self._numbers)
        if not mine.any():
            return
        if not mine.all():
            keep = torch.from_numpy(np.flatnonzero(mine)).to(planes[0].device)
            planes = [plane.index_select(0, keep) for plane in planes]
        frames = to_frames(tuple(planes), chunk.layout, self.pixels)
        self._chunks.append((self._have, frames))
        self._have += len(frames)
        for queue in self._queues:
            for t in queue.complete(self._have):
                yield queue.part, t, self._clip(queue.places[t]), queue.places[t] < 0
        oldest = min(queue.oldest for queue in self._queues)
        self._chunks = [(first, frames) for first, frames in self._chunks if first + len(frames) > oldest]

    def _clip(self, places: np.ndarray) -> torch.Tensor:
        firsts = np.array([first for first, _ in self._chunks])
        clip = self._chunks[-1][1].new_zeros(len(places), *self._chunks[-1][1].shape[1:])
        source = np.searchsorted(firsts, places, side="right") - 1
        breaks = np.flatnonzero((np.diff(source) != 0) | (np.diff(places) != 1)) + 1
        for run in np.split(np.arange(len(places)), breaks):
            place = places[run[0]]
            if place >= 0:
                first, frames = self._chunks[source[run[0]]]
                clip[run[0] : run[-1] + 1] = frames[place - first : place - first + len(run)]
        return clip


class _Queue:
    """The clips of a part that have not been taken yet. `places` int64 [T, L]: where in the view's frames, -1 zeros."""

    def __init__(self, part: Part, numbers: np.ndarray) -> None:
        self.part = part
        self.places = np.where(part.clips >= 0, np.searchsorted(numbers, part.clips), -1)
        self._last = np.maximum.accumulate(self.places.max(axis=1))  # the frame that completes it and all before
        first = np.where(self.places >= 0, self.places, len(numbers)).min(axis=1)
        self._first = np.minimum.accumulate(first[::-1])[::-1]  # the oldest frame that it or one behind needs
        self._next = 0

    def complete(self, have: int) -> Iterator[int]:
        while self._next < len(self.places) and self._last[self._next] < have:
            self._next += 1
            yield self._next - 1

    @property
    def oldest(self) -> int:
        return int(self._first[self._next]) if self._next < len(self._first) else np.iinfo(np.int64).max
