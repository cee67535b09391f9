"""Poses that people have, each read to [T, J, 3] float32: x, y, confidence.

Gaps are left as they are, NaN with confidence 0; `filled` closes them. Formats are those of HP-MCoRe (Qi et al., 2025)
and of the MediaPipe skeletons of FineDiving that are passed around; docs/poses.md describes them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from ..errors import AnnotationError, UnknownName
from .features import read_npz
from .files import text
from .frames import number
from .gaps import filled
from .mediapipe import mediapipe_rows, read_mediapipe
from .skeletons import of_joints

__all__ = [
    "SUFFIXES",
    "filled",
    "is_pose",
    "mediapipe_rows",
    "read_finediving_pose",
    "read_mediapipe",
    "read_pose",
    "read_predicted",
]

SUFFIXES = (".json", ".txt", ".npz")
JOINTS = 16  # of FineDiving-Pose: MPII's
MOST_SPAN = 100  # frames per annotated frame: beyond, the numbers are not those of one video


def read_pose(file: Path, sample: str | None = None) -> np.ndarray:
    """By the suffix: FineDiving-Pose's .json, `pred` in .npz, MediaPipe's .txt (its rows; see `mediapipe_rows`).

    Raises AnnotationError.
    """
    readers = {".json": read_finediving_pose, ".txt": mediapipe_rows, ".npz": read_predicted}
    if file.suffix.lower() not in readers:
        raise AnnotationError(f"not one of {' '.join(SUFFIXES)}", file=file, sample=sample)
    return readers[file.suffix.lower()](file, sample)


def is_pose(file: Path) -> bool:
    """Whether `read_pose` may take this file: a .json or .txt, or an .npz with `pred` in it."""
    suffix = file.suffix.lower()
    if suffix != ".npz":
        return suffix in SUFFIXES
    try:
        with ZipFile(file) as archive:
            return "pred.npy" in archive.namelist()
    except (OSError, BadZipFile):
        return False  # whoever reads it says what is wrong


def read_finediving_pose(file: Path, sample: str | None = None) -> np.ndarray:
    """The hand-annotated poses of one clip, [T, 16, 3] in pixels, MPII's joints.

    A JSON list of one object per frame with `joints` (16 x 2), `joints_vis` (16 numbers, the confidence) and `image`,
    whose number says which frame it is: numbers that are left out are gaps, NaN with confidence 0. The first number is
    taken for the first frame. What stands there beside these is not needed.

    Raises AnnotationError that names file, sample and field.
    """
    try:
        rows = json.loads(text(file))
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"not a whole JSON file: {error}", file=file, sample=sample) from error
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise AnnotationError("not a list of one object per frame", file=file, sample=sample)
    frames: dict[int, np.ndarray] = {}
    for row in rows:
        name = row.get("image")
        frame = number(name) if isinstance(name, str) else None
        if frame is None:
            said = f"no number of a frame, such as in finediv00000.jpg: {name!r}"
            raise AnnotationError(said, file=file, sample=sample, field="image")
        if frame in frames:
            raise AnnotationError(f"frame {frame} is there twice", file=file, sample=sample, field="image")
        places = _numbers(row, "joints", (JOINTS, 2), name, file, sample)
        seen = _numbers(row, "joints_vis", (JOINTS,), name, file, sample)
        if not np.isfinite(places[seen > 0]).all() or not np.isfinite(seen).all():
            said = f"{name}: a visible joint has no finite place"
            raise AnnotationError(said, file=file, sample=sample, field="joints")
        frames[frame] = np.concatenate([np.where(seen[:, None] > 0, places, np.nan), seen[:, None]], axis=1)
    first, last = min(frames), max(frames)
    if last - first >= MOST_SPAN * len(frames):
        said = f"{len(frames)} frames, numbered from {first} to {last}: these are not of one clip"
        raise AnnotationError(said, file=file, sample=sample, field="image")
    return _placed(frames, first, last - first + 1)


def read_predicted(file: Path, sample: str | None = None) -> np.ndarray:
    """An estimator's poses, [T, J, 3] in the units of the file: array `pred`, [T, J, 2] or [T, J, 3], of an .npz.

    Without a third channel the confidence is 1. Joints whose numbers are not finite are gaps. HP-MCoRe's are
    [96, 16, 2], MPII's joints in the frames `linspace(first, last, 96)` of a dive.

    Raises AnnotationError.
    """
    pred = read_npz(file, ("pred",), sample)["pred"]
    if pred.ndim != 3 or pred.shape[-1] not in (2, 3) or len(pred) == 0 or pred.dtype.kind not in "fiu":
        said = f"wanted numbers of [frames, joints, 2 or 3], got {pred.dtype} of {list(pred.shape)}"
        raise AnnotationError(said, file=file, sample=sample, field="pred")
    try:
        of_joints(pred.shape[1])
    except UnknownName as error:
        raise AnnotationError(error.what, file=file, sample=sample, field="pred", hint=error.hint) from error
    pose = np.ones((*pred.shape[:2], 3), np.float32)
    pose[..., : pred.shape[-1]] = pred
    pose[~np.isfinite(pose).all(-1)] = (np.nan, np.nan, 0.0)
    return pose


def _numbers(
    row: dict[str, Any], field: str, shape: tuple[int, ...], name: str, file: Path, sample: str | None
) -> np.ndarray:
    if field not in row:
        raise AnnotationError(f"{name} has no {field}", file=file, sample=sample, field=field)
    try:
        values = np.array(row[field], np.float64)
    except (TypeError, ValueError, OverflowError) as error:  # texts, lists of unequal lengths
        raise AnnotationError(f"{name}: no numbers: {error}", file=file, sample=sample, field=field) from error
    if values.shape != shape:
        said = f"{name}: wanted {' x '.join(map(str, shape))} numbers, got {' x '.join(map(str, values.shape))}"
        raise AnnotationError(said, file=file, sample=sample, field=field)
    return values


def _placed(frames: dict[int, np.ndarray], first: int, count: int) -> np.ndarray:
    pose = np.full((count, JOINTS, 3), (np.nan, np.nan, 0.0), np.float32)
    for frame, joints in frames.items():
        pose[frame - first] = joints
    return pose
