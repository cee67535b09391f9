"""Poses that people have as files, one per sample, for any data set."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..cache.arrays import SUFFIXES
from ..catalog.base import Dataset, Sample
from ..catalog.poses import filled, is_pose, read_pose
from ..errors import AnnotationError


def holds_poses(path: Path) -> bool:
    """Whether `path` is a file of poses, or a folder with such files and with no other arrays."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    poses = [file for file in files if is_pose(file)]
    return bool(poses) and not any(file.suffix.lower() in SUFFIXES and not is_pose(file) for file in files)


@dataclass
class PoseFiles:
    """Reads poses with their gaps closed. `unaligned`: samples of which row n is not known to be frame n.

    Where the data set says how many frames a sample has, a file that is made frame by frame (.json, .txt) and has
    fewer is taken as it is and marked; one that has more is refused, and one without any becomes that many gaps. Where
    it does not say it, a file without any stays empty.
    """

    dataset: Dataset
    unaligned: set[str] = field(default_factory=set)

    def __call__(self, file: Path, sample: str) -> np.ndarray:
        """[T, J, 3], T = 0 if nobody is seen and nobody knows for how long. Raises AnnotationError."""
        pose, frames = read_pose(file, sample), frames_of(self.dataset.by_id[sample])
        if file.suffix.lower() == ".npz":  # frames that were taken from the video evenly
            return filled(pose)
        if len(pose) == 0:
            return np.zeros((frames or 0, *pose.shape[1:]), np.float32)
        if frames is not None and len(pose) > frames:
            said = f"{len(pose)} frames of pose, and the sample has {frames}"
            raise AnnotationError(said, file=file, sample=sample, field="frames")
        if len(pose) != frames and (frames is not None or file.suffix.lower() == ".txt"):
            self.unaligned.add(sample)
        return filled(pose)


def frames_of(sample: Sample) -> int | None:
    """How many frames a sample has, where the annotations say it."""
    if sample.phases:
        return len(sample.phases)
    media = sample.media
    if media is None:
        return sample.frames
    return None if media.stop is None else media.stop - media.start
