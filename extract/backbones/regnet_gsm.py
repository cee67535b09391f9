"""RegNetY-400MF whose residual blocks look at the frames beside theirs: the static stream of MCoRe and HP-MCoRe.

Gate-shift modules: Sudhakaran, Escalera and Lanz, Gate-Shift Networks for Video Action Recognition, CVPR 2020. Both
papers have them in a RegNetY-200MF of 368 channels; torchvision's smallest RegNetY is that of 400 MF, 440 wide.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Backbone, Pixels
from .hub import published
from .matching import GAIN
from .torchvision_image import LICENCE, REGNET_Y_400MF, ImageNetwork

WIDTH = 440


class GateShift(nn.Module):
    """Moves a part of the first ``fold = 4 ceil(floor(C / 4) / 4)`` channels of every frame to its neighbours.

    Each half of them has a gate in -1..1 for every place and frame. What of the first half is let through comes from
    the frame behind, of the second half from the frame before, zeros beyond the ends; what is held back stays. Gates
    begin at 0, where all stays.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fold = 4 * math.ceil(channels // 4 / 4)
        self.norm = nn.BatchNorm3d(self.fold)
        self.gate = nn.Conv3d(self.fold, 2, kernel_size=3, padding=1, groups=2)
        setattr(self.gate, GAIN, 0.0)
        nn.init.zeros_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """x [B * frames, C, H, W], the frames of one clip behind each other -> as x."""
        clips = x.unflatten(0, (-1, frames)).transpose(1, 2)
        folded, rest = clips[:, : self.fold], clips[:, self.fold :]
        half = self.fold // 2
        gates = self.gate(self.norm(folded).relu()).tanh().repeat_interleave(half, dim=1)
        moving = folded * gates
        padded = F.pad(moving, (0, 0, 0, 0, 1, 1))
        staying = folded - moving
        found = [staying[:, :half] + padded[:, :half, 2:], staying[:, half:] + padded[:, half:, :-2], rest]
        return torch.cat(found, dim=1).transpose(1, 2).flatten(0, 1)


class GateShiftRegNet(ImageNetwork):
    """``[B, 3, T, H, W] -> [B, T, 440]``, for logits 1000: torchvision's network with a `GateShift` before the first
    convolution of every residual block, whose shortcut passes it by.

    3,931,480 parameters up to the pooled feature, 28,336 of them of the shifts.
    """

    def __init__(self, layer: str = "penultimate") -> None:
        super().__init__(layer, REGNET_Y_400MF.arch)
        self.layer = layer
        self.shifts = nn.ModuleList(GateShift(block.f.a[0].in_channels) for block in self.blocks())

    def blocks(self) -> Iterator[Any]:
        """torchvision's residual blocks, in their order."""
        for stage in self.get_submodule("trunk_output").children():
            yield from stage.children()

    def forward(self, clips: Tensor) -> Tensor:
        frames = clips.shape[2]
        x = self.get_submodule("stem")(clips.transpose(1, 2).flatten(0, 1))
        for block, shift in zip(self.blocks(), self.shifts, strict=True):
            shortcut = x if block.proj is None else block.proj(x)
            x = block.activation(shortcut + block.f(shift(x, frames)))
        x = self.get_submodule("avgpool")(x).flatten(1)
        x = self.get_submodule("fc")(x) if self.layer == "logits" else x
        return x.unflatten(0, (-1, frames))


def allowed(frames: int, height: int, width: int) -> str | None:
    """Two or more frames of at least 32x32 pixels. See `Backbone.allowed`."""
    if frames >= 2 and min(height, width) >= 32:
        return None
    nearest = f"{max(frames, 2)}x{max(height, 32)}x{max(width, 32)}"
    return (
        f"it takes clips of 2 or more frames of 32x32 pixels or more, not {frames} of {height}x{width}; nearest "
        f"{nearest}, as of the plan 1x96of96"
    )


def _files() -> dict[str, tuple[str, Pixels]]:
    """Tag -> published file and pixels of the plain network."""
    known = REGNET_Y_400MF.weights.values()
    return {weights.tag: (weights.files[0], weights.pixels) for weights in known if weights.files}


BACKBONE = Backbone(
    arch="regnet_y_400mf_gsm",
    layers={"penultimate": lambda frames, *_: (frames, WIDTH), "logits": lambda frames, *_: (frames, 1000)},
    build=GateShiftRegNet,
    allowed=allowed,
    weights=published(_files(), LICENCE, REGNET_Y_400MF.weights["random"].pixels),
    clip_length=96,
    plan="1x96of96",
    rows=True,
    added="shifts.",
    paper="Sudhakaran et al., CVPR 2020, arXiv 1912.00381",
)
