"""`psnet`: the procedure segmentation network of TSA (Xu et al., FineDiving: A Fine-grained Dataset for Procedure-aware
Action Quality Assessment, CVPR 2022), learned by itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..catalog.phases import FRAMES
from .config import demand
from .layers import MaskedBatchNorm
from .noise import Noise
from .phases import PhaseHead, PhaseNet, Resample
from .torch_head import Spec

CHANNELS = (12, 24, 48, 96, FRAMES)


class DoubleConv(nn.Module):
    """Twice: a convolution of width 3 with zeros at the ends, batch normalisation, ReLU; [B, L, inputs] -> [B, L,
    outputs]. The convolution is a linear layer on each place beside its neighbours, which `vmap` turns into one batched
    product; initialised as `nn.Conv1d`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Linear(3 * n, outputs) for n in (inputs, outputs))
        self.norms = nn.ModuleList(MaskedBatchNorm(outputs) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        there = torch.ones_like(x[..., 0], dtype=torch.bool)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            wide = F.pad(x, (0, 0, 1, 1))
            x = norm(conv(torch.cat([wide[:, :-2], x, wide[:, 2:]], dim=2)), there).relu()
        return x


class ProcedureNet(nn.Module):
    """Clips are channels and their features the length of convolutions, 12, 24, 48, 96 and 96 channels on a length that
    is halved four times; the last channels are frames, and what is left of the length their features.

    128,846 parameters with 9 clips of 1024 numbers.
    """

    def __init__(self, clips: int, width: int, hidden: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(DoubleConv(*pair) for pair in zip((clips, *CHANNELS), CHANNELS, strict=False))
        left = math.ceil(width / 2 ** (len(CHANNELS) - 1))
        sizes = ((left, hidden), (hidden, hidden // 2), (hidden // 2, 2))
        self.first, self.second, self.third = (nn.Linear(*size) for size in sizes)
        nn.init.constant_(self.third.bias, -math.log(FRAMES - 1))  # one frame of 96: else that is learned first

    def frames(self, x: Tensor) -> Tensor:
        """x [B, clips, D] -> [B, 96, D / 16, rounded up]: features of frames."""
        first, *others = self.blocks
        x = first(x.mT)
        for block in others:
            x = block(halved(x))
        return x.mT

    def forward(self, x: Tensor, noise: Noise | None = None, resample: Resample | None = None) -> Tensor:  # noqa: ARG002
        """x [B, clips, D], or what `resample` makes so many clips of -> logits [B, 96, 2]."""
        return self.transitions(self.frames(x if resample is None else resample(x)))

    def transitions(self, frames: Tensor) -> Tensor:
        """[B, 96, ...] of `frames` -> logits [B, 96, 2]."""
        return self.third(self.second(self.first(frames).relu()).relu())


def halved(x: Tensor) -> Tensor:
    """The larger of two neighbours, [B, L, C] -> [B, L / 2, rounded up, C]: max pooling that knows `vmap`."""
    return F.pad(x, (0, 0, 0, x.shape[1] % 2), value=-math.inf).unflatten(1, (-1, 2)).amax(dim=2)


def transition_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Binary cross-entropy of all frames in both channels, 1 at (st, 0) and (ed, 1): the mean over samples, frames and
    channels. logits [B, 96, 2]; truth int64 [B, 2], -1 unknown: such samples do not count."""
    known = truth[:, 0] >= 0
    target = (torch.arange(FRAMES, device=truth.device)[:, None] == truth[:, None]).to(logits.dtype)
    each = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(dim=(1, 2))
    return (each * known).sum() / known.sum().clamp(min=1)


@dataclass(frozen=True)
class PsNet(PhaseHead):
    """`transition_loss` of convolutions whose channels are the clips: as many as the longest train sample has, to which
    others are resampled by linear interpolation.

    `lr`, `batch`: the released code's, where it is trained together with the score; `hidden`: of the transition head.
    """

    name = "psnet"

    lr: float = 1e-3
    hidden: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "hidden", self.hidden >= 2, "2 or more")

    def build(self, spec: Spec) -> PhaseNet:
        return PhaseNet(spec, spec.clips, ProcedureNet(spec.clips, spec.width, self.hidden))

    def phase_loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        return transition_loss(logits, truth)
