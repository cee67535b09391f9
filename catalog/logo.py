"""LOGO: 200 routines of artistic swimming by teams of eight, up to five minutes long, with the action of every frame.

Zhang et al., CVPR 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AnnotationError, SplitError
from .about import About
from .base import Dataset, Fold, Media, Protocol, Sample, Target
from .features import read_features
from .files import bases, need_file
from .frames import Layout, find_media, media_bases
from .pickles import load_pickle

LAYOUTS = (
    Layout("release", "LOGO/{event}/{index}"),
    Layout("release", "Video_result/{event}/{index}"),
    Layout("plain", "{event}/{index}"),
)
BELOW = ("LOGO", "logo", "data", "data/LOGO")
LABELS = ("info/", "LOGO Anno&Split/", "")
SWIN = ("swintx_avg_fps25_clip32", "VST/LOGO")
I3D = ("I3D/LOGO", "i3d", "I3D")

ABOUT = About(
    name="logo",
    title="LOGO, artistic swimming (200 routines)",
    licence="none stated by the authors; research use, no redistribution",
    cite="S. Zhang et al. LOGO: A Long-Form Video Dataset for Group Action Quality Assessment. CVPR 2023.",
    source="https://github.com/shiyi-zh0408/LOGO",
    layouts=(
        "labels: anno_dict.pkl, train_split3.pkl and test_split3.pkl in info/, 'LOGO Anno&Split/' or the folder itself",
        "frames: {event}/{index}/*.jpg, below LOGO/ or Video_result/ or the folder itself",
        "features: logo_feats/{event}_{index}.npy (stream logo_feats), swintx_avg_fps25_clip32/ (stream vst), "
        "I3D/LOGO/ (stream i3d)",
    ),
    options={"media": "folder of the frames or videos, if they do not lie beside the labels"},
    key="zhang2023logo",
)


def read(root: Path, *, media: str | Path | None = None) -> Dataset:
    """Ids are "{event}_{index}", `kind` is tech or free, `phases` the action of every frame (12 kinds).

    Raises AnnotationError and SplitError.
    """
    where = bases(root, *BELOW)
    table = _table(where)
    keys = [{"event": str(event), "index": str(index)} for event, index in table]
    found = find_media(media_bases(where, media, *BELOW), LAYOUTS, keys, required=media is not None)
    samples = tuple(
        Sample(
            id=sample_id(key),
            targets={"score": float(row[1])},
            media=None if found is None else Media(found.paths[n]),
            kind=str(row[0]),
            event=str(key[0]),
            phases=_phases(key, row),
        )
        for n, (key, row) in enumerate(table.items())
    )
    train, test = (_split(where, part) for part in ("train", "test"))
    return Dataset(
        name=ABOUT.name,
        samples=samples,
        targets=(Target("score"),),
        protocols=(Protocol("official", (Fold("0", train, test),)),),
    )


def sample_id(key: Sequence[Any]) -> str:
    """(event, index) -> "WorldChampionship2019_free_final_0"."""
    return f"{key[0]}_{key[1]}"


def _phases(key: Sequence[Any], row: Sequence[Any]) -> tuple[int, ...]:
    try:
        return tuple(int(action) for action in row[4]) if len(row) > 4 else ()
    except (TypeError, ValueError) as error:
        said = f"the action of each frame is not a list of numbers: {error}"
        raise AnnotationError(said, sample=sample_id(key), field="phases") from error


def _table(where: Sequence[Path]) -> dict[tuple[Any, Any], Sequence[Any]]:
    file = need_file(where, [f"{folder}anno_dict.pkl" for folder in LABELS], what="annotations of LOGO")
    plain = load_pickle(file)
    if not isinstance(plain, dict) or not plain:
        raise AnnotationError("not a table of (event, index)", file=file)
    for key, row in plain.items():
        named = isinstance(key, tuple) and len(key) == 2
        if not named or not isinstance(row, list) or len(row) < 2 or not isinstance(row[1], int | float | np.number):
            wanted = "wanted (event, index) -> [event type, score, -, end frames, action of each frame]"
            raise AnnotationError(wanted, file=file, sample=str(key))
    return plain


def _split(where: Sequence[Path], part: str) -> tuple[str, ...]:
    names = [f"{folder}{part}_split{n}.pkl" for n in ("3", "") for folder in LABELS]
    file = need_file(where, names, what=f"{part} list of LOGO")
    plain = load_pickle(file)
    if not isinstance(plain, list) or any(not isinstance(key, tuple) or len(key) != 2 for key in plain):
        raise SplitError("not a list of (event, index)", file=file)
    return tuple(sample_id(key) for key in plain)


def _stream(folders: Sequence[str]):
    def stream(root: Path) -> dict[str, np.ndarray]:
        where = bases(root, *BELOW)
        return read_features(where, folders, [sample_id(key) for key in _table(where)])

    return stream


STREAMS = {"vst": _stream(SWIN), "i3d": _stream(I3D), "logo_feats": _stream(("logo_feats",))}
