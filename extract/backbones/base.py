"""What a backbone is, as data: a network, the weights it takes, the pixels these expect, the layers it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import nn

Channels = Literal["rgb", "bgr", "flow"]


@dataclass(frozen=True)
class Pixels:
    """From decoded frames to the tensor that the network takes.

    Frames are resized (`resize` = (height, width), or the length of the short side), centre-cropped to `crop` =
    (height, width), put into `channels` order, scaled to ``0..scale`` (1.0 or 255.0), then ``(x - mean) / std`` per
    channel in that order.
    """

    resize: tuple[int, int] | int
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
    """

    arch: str
    layers: Mapping[str, Callable[[int, int, int], tuple[int, ...]]]  # the first is the default
    build: Callable[[str], nn.Module]
    allowed: Callable[[int, int, int], str | None]
    weights: Mapping[str, Weights]  # tag -> weights; "random" is always there
    clip_length: int = 16  # what the paper uses
    paper: str = ""
    extractor: int = 1  # raised by hand when the numbers change
    extra: str | None = None  # optional package that it needs
    notes: tuple[str, ...] = field(default=())

    @property
    def layer(self) -> str:
        return next(iter(self.layers))
