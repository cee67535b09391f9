"""Some frames of a video as pictures, by the decoder of extraction."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ..catalog.base import Media
from ..errors import VideoError
from ..extract.backbones.base import Pixels
from ..extract.decode import Probe, probe, read_frames
from ..extract.video import Astray


def look_into(path: Path) -> Probe:
    """How many frames of which size and rate a video or a folder of images has. Raises VideoError."""
    if not path.exists():
        raise VideoError("no such file or folder", file=path)
    return probe(Media(path))


def shown_size(found: Probe) -> tuple[int, int]:
    """Width and height as a player shows it."""
    return (found.height, found.width) if found.rotation % 180 else (found.width, found.height)


def read_pictures(path: Path, numbers: Iterable[int]) -> dict[int, np.ndarray]:
    """The frames with these `numbers` (from 0), uint8 [H, W, 3], RGB, as a player shows them.

    Raises VideoError at a frame that is damaged or not there.
    """
    wanted = np.unique(np.fromiter(numbers, np.int64))
    try:
        found = _pictures(path, wanted, seek=True)
    except Astray:
        found = _pictures(path, wanted, seek=False)
    missing = set(wanted.tolist()) - found.keys()
    if missing:
        raise VideoError(f"it ends before frame {min(missing)}", file=path, field="frames")
    return found


def _pictures(path: Path, wanted: np.ndarray, *, seek: bool) -> dict[int, np.ndarray]:
    import torch

    from ..extract.pixels import to_frames

    found: dict[int, np.ndarray] = {}
    for chunk in read_frames(Media(path), wanted, seek=seek) if len(wanted) else ():
        whole = Pixels(chunk.layout.shown, chunk.layout.shown, (0.0,) * 3, (1.0,) * 3)
        pictures = to_frames(tuple(torch.from_numpy(plane) for plane in chunk.planes), chunk.layout, whole).numpy()
        found |= {int(number): picture.copy() for number, picture in zip(chunk.numbers, pictures, strict=True)}
    return found
