"""AQA-7: six sports with a final score each, one model per sport.

Parmar and Morris, WACV 2019. Everybody leaves out the seventh, trampoline, whose videos are several times longer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.io

from ..errors import AnnotationError
from .about import About
from .base import Dataset, Fold, Media, Protocol, Sample, Target
from .files import bases, need_file
from .frames import Layout, find_media, media_bases

SPORTS = ("diving", "gym_vault", "ski_big_air", "snowboard_big_air", "sync_diving_3m", "sync_diving_10m")
TRAMPOLINE = 7
LENGTH = 103  # every video has so many frames; all are read
# Big-air runs are marked out of 50. The other sports have no highest score without the difficulty, which the lists
# do not give: their range is that of train.
RULES = {"ski_big_air": (0.0, 50.0), "snowboard_big_air": (0.0, 50.0)}
# Lowest and highest score over train and test, by which CoRe and its successors scale (a mild leak).
PUBLISHED = {
    "diving": (21.6, 102.6),
    "gym_vault": (12.3, 16.87),
    "ski_big_air": (8.0, 50.0),
    "snowboard_big_air": (8.0, 50.0),
    "sync_diving_3m": (46.2, 104.88),
    "sync_diving_10m": (49.8, 99.36),
}
HUNDREDFOLD = 150.0  # no score of these sports is as high: a list with higher ones has its scores x 100
LAYOUTS = (Layout("sports", "{sport}-out/{id:03d}"),)
BELOW = (
    *("Seven", "AQA-7", "AQA_7", "aqa-7", "aqa7", "AQA-7/data", "AQA_7/frames", "data", "frames"),
    *("data_preprocessed/AQA_7", "data_preprocessed/AQA_7/frames"),
)

ABOUT = About(
    name="aqa-7",
    title="AQA-7, six sports (1106 performances)",
    licence="none stated by the authors; research use, no redistribution",
    cite="P. Parmar, B. T. Morris. Action Quality Assessment Across Multiple Actions. WACV 2019.",
    source="http://rtis.oit.unlv.edu/datasets.html",
    layouts=(
        "lists: Split_4/split_4_{train,test}_list.mat, or the same files in info/ or in the folder itself; lists with "
        "scores x 100 (consolidated_{train,test}_list.mat) are recognised",
        "CoRe, T2CR: Seven/{sport}-out/{id:03d}/img_{i:05d}.jpg, 103 images",
        "AQA-Benchmark: AQA-7/data/{sport}-out/{id:03d}/",
        "TPT: data_preprocessed/AQA_7/frames/{sport}-out/{id:03d}/",
        "videos as published: {sport}-out/{id:03d}.avi in any of these folders",
    ),
    options={"media": "folder of the frames or videos, if they do not lie beside the lists"},
    key="parmar2019aqa7",
)


def read(root: Path, *, media: str | Path | None = None) -> Dataset:
    """Ids are "diving-054"; the groups are the six sports. Raises AnnotationError."""
    where = bases(root, *BELOW)
    rows = {part: _list(where, part) for part in ("train", "test")}
    scale = 100.0 if max(score for part in rows.values() for _, _, score in part) > HUNDREDFOLD else 1.0
    trained = {(sport, number) for sport, number, _ in rows["train"]}
    tested = [row for row in rows["test"] if row[:2] not in trained]  # Dataset refuses the split if that drops any
    listed = [(sport, number, score / scale) for sport, number, score in rows["train"] + tested]
    listed.sort(key=lambda row: (SPORTS.index(row[0]), row[1]))
    keys = [{"sport": sport, "id": number} for sport, number, _ in listed]
    found = find_media(media_bases(where, media, *BELOW), LAYOUTS, keys, required=media is not None)
    samples = tuple(
        Sample(
            id=sample_id(sport, number),
            targets={"score": score},
            media=None if found is None else Media(found.paths[n], 0, LENGTH),
            group=sport,
        )
        for n, (sport, number, score) in enumerate(listed)
    )
    folds = tuple(Fold("0", _of(sport, rows["train"]), _of(sport, rows["test"]), sport) for sport in SPORTS)
    return Dataset(
        name=ABOUT.name,
        samples=samples,
        targets=(Target("score", ranges=RULES),),
        protocols=(
            Protocol("official", folds, note="split 4; one model per sport"),
            Protocol(
                "paper",
                folds,
                ranges=PUBLISHED,
                r_l2="test",
                flags=("constants-from-test",),
                note="scores scaled by the range of train and test, R-l2 over that of test, as published",
            ),
        ),
        plans={"c3d": "6x16@103", "i3d": "10x16@103", "*": "10x16@103"},
    )


def sample_id(sport: str, number: int) -> str:
    return f"{sport}-{number:03d}"


def _of(sport: str, rows: Sequence[tuple[str, int, float]]) -> tuple[str, ...]:
    return tuple(sample_id(sport, number) for name, number, _ in rows if name == sport)


def _list(where: Sequence[Path], part: str) -> list[tuple[str, int, float]]:
    """Rows (sport, number, score) in the order of the list, without trampoline."""
    stems = (f"split_4_{part}_list.mat", f"consolidated_{part}_list.mat")
    names = [f"{folder}{stem}" for stem in stems for folder in ("Split_4/", "info/", "")]
    file = need_file(where, names, what=f"{part} list of AQA-7")
    variable = f"consolidated_{part}_list"
    try:
        table = np.asarray(scipy.io.loadmat(str(file))[variable], dtype=np.float64)
    except (OSError, ValueError, TypeError, NotImplementedError) as error:
        raise AnnotationError(f"not a MATLAB file of version 4 to 7: {error}", file=file) from error
    except KeyError:
        raise AnnotationError("the variable is missing", file=file, field=variable) from None
    if table.ndim != 2 or table.shape[1] != 3:
        raise AnnotationError(f"wanted rows of class, number, score, got {table.shape}", file=file, field=variable)
    rows = []
    for sport, number, score in table.tolist():
        if sport == TRAMPOLINE:
            continue
        if sport not in range(1, len(SPORTS) + 1) or number != int(number) or number < 1:
            raise AnnotationError(f"no such class and number: {sport:g}, {number:g}", file=file, field=variable)
        rows.append((SPORTS[int(sport) - 1], int(number), score))
    if not rows:
        raise AnnotationError("the list is empty", file=file, field=variable)
    return rows
