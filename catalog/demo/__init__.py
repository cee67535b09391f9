"""`demo`: 240 synthetic dives, drawn by this package, whose score follows from the motion by the sport's rules.

It is the test bed in which the truth is known and which needs no download; it measures the pipeline, not diving.
The labels are a pure function of a frozen seed and need no video; `make` renders the videos.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import AnnotationError, BadParameter
from ..about import About
from ..base import Dataset, Fold, Media, Protocol, Sample, Target
from ..features import read_npz
from . import rules
from .commentary import caption
from .programme import Dive, dives

__all__ = ["ABOUT", "make", "read"]

ABOUT = About(
    name="demo",
    title="Synthetic dives, rendered by aqa (no real diver, no real judge)",
    licence="MIT, like the package that draws them",
    cite="",
    source="rendered on first use from a frozen seed; nothing is downloaded",
    layouts=("videos/<id>.mp4", "poses.npz: stream pose, [T, 16, 3], MPII's joints in pixels"),
)


def read(root: Path | None = None, **options: Any) -> Dataset:
    """The 240 dives with their one protocol, `official`: 144 in train, 96 in test, no diver in both.

    `root`: where the videos are or will be (`make` renders them; nothing is read or written here), by default the
    user's cache folder. Raises BadParameter for any option: there are none.
    """
    if options:
        raise BadParameter(f"demo has no option '{next(iter(options))}'", hint="it takes a root and nothing else")
    videos = (default_root() if root is None else Path(root)) / "videos"
    samples = tuple(_sample(dive, videos) for dive in dives())
    train, test = (tuple(dive.id for dive in dives() if dive.test == part) for part in (False, True))
    top = round(30 * max(rules.DIFFICULTY.values()), 2)
    return Dataset(
        name="demo",
        samples=samples,
        targets=(Target("score", times_difficulty=True, ranges={"": (0.0, top)}),),
        protocols=(
            Protocol("official", (Fold("official", train, test),), note="synthetic; divers of test are not in train"),
        ),
        synthetic=True,
    )


def make(
    root: Path | None = None, *, progress: Callable[[int, int], None] | None = None, workers: int | None = None
) -> Path:
    """Render the videos that are missing, and the poses: see `render.make`. Imports PyAV and Pillow."""
    from . import render

    return render.make(default_root() if root is None else Path(root), progress=progress, workers=workers)


def default_root() -> Path:
    """``aqa/demo-v1`` in the user's cache folder ($XDG_CACHE_HOME, else ~/.cache)."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "aqa" / "demo-v1"


def _pose(root: Path) -> dict[str, np.ndarray]:
    """id -> [T, 16, 3]: x, y in pixels of the picture, confidence 1 (out of the picture where the camera misses)."""
    file = root if root.is_file() else root / "poses.npz"
    if not file.is_file():
        raise AnnotationError("no poses", file=file, hint="`aqa demo` makes them with the videos")
    arrays = read_npz(file, ("ids", "offsets", "poses"))
    offsets, poses = arrays["offsets"], arrays["poses"]
    whole = poses.ndim == 3 and poses.shape[1:] == (16, 2) and len(offsets) == len(arrays["ids"]) + 1
    if not whole or offsets[0] != 0 or offsets[-1] != len(poses) or (np.diff(offsets) < 1).any():
        raise AnnotationError("these are not the poses that aqa wrote", file=file, hint="remove it and run `aqa demo`")
    seen = np.concatenate([poses, np.ones_like(poses[..., :1])], axis=-1)
    return {str(i): seen[a:b] for i, a, b in zip(arrays["ids"], offsets[:-1], offsets[1:], strict=True)}


STREAMS = {"pose": _pose}


def _sample(dive: Dive, videos: Path) -> Sample:
    return Sample(
        id=dive.id,
        targets={"score": dive.score},
        media=Media(videos / f"{dive.id}.mp4", 0, sum(dive.frames)),
        difficulty=dive.difficulty,
        judges=dive.judges,
        kind=dive.number.text,
        event=f"demo open {dive.event + 1}",
        subject=f"diver {dive.subject + 1:02d}",
        attributes=rules.attributes(dive.number),
        caption=caption(dive),
        phases=dive.phases,
    )
