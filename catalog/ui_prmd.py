"""UI-PRMD: rehabilitation exercises by ten healthy subjects, ten times as they should be and ten times not, as
skeletons of a Kinect; was it done correctly?

Vakanski et al., Data 3(1), 2018.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import AnnotationError
from .about import About
from .base import Dataset, Fold, Protocol, Sample, Target
from .features import read_npz, read_table
from .files import bases
from .kinect import PARENTS, places
from .protocols import grouped_folds, leave_one_out

PACKED = "uiprmd_kinect_m01_m02.npz"
CORRECT, INCORRECT = "Segmented Movements/Kinect", "Incorrect Segmented Movements/Kinect"
NAME = re.compile(r"m(\d+)_s(\d+)_e(\d+)_(?:positions|angles)(_inc)?\.txt")
BELOW = ("ui-prmd", "UI-PRMD", "data/ui-prmd", "data/UI-PRMD")
RANDOM_FOLDS, RANDOM_SEED = 10, 0  # as many as there are subjects: both protocols train on nine tenths

ABOUT = About(
    name="ui-prmd",
    title="UI-PRMD, rehabilitation exercises (Kinect skeletons)",
    licence="ODC Public Domain Dedication and Licence 1.0",
    cite="A. Vakanski, H.-p. Jun, D. Paul, R. Baker. A Data Set of Human Body Movements for Physical Rehabilitation "
    "Exercises. Data 3(1), 2018.",
    source="https://webpages.uidaho.edu/ui-prmd/",
    layouts=(
        f"release: '{CORRECT}/Angles/m01_s01_e01_angles.txt' and '{INCORRECT}/Angles/m01_s01_e01_angles_inc.txt', "
        "likewise Positions; every movement that is there",
        f"packed: {PACKED}: positions, angles, offsets, movement, subject, episode, correct",
        "streams angles and positions, [T, 66]: 22 joints x 3; joints, [T, 22, 3], where these put the joints",
    ),
    key="vakanski2018data",
)


@dataclass(frozen=True, order=True)
class Episode:
    movement: int
    subject: int
    episode: int
    incorrect: bool

    @property
    def id(self) -> str:
        """As the release names its files: "m01_s01_e01", "m01_s01_e01_inc"."""
        return f"m{self.movement:02d}_s{self.subject:02d}_e{self.episode:02d}{'_inc' if self.incorrect else ''}"


def read(root: Path) -> Dataset:
    """Target `correct` is 1 or 0, groups are the movements, subjects the performers. Raises AnnotationError."""
    episodes = sorted(_packed_episodes(file) if (file := _packed(root)) else _text_files(root, "angles", "positions"))
    samples = tuple(
        Sample(e.id, {"correct": float(not e.incorrect)}, group=f"m{e.movement:02d}", subject=f"s{e.subject:02d}")
        for e in episodes
    )
    subjects: list[Fold] = []
    random: list[Fold] = []
    for group in dict.fromkeys(sample.group for sample in samples):
        members = [sample for sample in samples if sample.group == group]
        ids = [sample.id for sample in members]
        subjects += leave_one_out(ids, [str(sample.subject) for sample in members], group=group)
        random += grouped_folds(ids, [None] * len(ids), RANDOM_FOLDS, seed=RANDOM_SEED, group=group)
    return Dataset(
        name=ABOUT.name,
        samples=samples,
        targets=(Target("correct", kind="binary", unit="", ranges={"": (0.0, 1.0)}),),
        protocols=(
            Protocol("leave-one-subject-out", tuple(subjects), pooled=True, note="each subject is judged unseen"),
            Protocol(
                "random",
                tuple(random),
                pooled=True,
                flags=("subjects-split-at-random",),
                note="repetitions of one subject are in train and in test: it measures who, not how",
            ),
        ),
        plans={"*": "dense:16:16"},
    )


def _stream(kind: str):
    def stream(root: Path) -> dict[str, np.ndarray]:
        file = _packed(root)
        if file is None:
            files = sorted(_text_files(root, kind).items())
            return {e.id: read_table(path, 3 * len(PARENTS), e.id) for e, path in files}
        arrays = read_npz(file, (kind, "offsets"))
        cuts = zip(arrays["offsets"][:-1], arrays["offsets"][1:], strict=True)
        return {e.id: arrays[kind][a:b] for e, (a, b) in zip(_packed_episodes(file), cuts, strict=True)}

    return stream


ANGLES, POSITIONS = _stream("angles"), _stream("positions")


def _joints(root: Path) -> dict[str, np.ndarray]:
    """id -> [T, 22, 3] of `kinect-22`: x, y, z in cm. Raises AnnotationError where angles do not fit positions."""
    angles, positions = ANGLES(root), POSITIONS(root)
    for i in sorted(angles.keys() ^ positions.keys()):
        there, not_there = ("angles", "positions") if i in angles else ("positions", "angles")
        raise AnnotationError(f"{there} without {not_there}", file=root, sample=i, field=not_there)
    for i in angles:
        if angles[i].shape != positions[i].shape:
            said = f"angles are {list(angles[i].shape)}, positions {list(positions[i].shape)}"
            raise AnnotationError(said, file=root, sample=i, field="positions")
    return {i: places(positions[i], angles[i]) for i in positions}


STREAMS = {"angles": ANGLES, "positions": POSITIONS, "joints": _joints}


def _packed(root: Path) -> Path | None:
    if root.is_file():
        return root
    return next((base / PACKED for base in bases(root, *BELOW) if (base / PACKED).is_file()), None)


def _packed_episodes(file: Path) -> list[Episode]:
    arrays = read_npz(file, ("movement", "subject", "episode", "correct", "offsets"))
    columns = [arrays[name].tolist() for name in ("movement", "subject", "episode", "correct")]
    n = len(columns[0])
    if any(len(column) != n for column in columns) or len(arrays["offsets"]) != n + 1:
        raise AnnotationError("the arrays do not have one row per sequence", file=file, field="offsets")
    return [Episode(m, s, e, not c) for m, s, e, c in zip(*columns, strict=True)]


def _text_files(root: Path, *kinds: str) -> dict[Episode, Path]:
    """The release's files of the first of `kinds` that is there."""
    folders = [[f"{part}/{kind.capitalize()}" for part in (CORRECT, INCORRECT)] for kind in kinds]
    for pair in folders:
        for base in bases(root, *BELOW):
            paths = [path for name in pair for path in sorted((base / name).glob("m*.txt"))]
            matches = [(NAME.fullmatch(path.name), path) for path in paths]
            found = {Episode(int(m[1]), int(m[2]), int(m[3]), m[4] is not None): path for m, path in matches if m}
            if found:
                return found
    looked = ", ".join(name for pair in folders for name in pair)
    raise AnnotationError(f"no sequences: looked for {PACKED}, {looked}", file=root)
