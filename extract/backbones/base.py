"""What a backbone is, as data: a network, the weights it takes, the pixels these expect, the layers it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import nn

Channels = Literal["rgb", "bgr", "flow"]

# From all rows that the network gives of a sample, float32 [T, *shape of one], and the height and width of each row's
# first frame as a player shows it, int64 [T, 2] (0, 0 for a frame of zeros), to what is kept of it, float32 [T, *kept],
# and to plain values that say what happened on the way.
Finish = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, Mapping[str, Any]]]


@dataclass(frozen=True)
class Pixels:
    """From decoded frames to the tensor that the network takes.

    Frames are resized (`resize` = (height, width), or the length of the short side), centre-cropped to `crop` =
    (height, width), put into `channels` order, scaled to ``0..scale`` (1.0 or 255.0), then ``(x - mean) / std`` per
    channel in that order. With `resize` "fit" the whole frame, its aspect kept, is made as large as `crop` allows and
    lies in its upper left; the rest is of the colour `mean`.
    """

    resize: tuple[int, int] | int | Literal["fit"]
    crop: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: Channels = "rgb"
    scale: float = 1.0


@dataclass(frozen=True)
class Weights:
    """One set of weights. `files`: names under which people have it. `keys`: name of the key map in `weights.py`.

    `sha256` is the digest of the published file where it is known, else None.
    """

    tag: str
    pixels: Pixels
    files: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    sha256: str | None = None
    licence: str = "none stated"
    source: str = ""


@dataclass(frozen=True)
class Backbone:
    """One architecture. `build(layer)` gives a plain module, ``[B, C, T, H, W] -> [B, *shape of the layer]``.

    `shapes` may depend on the clip: it maps layer -> a function (frames, height, width) -> shape of the feature.
    `lengths` and `sizes` tell what is allowed: `allowed(frames, height, width)` returns None, or the reason with the
    nearest clip that would do.

    With `rows` the feature of a clip begins with its frames, ``[T, *shape]``, and each of them is a row of the stream,
    as clips are else.

    `added`: what the names of those parts begin with that the published network has not. A file without such names is
    read all the same, and they begin as random weights of seed 0 have them.

    `finish(layer, pixels)` gives the step that is made once all clips of a sample are there; without it the network's
    output is kept as it is. `opens(file)` gives the module of weights that are no tensors by name, and all files that
    it is made of; there are no random weights then, and `build` serves for shapes alone.
    """

    arch: str
    layers: Mapping[str, Callable[[int, int, int], tuple[int, ...]]]  # the first is the default
    build: Callable[[str], nn.Module]
    allowed: Callable[[int, int, int], str | None]
    weights: Mapping[str, Weights]  # tag -> weights; "random" is always there, unless there is `opens`
    clip_length: int = 16  # what the paper uses
    plan: str | None = None  # the clip plan where neither the user nor the data set says one
    bf16: bool = True  # False: computed in fp32 whatever is chosen for the others
    rows: bool = False
    added: str | None = None
    finish: Callable[[str, Pixels], Finish] | None = None
    opens: Callable[[Path], tuple[nn.Module, tuple[Path, ...]]] | None = None
    paper: str = ""
    extractor: int = 1  # raised by hand when the numbers change
    extra: str | None = None  # optional package that it needs
    notes: tuple[str, ...] = field(default=())

    @property
    def layer(self) -> str:
        return next(iter(self.layers))
