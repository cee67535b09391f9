"""Fis-V: 500 figure-skating short programs with a technical (TES) and a component score (PCS).

Xu et al., IEEE TCSVT 2020. The label files have no header, yet the readers released with GDLT and its successors skip
the first line of each: they train on 399 and test on 99 programs. Here every line is read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import AnnotationError
from .about import About
from .base import Dataset, Fold, Media, Protocol, Sample, Target
from .features import read_features
from .files import bases, need_file, text
from .frames import Layout, find_media, media_bases

LAYOUTS = (Layout("videos", "videos/{id}"), Layout("frames", "frames/{id}"), Layout("plain", "{id}"))
BELOW = ("fis-v", "Fis-V", "FisV", "VST/fis-v", "GDLT_data/VST/fis-v", "data")
SWIN = ("swintx_avg_fps25_clip32", "VST/fis-v/swintx_avg_fps25_clip32", "VST/fis-v")
I3D = ("I3D/fis-v", "../../I3D/fis-v", "i3d", "I3D")

ABOUT = About(
    name="fis-v",
    title="Fis-V, figure skating (500 short programs)",
    licence="none stated by the authors; research use, no redistribution",
    cite="C. Xu, Y. Fu, B. Zhang, Z. Chen, Y.-G. Jiang, X. Xue. Learning to Score Figure Skating Sport Videos. "
    "IEEE TCSVT 2020.",
    source="https://github.com/loadder/MS_LSTM",
    layouts=(
        "labels: train.txt and test.txt, lines of id, TES, PCS, deduction, in the folder or in fis-v/ or VST/fis-v/",
        "features: swintx_avg_fps25_clip32/{id}.npy (stream vst), I3D/fis-v/{id}.npy (stream i3d), [T, 1024]",
        "videos: videos/{id}.mp4 or frames/{id}/",
    ),
    options={"media": "folder of the videos or frames, if they do not lie beside the labels"},
    key="xu2020learning",
)


def read(root: Path, *, media: str | Path | None = None) -> Dataset:
    """Ids are those of the files ("1"). Raises AnnotationError."""
    where = bases(root, *BELOW)
    rows = {part: _rows(where, part) for part in ("train", "test")}
    trained = {i for i, _, _ in rows["train"]}
    every = rows["train"] + [row for row in rows["test"] if row[0] not in trained]  # Dataset refuses a shared one
    found = find_media(
        media_bases(where, media, *BELOW), LAYOUTS, [{"id": i} for i, _, _ in every], required=media is not None
    )
    samples = tuple(
        Sample(i, {"tes": tes, "pcs": pcs}, media=None if found is None else Media(found.paths[n]))
        for n, (i, tes, pcs) in enumerate(every)
    )
    train, test = (tuple(i for i, _, _ in rows[part]) for part in ("train", "test"))
    protocols = [Protocol("official", (Fold("0", train, test),), note="every line of the label files")]
    if len(train) > 1 and len(test) > 1:
        note = "without the first line of each label file, as the released readers of GDLT and its successors"
        protocols += [Protocol(name, (Fold("0", train[1:], test[1:]),), note=note) for name in ("gdlt", "paper")]
    return Dataset(ABOUT.name, samples, (Target("tes"), Target("pcs")), tuple(protocols))


def _rows(where: Sequence[Path], part: str) -> list[tuple[str, float, float]]:
    file = need_file(where, (f"{part}.txt",), what=f"{part} labels of Fis-V")
    rows = []
    for n, line in enumerate(text(file).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            i, tes, pcs = words[0], float(words[1]), float(words[2])
        except (IndexError, ValueError) as error:
            if n == 1 and len(words) > 2 and not any(word[0].isdigit() for word in words):
                continue  # a copy that somebody gave a header
            raise AnnotationError(f"line {n} is not id, TES, PCS: {error}", file=file, sample=words[0]) from error
        if not (math.isfinite(tes) and math.isfinite(pcs)):
            raise AnnotationError(f"line {n} has a score that is no number", file=file, sample=i)
        rows.append((i, tes, pcs))
    return rows


def _stream(folders: Sequence[str]):
    def stream(root: Path) -> dict[str, np.ndarray]:
        where = bases(root, *BELOW)
        return read_features(where, folders, [i for part in ("train", "test") for i, _, _ in _rows(where, part)])

    return stream


STREAMS = {"vst": _stream(SWIN), "i3d": _stream(I3D)}
