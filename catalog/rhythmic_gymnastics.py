"""Rhythmic Gymnastics: 1000 routines with ball, clubs, hoop and ribbon, one model per apparatus.

Zeng et al., ACM MM 2020 (ACTION-NET). The videos are seldom had; people pass around features of Video Swin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import AnnotationError
from .about import About
from .base import Dataset, Fold, Media, Problem, Protocol, Sample, Target
from .features import read_features
from .files import bases, need_file, text
from .frames import Layout, find_media, media_bases

APPARATUS = ("Ball", "Clubs", "Hoop", "Ribbon")
COLUMNS = ("Video_Name", "Difficulty_Score", "Execution_Score", "Total_Score", "Penalty", "Video_length")
ROUNDING = 0.015  # marks are given to two decimals: a total may be .01 off
LAYOUTS = (Layout("videos", "videos/{id}"), Layout("frames", "frames/{id}"), Layout("plain", "{id}"))
BELOW = ("RG", "rg", "VST/RG", "GDLT_data/VST/RG", "GDLT_data", "rg_feat", "data")
SWIN = ("swintx_avg_fps25_clip32", "VST/RG/swintx_avg_fps25_clip32", "VST/RG")
I3D = ("I3D/RG", "../../I3D/RG", "i3d", "I3D")

ABOUT = About(
    name="rhythmic-gymnastics",
    title="Rhythmic Gymnastics (1000 routines, four apparatus)",
    licence="none stated by the authors; research use, no redistribution",
    cite="L.-A. Zeng et al. Hybrid Dynamic-static Context-aware Attention Network for Action Assessment in Long "
    "Videos. ACM MM 2020.",
    source="https://github.com/qinghuannn/ACTION-NET",
    layouts=(
        "labels: train.txt and test.txt with a header line, in the folder or in RG/ or VST/RG/",
        "features: swintx_avg_fps25_clip32/{id}.npy (stream vst), I3D/RG/{id}.npy (stream i3d), [T, 1024]",
        "videos: videos/{id}.mp4 or frames/{id}/",
    ),
    options={"media": "folder of the videos or frames, if they do not lie beside the labels"},
    key="zeng2020hybrid",
)


def read(root: Path, *, media: str | Path | None = None) -> Dataset:
    """Ids are the names ("Ball_001"), groups the apparatus. Raises AnnotationError."""
    where = bases(root, *BELOW)
    rows = {part: _rows(where, part) for part in ("train", "test")}
    trained = {name for name, _ in rows["train"]}
    every = rows["train"] + [row for row in rows["test"] if row[0] not in trained]  # Dataset refuses a shared one
    found = find_media(
        media_bases(where, media, *BELOW), LAYOUTS, [{"id": name} for name, _ in every], required=media is not None
    )
    samples, problems = [], []
    for n, (name, (difficulty, execution, total, penalty)) in enumerate(every):
        group = name.partition("_")[0]
        if group not in APPARATUS:
            raise AnnotationError(f"the name begins with none of {', '.join(APPARATUS)}", sample=name, field=COLUMNS[0])
        samples.append(
            Sample(
                id=name,
                targets={"total": total, "difficulty": difficulty, "execution": execution},
                media=None if found is None else Media(found.paths[n]),
                group=group,
            )
        )
        added = difficulty + execution - penalty
        if abs(added - total) > ROUNDING:
            said = f"difficulty, execution and penalty give {added:.2f}, the total is {total:.2f} and is kept"
            problems.append(Problem(name, "total", said))
    folds = tuple(
        Fold("0", _of(group, rows["train"]), _of(group, rows["test"]), group)
        for group in APPARATUS
        if any(sample.group == group for sample in samples)
    )
    return Dataset(
        name=ABOUT.name,
        samples=tuple(samples),
        # Execution is deducted from ten; difficulty, and with it the total, is open at the top since 2018.
        targets=(Target("total"), Target("difficulty"), Target("execution", ranges={"": (0.0, 10.0)})),
        protocols=(Protocol("official", folds, note="one model per apparatus"),),
        problems=tuple(problems),
    )


def _of(group: str, rows: Sequence[tuple[str, tuple[float, ...]]]) -> tuple[str, ...]:
    return tuple(name for name, _ in rows if name.startswith(f"{group}_"))


def _rows(where: Sequence[Path], part: str) -> list[tuple[str, tuple[float, ...]]]:
    """(name, (difficulty, execution, total, penalty)) by the names of the columns in the header line."""
    file = need_file(where, (f"{part}.txt",), what=f"{part} labels of Rhythmic Gymnastics")
    lines = text(file).splitlines()
    header = lines[0].split() if lines else []
    for column in COLUMNS[:5]:
        if column not in header:
            raise AnnotationError("the header line lacks a column", file=file, field=column)
    at = [header.index(column) for column in COLUMNS[:5]]
    rows = []
    for n, line in enumerate(lines[1:], start=2):
        words = line.split()
        if not words:
            continue
        try:
            values = tuple(float(words[column]) for column in at[1:])
        except (IndexError, ValueError) as error:
            raise AnnotationError(f"line {n} does not fit the header: {error}", file=file, sample=words[0]) from error
        if not all(map(math.isfinite, values)):
            raise AnnotationError(f"line {n} has a mark that is no number", file=file, sample=words[0])
        rows.append((words[at[0]], values))
    return rows


def _stream(folders: Sequence[str]):
    def stream(root: Path) -> dict[str, np.ndarray]:
        where = bases(root, *BELOW)
        ids = [name for part in ("train", "test") for name, _ in _rows(where, part)]
        return read_features(where, folders, ids)

    return stream


STREAMS = {"vst": _stream(SWIN), "i3d": _stream(I3D)}
