"""Image networks of torchvision, for streams with one row per frame: ResNet-18, -34, -50 and RegNetY-400MF.

The static stream of HP-MCoRe and MCoRe is such a stream, of 96 frames (plan ``96x1of96``). HP-MCoRe has RegNetY-200MF;
torchvision's smallest RegNetY is the one of 400 MF, 440 wide instead of 368.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from .base import Backbone, Pixels
from .hub import published

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
V1, V2 = Pixels(256, (224, 224), *IMAGENET), Pixels(232, (224, 224), *IMAGENET)
LICENCE = "BSD-3-Clause (torchvision); trained on ImageNet-1k"
BEHIND = {"penultimate": "fc", "map": "avgpool"}  # layer -> the first module that it does not need


class ImageNetwork(nn.Module):
    """``[B, 3, 1, H, W] -> [B, *shape]``: torchvision's network `arch`, its modules one after the other.

    penultimate (D,), the mean over the last map; map (D, H/32, W/32); logits (1000,) of ImageNet. What lies behind
    `layer` is not built.
    """

    def __init__(self, layer: str, arch: str) -> None:
        from torchvision.models import get_model

        super().__init__()
        with torch.device("cpu"), torch.random.fork_rng(devices=[]):  # RegNet's widths are computed with tensors
            net = get_model(arch, weights=None)
        for name, module in net.to(torch.get_default_device()).named_children():
            if name == BEHIND.get(layer):
                break
            self.add_module(name, module)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        x = clips[:, :, 0]
        for name, module in self.named_children():
            x = module(x)
            if name == "avgpool":
                x = x.flatten(1)
        return x


def allowed(frames: int, height: int, width: int) -> str | None:
    """One frame of at least 32x32 pixels. See `Backbone.allowed`."""
    if frames == 1 and min(height, width) >= 32:
        return None
    nearest = f"1x{max(height, 32)}x{max(width, 32)}"
    return (
        f"it takes single frames of 32x32 pixels or more, not {frames} of {height}x{width}; nearest {nearest}, "
        "as of the plans 96x1of96 and dense:1:1"
    )


def _backbone(arch: str, width: int, files: dict[str, tuple[str, Pixels]], paper: str) -> Backbone:
    return Backbone(
        arch=arch,
        layers={
            "penultimate": lambda *_: (width,),
            "map": lambda _, height, width_: (width, -(-height // 32), -(-width_ // 32)),
            "logits": lambda *_: (1000,),
        },
        build=partial(ImageNetwork, arch=arch),
        allowed=allowed,
        weights=published(files, LICENCE, V1),
        clip_length=1,
        plan="96x1of96",
        paper=paper,
    )


RESIDUAL = "He et al., CVPR 2016, arXiv 1512.03385"
RESNET18 = _backbone("resnet18", 512, {"imagenet1k": ("resnet18-f37072fd.pth", V1)}, RESIDUAL)
RESNET34 = _backbone("resnet34", 512, {"imagenet1k": ("resnet34-b627a593.pth", V1)}, RESIDUAL)
RESNET50 = _backbone(
    "resnet50",
    2048,
    {"imagenet1k": ("resnet50-0676ba61.pth", V1), "imagenet1k_v2": ("resnet50-11ad3fa6.pth", V2)},
    RESIDUAL,
)
REGNET_Y_400MF = _backbone(
    "regnet_y_400mf",
    440,
    {"imagenet1k": ("regnet_y_400mf-c65dace8.pth", V1), "imagenet1k_v2": ("regnet_y_400mf-e6988f5f.pth", V2)},
    "Radosavovic et al., CVPR 2020, arXiv 2003.13678",
)
