"""Poses to be measured, and what is known of them: from a file, from a cached stream, from a video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..catalog.base import Media, Sample
from ..catalog.poses import SUFFIXES, read_pose
from ..errors import DataError, UnknownName, UnmetNeeds, UsageError
from .pose_files import frames_of

if TYPE_CHECKING:
    from ..cache.store import FeatureStore
    from .console import Console

EVENLY = 96  # rows that are taken evenly of a video: HP-MCoRe's poses, plan 96x1of96
POSE = "pose"  # the backbone of a video where none is said


@dataclass(frozen=True)
class Track:
    """The pose [T, J, 3] of one performance. `frames` [T]: which frame of the video each row is, None where nobody
    knows. `labels`: of every row. `fps`: rows in a second. `first`: what the first row is called. `found`: by which
    network and how the whole of it was found, as extraction notes it; empty for poses that came as such."""

    name: str
    pose: np.ndarray
    frames: np.ndarray | None
    labels: tuple[int, ...] = ()
    kind: str = ""
    fps: float | None = None
    first: int = 0
    found: Mapping[str, Any] = field(default_factory=dict)

    @property
    def without(self) -> int:
        """In how many rows no joint was seen."""
        return int((~(self.pose[..., 2] > 0).any(axis=1)).sum())

    def part(self, start: int, stop: int | None) -> Track:
        """Rows from `start` to before `stop`. Raises UsageError if there is none."""
        rows = slice(start, _stop(start, stop, len(self.pose), "a pose"))
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
        by = _found(store.fingerprint.backbone, sources[sample])
        found.append(Track(name, values[a:b], frames, labels, entry.kind or "", _rate(times[a:b]), found=by))
    return found


def track_of_video(
    path: Path,
    console: Console,
    *,
    start: int = 0,
    stop: int | None = None,
    backbone: str = POSE,
    weights: str | None = None,
    person: str | None = None,
    device: str = "auto",
) -> Track:
    """Of the frames from `start` to before `stop` of a video or a folder of images, found as `aqa extract` finds poses.
    `weights`: a file, "torchvision" or "random"; None for published ones that torch's cache has already.

    Raises UsageError for frames that are not there and a backbone that finds no persons, VideoError, WeightsError.
    """
    from ..extract.backbones import parse  # the whole of extract only where there is a video
    from ..extract.engine import Failed, extract
    from ..extract.precision import choose
    from .streams import prepare, with_person
    from .video_frames import look_into

    stop = _stop(start, stop, look_into(path).frames, str(path))
    known, tag, _ = parse(backbone)
    if known.finish is None:
        hint = "take --backbone pose or rtmpose, or give a file of poses and the video with --video"
        raise UsageError(f"{backbone} finds no persons", field="--backbone", hint=hint)
    name, colon, layer = backbone.partition(":")
    if weights is None and tag is None:  # not the random ones of `aqa extract`: the measures would mean nothing
        name = f"{known.arch}.{next(iter(known.weights))}"
    [spec] = with_person([name + colon + layer], person)
    given = None if weights == "random" else weights
    one = prepare(spec, given, plan="dense:1:1", plans={}, short="edge", precision="fp32")
    device = choose(device, "fp32").device
    for warning in one.resolved.warnings:
        console.warn(warning)
    console.say(f"looking for persons in {stop - start} frames of {path}, on {device}")
    (event,) = extract([("", Media(path, start, stop))], [one.job(one.stream)], device=device, workers=0)
    if isinstance(event, Failed):
        raise event.error
    by = _found(one.resolved.name, event.notes)
    return Track(str(path), event.features, event.starts + start, fps=_rate(event.times), first=start, found=by)


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


def _stop(start: int, stop: int | None, count: int, what: str) -> int:
    """Where a range of frames ends. Raises UsageError for one with frames that are not there, or with none."""
    stop = count if stop is None else stop
    if not 0 <= start < stop <= count:
        hint = f"frames count from 0, and --end is at most {count}"
        raise UsageError(f"frames {start} to {stop} of {what} with {count}", field="--start, --end", hint=hint)
    return stop


def _rows(sample: Sample, starts: np.ndarray) -> np.ndarray | None:
    """Which frame of the sample each row is: as extraction wrote it, every one, or `EVENLY` of them."""
    count = frames_of(sample) or 0
    if (starts >= 0).all():
        return starts if not count or starts.max() < count else None
    if len(starts) == count:
        return np.arange(count)
    return np.linspace(0, count - 1, EVENLY).astype(np.int64) if len(starts) == EVENLY and count else None


def _found(backbone: str, notes: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of poses that a network found: `notes` under "pose" (see `extract.persons.finish`) and its name."""
    return {"backbone": backbone, **notes["pose"]} if "pose" in notes else {}


def _rate(times: np.ndarray) -> float | None:
    steps = np.diff(times)
    return float(1.0 / np.median(steps)) if len(steps) and (steps > 0).all() else None
