"""A small C3D for trials on a CPU: C3D's convolutions and pools with an eighth of the channels, on 56 x 56 pixels,
then the mean over what is left of time and space. No weights are published; `aqa finetune` trains it from random ones.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .base import Backbone, Pixels, Weights
from .c3d import CONVOLUTIONS

SHARE = 8  # C3D has so many times as many channels
FEATURES = CONVOLUTIONS[-1][1] // SHARE


class SmallC3D(nn.Module):
    """``[B, 3, T, H, W] -> [B, 64]`` for clips of at least 8 frames of 16 x 16. 432,992 parameters."""

    def __init__(self) -> None:
        super().__init__()
        channels = 3
        for name, out, _ in CONVOLUTIONS:
            self.add_module(name, nn.Conv3d(channels, out // SHARE, kernel_size=3, padding=1))
            channels = out // SHARE

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        x = clips
        for name, _, pool in CONVOLUTIONS:
            x = F.relu(self.get_submodule(name)(x))
            if pool is not None and name != "conv5b":
                x = F.max_pool3d(x, pool, pool)
        return x.mean(dim=(2, 3, 4))


def allowed(frames: int, height: int, width: int) -> str | None:
    """See `Backbone.allowed`."""
    if frames >= 8 and min(height, width) >= 16:
        return None
    return f"it takes 8 or more frames of at least 16x16, not {frames} of {height}x{width}; the nearest is 8x16x16"


BACKBONE = Backbone(
    arch="c3d_small",
    layers={"mean": lambda *_: (FEATURES,)},
    build=lambda _: SmallC3D(),
    allowed=allowed,
    weights={"random": Weights("random", Pixels((64, 86), (56, 56), (0.45, 0.45, 0.45), (0.25, 0.25, 0.25)))},
    paper="after C3D, arXiv 1412.0767",
)
