"""The video networks of torchvision by one table: their feature before the classifier, their published transforms.

torchvision resizes without anti-aliasing and crops the centre; the published transforms are in `Weights.pixels`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from .base import Backbone, Pixels
from .hub import published
from .i3d import AveragePool

RESNET = Pixels((128, 171), (112, 112), (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))
S3D_PIXELS = Pixels((256, 256), (224, 224), RESNET.mean, RESNET.std)
MVIT = Pixels(256, (224, 224), (0.45, 0.45, 0.45), (0.225, 0.225, 0.225))
SWIN = Pixels(256, (224, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
LICENCE = "BSD-3-Clause (torchvision); trained on Kinetics-400"


def build(layer: str, arch: str, classifier: str) -> nn.Module:
    """torchvision's network; for "penultimate" its `classifier` is left out. Weights are not loaded here."""
    from torchvision.models import get_model

    net = get_model(arch, weights=None)
    if layer == "penultimate":
        setattr(net, classifier, nn.Identity())
    if arch == "s3d":
        net.avgpool = AveragePool((2, 7, 7))  # the same, in bfloat16 too
    return net


def _at_least(least: tuple[int, int, int]) -> Callable[[int, int, int], str | None]:
    def allowed(frames: int, height: int, width: int) -> str | None:
        clip = (frames, height, width)
        if all(size >= bound for size, bound in zip(clip, least, strict=True)):
            return None
        nearest = "x".join(str(max(size, bound)) for size, bound in zip(clip, least, strict=True))
        return (
            f"it takes clips of {'x'.join(map(str, least))} or more, not {frames}x{height}x{width}; nearest {nearest}"
        )

    return allowed


def _exactly(only: tuple[int, int, int]) -> Callable[[int, int, int], str | None]:
    def allowed(frames: int, height: int, width: int) -> str | None:
        text = "x".join(map(str, only))
        return None if (frames, height, width) == only else f"it takes clips of {text}, not {frames}x{height}x{width}"

    return allowed


def _backbone(
    arch: str,
    classifier: str,
    width: int,
    clip_length: int,
    pixels: Pixels,
    allowed: Callable[[int, int, int], str | None],
    files: dict[str, str],
    paper: str,
) -> Backbone:
    """`files`: tag -> name of the published file, which ends in the first 8 digits of its sha256."""
    return Backbone(
        arch=arch,
        layers={"penultimate": lambda *_: (width,), "logits": lambda *_: (400,)},
        build=partial(build, arch=arch, classifier=classifier),
        allowed=allowed,
        weights=published({tag: (file, pixels) for tag, file in files.items()}, LICENCE, pixels),
        clip_length=clip_length,
        paper=paper,
    )


CLOSER_LOOK = "Tran et al., CVPR 2018, arXiv 1711.11248"
VIDEO_SWIN = "Liu et al., CVPR 2022, arXiv 2106.13230"
ANY, PATCHES = _at_least((4, 32, 32)), _at_least((2, 32, 32))
K400 = "kinetics400"
SWIN_B = {K400: "swin3d_b_1k-24f7c7c6.pth", "kinetics400_imagenet22k": "swin3d_b_22k-7c6ae6fa.pth"}

R3D_18 = _backbone("r3d_18", "fc", 512, 16, RESNET, ANY, {K400: "r3d_18-b3b3357e.pth"}, CLOSER_LOOK)
MC3_18 = _backbone("mc3_18", "fc", 512, 16, RESNET, ANY, {K400: "mc3_18-a90a0ba3.pth"}, CLOSER_LOOK)
R2PLUS1D_18 = _backbone("r2plus1d_18", "fc", 512, 16, RESNET, ANY, {K400: "r2plus1d_18-91a641e6.pth"}, CLOSER_LOOK)
S3D = _backbone(
    "s3d", "classifier", 1024, 128, S3D_PIXELS, _at_least((14, 224, 224)), {K400: "s3d-d76dad2f.pth"},
    "Xie et al., ECCV 2018, arXiv 1712.04851",
)  # fmt: skip
MVIT_V2_S = _backbone(
    "mvit_v2_s", "head", 768, 16, MVIT, _exactly((16, 224, 224)), {K400: "mvit_v2_s-ae3be167.pth"},
    "Li et al., CVPR 2022, arXiv 2112.01526",
)  # fmt: skip
SWIN3D_T = _backbone("swin3d_t", "head", 768, 32, SWIN, PATCHES, {K400: "swin3d_t-7615ae03.pth"}, VIDEO_SWIN)
SWIN3D_S = _backbone("swin3d_s", "head", 768, 32, SWIN, PATCHES, {K400: "swin3d_s-da41c237.pth"}, VIDEO_SWIN)
SWIN3D_B = _backbone("swin3d_b", "head", 1024, 32, SWIN, PATCHES, SWIN_B, VIDEO_SWIN)
