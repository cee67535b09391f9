"""The body of MSCADC: seven 3x3x3 convolutions, the last two dilated, that keep time and space.

Parmar and Morris, What and How Well You Performed? A Multitask Learning Approach to Action Quality Assessment, CVPR
2019, arXiv 1904.04346. Its tasks are the head `mscadc`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .base import Backbone, Pixels, Weights

# name, output channels, dilation, padding, kernel and stride of the max-pool that follows, if one does
LAYERS = (
    ("conv1", 32, 1, 1, (1, 2, 2)),
    ("conv2", 64, 1, 1, (2, 2, 2)),
    ("conv3a", 128, 1, 1, None),
    ("conv3b", 128, 1, 1, (2, 2, 2)),
    ("conv4a", 256, 1, 1, None),
    ("conv4b", 256, 1, 1, None),
    ("conv5a", 256, 2, 2, None),
    ("conv5b", 256, 2, 1, None),
)
FRAMES, SIDE = 16, 32  # of the smallest clip, whose volume is 2 x 2 x 2


class Body(nn.Module):
    """``[B, 3, T, H, W] -> [B, 256, T/4 - 2, H/8 - 2, W/8 - 2]``, [256, 2, 20, 20] for 16 frames of 180 x 180.

    Batch normalisation and ReLU after every convolution, dropout of .5 at the end. 6,918,720 parameters.
    """

    def __init__(self) -> None:
        super().__init__()
        channels = 3
        for name, out, dilation, padding, _ in LAYERS:
            self.add_module(name, nn.Conv3d(channels, out, 3, padding=padding, dilation=dilation))
            self.add_module(name.replace("conv", "norm"), nn.BatchNorm3d(out))
            channels = out
        self.dropout = nn.Dropout(0.5)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        x = clips
        for name, _, _, _, pool in LAYERS:
            x = F.relu(self.get_submodule(name.replace("conv", "norm"))(self.get_submodule(name)(x)))
            x = x if pool is None else F.max_pool3d(x, pool, pool)
        return self.dropout(x)


def volume(frames: int, height: int, width: int) -> tuple[int, ...]:
    """Shape of a clip's feature."""
    return (LAYERS[-1][1], frames // 4 - 2, height // 8 - 2, width // 8 - 2)


def allowed(frames: int, height: int, width: int) -> str | None:
    """What leaves a volume of 2 x 2 x 2 or more. See `Backbone.allowed`."""
    if frames >= FRAMES and min(height, width) >= SIDE:
        return None
    nearest = f"{max(frames, FRAMES)}x{max(height, SIDE)}x{max(width, SIDE)}"
    return (
        f"MSCADC takes {FRAMES} or more frames of at least {SIDE}x{SIDE} (published: 16 of 180x180), not {frames} of "
        f"{height}x{width}; the nearest is {nearest}"
    )


# The released test loader throws the resized frame away and crops the original; here all frames are resized, as those
# of its training are.
PIXELS = Pixels((360, 640), (180, 180), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

BACKBONE = Backbone(
    arch="mscadc",
    layers={"volume": volume},
    build=lambda _: Body(),
    allowed=allowed,
    weights={
        "body": Weights(
            "body",
            PIXELS,
            files=("C3D_small_PyTorch_Trained_12.pth",),
            keys=("own",),
            source="ParitoshParmar/MTL-AQA, a 7z of three parts; how it names its tensors is not known to us, and only "
            "our names are read",
        ),
        "random": Weights("random", PIXELS, licence="none needed"),
    },
    clip_length=16,
    plan="16of103",
    paper="Parmar and Morris, CVPR 2019, arXiv 1904.04346",
    notes=("mscadc.body was read by our names: how the released file names its tensors is not known to us",),
)
