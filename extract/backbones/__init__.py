"""Backbones by name: `arch[.tag][:layer]`, as in `c3d`, `c3d.sports1m`, `c3d:pool5`, `i3d.rgb_kinetics`, `c3d.random`.

`arch.tuned` are weights that `aqa finetune` left.

`backbone` tells what an architecture is, `resolve` gives a network with its weights in it. Other packages add theirs
through the entry-point group "aqa.backbones": architecture -> "module:attribute", a `Backbone`.
"""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from pathlib import Path

from ...errors import UnknownName, UsageError
from .base import Backbone, Pixels, Weights
from .resolving import Resolved, load
from .tuned import TAG

__all__ = ["BACKBONES", "Backbone", "Pixels", "Resolved", "Weights", "backbone", "names", "parse", "resolve"]

BACKBONES: dict[str, str] = {
    "c3d": "c3d:BACKBONE",
    "c3d_small": "c3d_small:BACKBONE",
    "mscadc": "mscadc:BACKBONE",
    "i3d": "i3d:RGB",
    "i3d_flow": "i3d:FLOW",
    "r3d_18": "torchvision_video:R3D_18",
    "mc3_18": "torchvision_video:MC3_18",
    "r2plus1d_18": "torchvision_video:R2PLUS1D_18",
    "s3d": "torchvision_video:S3D",
    "mvit_v2_s": "torchvision_video:MVIT_V2_S",
    "swin3d_t": "torchvision_video:SWIN3D_T",
    "swin3d_s": "torchvision_video:SWIN3D_S",
    "swin3d_b": "torchvision_video:SWIN3D_B",
    "resnet18": "torchvision_image:RESNET18",
    "resnet34": "torchvision_image:RESNET34",
    "resnet50": "torchvision_image:RESNET50",
    "regnet_y_400mf": "torchvision_image:REGNET_Y_400MF",
    "regnet_y_400mf_gsm": "regnet_gsm:BACKBONE",
    "pose": "keypoint_rcnn:BACKBONE",
    "rtmpose": "rtmpose:BACKBONE",
}
GROUP = "aqa.backbones"


def names() -> list[str]:
    """Every architecture, ours first."""
    return list(dict.fromkeys([*BACKBONES, *sorted(point.name for point in entry_points(group=GROUP))]))


def backbone(arch: str) -> Backbone:
    """The architecture called `arch`. Raises UnknownName, which suggests the nearest."""
    if arch in BACKBONES:
        module, _, attribute = BACKBONES[arch].partition(":")
        found = getattr(importlib.import_module(f".{module}", __name__), attribute)
    else:
        points = entry_points(group=GROUP, name=arch)
        if not points:
            raise UnknownName("backbone", arch, names())
        found = next(iter(points)).load()
    if not isinstance(found, Backbone):
        raise UsageError(f"the entry point '{arch}' of {GROUP} is {type(found).__name__}, not a Backbone")
    return found


def parse(spec: str) -> tuple[Backbone, str | None, str]:
    """`arch[.tag][:layer]` -> the architecture, the tag if one is said, and the layer. Raises UnknownName."""
    name, colon, layer = spec.partition(":")
    arch, dot, tag = name.partition(".")
    found = backbone(arch)
    if dot and tag not in (*found.weights, TAG):
        raise UnknownName(f"weights of {arch}", tag, found.weights)
    if colon and layer not in found.layers:
        raise UnknownName(f"layer of {arch}", layer, found.layers)
    return found, tag if dot else None, layer if colon else found.layer


def resolve(spec: str, weights: str | Path | None = None, seed: int = 0) -> Resolved:
    """The network that `spec` (`arch[.tag][:layer]`) and a weight file mean.

    `weights` is a file, or "torchvision", which downloads what torchvision publishes unless its cache has it. Without
    a tag it is chosen by the file's name and by the names of its tensors. Without weights and tag it is `arch.random`,
    from `seed`; the warnings say what that means.

    Raises:
        UnknownName: no such architecture, tag or layer.
        MissingExtra: a package that the backbone needs is not installed.
        BadParameter: a weight file together with the tag "random", or "torchvision" for what it does not publish.
        WeightsError, UnsafePickle: the file cannot be read, or is not of this network; says which keys.
    """
    return load(*parse(spec), weights, seed)
