"""Poses to be measured, and what is known of them: from a file, from a cached stream, from a video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..catalog.base import Media, Sample
from ..catalog.poses import SUFFIXES, read_pose
from ..errors import DataError, UnknownName, UnmetNeeds, UsageError

if TYPE_CHECKING:
    from ..cache.store import FeatureStore

EVENLY = 96  # rows that are taken evenly of a video: HP-MCoRe's poses, plan 96x1of96
POSE = "pose"  # the backbone of a video


@dataclass(frozen=True)
class Track:
    """The pose [T, J, 3] of one performance. `frames` [T]: which frame of the video each row is, None where nobody
    knows. `labels`: of every row. `fps`: rows in a second. `first`: what the first row is called."""

    name: str
    pose: np.ndarray
    frames: np.ndarray | None
    labels: tuple[int, ...] = ()
    kind: str = ""
    fps: float | None = None
    first: int = 0

    def part(self, start: int, stop: int | None) -> Track:
        """Rows from `start` to before `stop`. Raises UsageError if there is none."""
        stop = len(self.pose) if stop is None else stop
        if not 0 <= start < stop <= len(self.pose):
            said = f"frames {start} to {stop} of a pose with {len(self.pose)}"
            hint = f"frames count from 0, and --end is at most {len(self.pose)}"
            raise UsageError(said, field="--start, --end", hint=hint)
        rows = slice(start, stop)
        frames = None if self.frames is None else self.frames[rows]
        return replace(self, pose=self.pose[rows], frames=frames, labels=self.labels[rows], first=self.first + start)


def track_of_file(path: Path) -> Track:
    """Of a pose file. Row n is frame n in FineDiving-Pose's .json; of the others only a video can tell.

    Raises AnnotationError.
    """
    pose = read_pose(path)
    if len(pose) == 0:
        raise DataError("no frame has a pose", file=path)
    return Track(path.name, pose, np.arange(len(pose)) if path.suffix.lower() == ".json" else None)


def track_of_sample(store: FeatureStore, sample: str) -> Track:
    """Of a cached pose stream. Raises UnknownName, StoreError, UnmetNeeds for a stream that is no pose."""
    if sample not in store.dataset.by_id:
        raise UnknownName(f"sample of {store.dataset_name}", sample, store.dataset.by_id)
    (track,) = tracks_of_store(store, [sample])
    return track


def tracks_of_store(store: FeatureStore, ids: Sequence[str]) -> list[Track]:
    """Of many samples. Labels of frames go to the rows that are known to be these frames."""
    if len(store.shape) != 2 or store.shape[1] != 3:
        said = (
            f"the stream '{store.stream}' of {store.dataset_name} is {['T', *store.shape]}, and a pose [T, joints, 3]"
        )
        raise UnmetNeeds(said.replace("'T'", "T"), hint="see docs/poses.md for how poses get into the cache")
    values, offsets = store.read(ids)
    starts, times, _ = store.read_times(ids)
    sources = store.sources()
    found = []
    for sample, a, b in zip(ids, offsets[:-1], offsets[1:], strict=True):
        entry = store.dataset.by_id[sample]
        aligned = sources[sample].get("aligned", True)
        rows = _rows(entry, starts[a:b]) if aligned else None
        labels = () if rows is None or not entry.phases else tuple(entry.phases[i] for i in rows)
        first = 0 if entry.media is None else entry.media.start
        frames = None if rows is None else rows + first
        name = f"{store.dataset_name}:{sample}"
        found.append(Track(name, values[a:b], frames, labels, entry.kind or "", _rate(times[a:b])))
    return found


def track_of_video(media: Media, weights: str | None, device: str) -> Track:
    """Of a video or a folder of frames, by the pose backbone: every frame.

    Raises UsageError where there is no such backbone, VideoError, WeightsError.
    """
    from ..extract.backbones import BACKBONES  # the whole of extract only where there is a video
    from ..extract.engine import Failed, extract
    from ..extract.precision import choose
    from .streams import prepare

    if POSE not in BACKBONES:
        hint = "give a file of poses (.json, .npz, .txt) or DATASET:ID, and the video with --video"
        raise UsageError(f"{media.path} is a video, and this version finds no poses in videos", hint=hint)
    job = prepare(POSE, weights, plan="dense:1:1", plans={}, short="edge", precision="fp32").job(POSE)
    (event,) = extract([(str(media.path), media)], [job], device=choose(device).device, workers=0)
    if isinstance(event, Failed):
        raise event.error
    return Track(str(media.path), event.features, event.starts + media.start, fps=_rate(event.times), first=media.start)


def placed(track: Track, count: int) -> Track:
    """A track of a file with the frames of a video of `count` frames: each its own, or `EVENLY` of them.

    Raises UsageError where nobody can say which frame a row is.
    """
    frames = track.frames
    if frames is None and len(track.pose) == count:
        frames = np.arange(count)
    elif frames is None and len(track.pose) == EVENLY < count:
        frames = np.linspace(0, count - 1, EVENLY).astype(np.int64)
    if frames is None or frames[-1] >= count:
        said = f"{len(track.pose)} rows of pose and {count} frames of video: which row is which frame is not known"
        raise UsageError(said, field="--video", hint="leave --video out, or cut the video to the frames of the pose")
    return replace(track, frames=frames)


def in_pixels(track: Track, size: tuple[int, int] | None) -> Track:
    """With x and y that were parts of the picture in pixels of a picture of `size` (width, height).

    Raises UsageError where they are parts and the size is not known: angles would be wrong.
    """
    pose = track.pose
    seen = pose[..., :2][pose[..., 2] > 0]
    if not len(seen) or not (np.abs(seen[np.isfinite(seen)]) <= 2.0).all():
        return track
    if size is None:
        said = "x and y are parts of the picture, whose width and height are not known"
        raise UsageError(f"{track.name}: {said}", hint="give --size WIDTHxHEIGHT, or --video")
    return replace(track, pose=pose * np.array([*size, 1.0]))


def is_pose_file(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in SUFFIXES


def _rows(sample: Sample, starts: np.ndarray) -> np.ndarray | None:
    """Which frame of the sample each row is: as extraction wrote it, every one, or `EVENLY` of them."""
    count = len(sample.phases)
    if not count and sample.media is not None and sample.media.stop is not None:
        count = sample.media.stop - sample.media.start
    if (starts >= 0).all():
        return starts if not count or starts.max() < count else None
    if len(starts) == count:
        return np.arange(count)
    return np.linspace(0, count - 1, EVENLY).astype(np.int64) if len(starts) == EVENLY and count else None


def _rate(times: np.ndarray) -> float | None:
    steps = np.diff(times)
    return float(1.0 / np.median(steps)) if len(steps) and (steps > 0).all() else None
