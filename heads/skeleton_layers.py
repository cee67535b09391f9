"""What the skeleton encoders are made of. Inside them a sequence lies joints first, [J, B, T, C]: a product with an
adjacency is then one matrix product over all frames, and numbers of one frame stay beside each other. `mask` [B, T] says
which frames are there; None: all of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import MaskedBatchNorm


OFFSET = 0.01


class Projection(nn.Module):
    """A 1x1 convolution with batch normalisation. It has no bias: the normalisation would take it out again."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)
        self.norm = MaskedBatchNorm(outputs)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self.norm(self.linear(x), mask)


class Residual(nn.Module):
    """The input itself, projected where the number of channels changes."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.project = None if inputs == outputs else Projection(inputs, outputs)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return x if self.project is None else self.project(x, mask)


class TimeConv(nn.Module):
    """A convolution of every joint over `taps` frames, [J, B, T, C] -> [J, B, T, D] of the same T. What lies before the
    first and after the last frame counts as 0, so frames that are not there must be 0."""

    def __init__(self, inputs: int, outputs: int, taps: int, dilation: int = 1) -> None:
        super().__init__()
        self.dilation, self.reach = dilation, dilation * (taps // 2)
        self.weight = nn.Parameter(nn.Conv1d(inputs, outputs, taps).weight.detach())

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, 1).transpose(1, 2)[..., None]  # [J B, C, T, 1], channels last in memory
        out = F.conv2d(rows, self.weight[..., None], padding=(self.reach, 0), dilation=(self.dilation, 1))
        return out[..., 0].transpose(1, 2).unflatten(0, x.shape[:2])


def highest_of_three(x: Tensor) -> Tensor:
    """[J, B, T, C]: of each frame and those before and after it."""
    return F.max_pool1d(x.flatten(0, 1).transpose(1, 2), 3, 1, 1).transpose(1, 2).unflatten(0, x.shape[:2])


class JointsEncoder(nn.Module):
    """Batch normalisation over joints and coordinates, the units, the mean over the joints."""

    def __init__(self, joints: int, inputs: int, units: Sequence[nn.Module]) -> None:
        super().__init__()
        self.input_norm = MaskedBatchNorm(joints * inputs)
        # A joint that never moves, as the pelvis of normalised poses, is 0 after it. So is what the first normalisation
        # makes of it, up to rounding, and a ReLU would let that decide.
        nn.init.normal_(self.input_norm.bias, std=OFFSET)
        self.units = nn.ModuleList(units)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x [B, T, J, C], mask [B, T] -> [B, T, D]; rows of frames that are not there hold no meaning."""
        x = self.input_norm(x.flatten(2), mask).view_as(x).permute(2, 0, 1, 3)
        for unit in self.units:
            x = unit(x, mask)
        return x.mean(dim=0)


def present(x: Tensor, mask: Tensor | None) -> Tensor:
    """x [..., B, T, C], 0 in frames that are not there."""
    return x if mask is None else x * mask[..., None].to(x.dtype)


def mean_frames(x: Tensor, mask: Tensor | None) -> Tensor:
    """[..., B, C] of x [..., B, T, C]."""
    if mask is None:
        return x.mean(dim=-2)
    there = mask.to(x.dtype)
    return torch.einsum("...btc,bt->...bc", x, there / there.sum(dim=1, keepdim=True))


def max_frames(x: Tensor, mask: Tensor | None) -> Tensor:
    """[..., B, C] of x [..., B, T, C]."""
    # Not amax: its gradient looks for all places that are as high.
    return (x if mask is None else x.masked_fill(~mask[..., None], -torch.inf)).max(dim=-2).values
