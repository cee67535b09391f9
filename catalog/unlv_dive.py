"""UNLV-Dive as features: 370 dives with P3D features, final score and difficulty; no video, no labels but these.

Parmar and Morris, CVPR workshops 2017; features of Xiang et al., ICIP 2018 (S3D, stacked segmental P3D). The network
was fine-tuned on the scores of train, so inside train the features know the answers: cross-validation there gives a
rank correlation of .99, where the test part gives .86.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import AnnotationError
from .about import About
from .base import Dataset, Fold, Protocol, Sample, Target
from .features import read_npz
from .files import bases, need_file

FILE = "unlv_dive_p3d.npz"
RULES = (0.0, 123.0)  # a mark is at most 30, the highest difficulty in the set 4.1
BELOW = ("unlv-dive", "UNLV-Dive", "data/unlv-dive")

ABOUT = About(
    name="unlv-dive",
    title="UNLV-Dive, P3D features (370 dives)",
    licence="none stated by the authors; research use, no redistribution",
    cite="P. Parmar, B. T. Morris. Learning to Score Olympic Events. CVPR Workshops 2017; features: X. Xiang et al. "
    "S3D: Stacking Segmental P3D for Action Quality Assessment. ICIP 2018.",
    source="https://github.com/YeTianJHU/diving-score",
    layouts=(f"{FILE}: x (370, 2048) is stream p3d; score, difficulty and split (0 train, 1 test), row by row",),
    key="parmar2017learning",
)


def read(root: Path) -> Dataset:
    """Ids are "unlv-000" and so on, by row. Raises AnnotationError."""
    arrays = _arrays(root, "score", "difficulty", "split")
    ids = [sample_id(row) for row in range(len(arrays["score"]))]
    samples = tuple(
        Sample(i, {"score": float(score)}, difficulty=float(difficulty))
        for i, score, difficulty in zip(ids, arrays["score"], arrays["difficulty"], strict=True)
    )
    train, test = (tuple(i for i, p in zip(ids, arrays["split"], strict=True) if p == part) for part in (0, 1))
    return Dataset(
        name=ABOUT.name,
        samples=samples,
        targets=(Target("score", times_difficulty=True, ranges={"": RULES}),),
        protocols=(Protocol("official", (Fold("0", train, test),)),),
        stream_flags={"p3d": ("fine-tuned-on-train",)},
    )


def sample_id(row: int) -> str:
    return f"unlv-{row:03d}"


def p3d(root: Path) -> dict[str, np.ndarray]:
    """id -> [1, 2048]. The file's `p3d_stage_scores` and `tcn_*` are predictions fitted on train: not offered."""
    x = _arrays(root, "x")["x"]
    if x.ndim != 2:
        raise AnnotationError(f"wanted one vector per dive, got {list(x.shape)}", file=root, field="x")
    return {sample_id(row): vector[None] for row, vector in enumerate(x)}


def _arrays(root: Path, *names: str) -> dict[str, np.ndarray]:
    file = root if root.is_file() else need_file(bases(root, *BELOW), (FILE,), what="features of UNLV-Dive")
    found = read_npz(file, ("score", *names))
    for name, array in found.items():
        if len(array) != len(found["score"]):
            raise AnnotationError(f"{len(array)} rows for {len(found['score'])} scores", file=file, field=name)
    return found


STREAMS = {"p3d": p3d}
