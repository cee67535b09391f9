"""`mscadc`: context by dilated convolutions (MSCADC of Parmar and Morris, What and How Well You Performed? A Multitask
Learning Approach to Action Quality Assessment, CVPR 2019): score, classes and commentary from the volume of a clip."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UnmetNeeds
from .base import FeatureSet, Needs
from .captioner import S2VT
from .config import demand
from .layers import MaskedBatchNorm, mean_clips
from .mlp import ScoreNet
from .mtl import MultiTask, Tasks
from .torch_head import Spec

PAD = 9  # on all sides; the context layers take off all of it
CONTEXT = ((2, 1), (2, 1), (4, 2), (8, 4), (8, 1))  # channels over the narrow ones', dilation
LEAST = 2  # volumes that are flatter leave the captioner nothing to pool


class Layer(nn.Module):
    """Convolution, batch normalisation, ReLU; [B, inputs, T, H, W] -> [B, outputs, ...]."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, padding: int = 0, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, kernel, padding=padding, dilation=dilation)
        self.norm = MaskedBatchNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x).movedim(1, -1), None).movedim(-1, 1).relu()


class Branch(nn.Module):
    """What each task has a full copy of: a volume narrowed to `width` channels, its wide border repeated, layers that
    see ever more of it, and a last convolution for each of `outputs`."""

    def __init__(self, channels: int, width: int, outputs: Sequence[int]) -> None:
        super().__init__()
        self.narrow = nn.Conv3d(channels, width, 1, padding=1)
        wide = [width, *(times * width for times, _ in CONTEXT)]
        self.context = nn.Sequential(
            *(Layer(wide[k], wide[k + 1], 3, dilation=dilation) for k, (_, dilation) in enumerate(CONTEXT))
        )
        self.merge = Layer(wide[-1], width, 1)
        self.mix = Layer(width, width, 3, padding=1)
        self.last = nn.ModuleList(nn.Conv3d(width, count, 3, padding=1) for count in outputs)

    def forward(self, x: Tensor) -> list[Tensor]:
        """x [B, channels, T, H, W] -> [B, count, t, h, w] for each output, t = (T + 2) // 2 and so on."""
        x = F.pad(self.narrow(x), (PAD,) * 6, mode="replicate")
        x = self.mix(F.max_pool3d(self.merge(self.context(x)), 2))
        return [convolution(x) for convolution in self.last]


class MscadcNet(ScoreNet):
    """Branches of score, of classes and of captions: 437,065, 445,515 (the five attributes of MTL-AQA) and 14,511,059
    parameters (5,779 words) with volumes [256, 2, 20, 20]."""

    def __init__(self, spec: Spec, head: Mscadc) -> None:
        super().__init__(spec, head.divisor)
        ((channels, *sides),) = spec.streams.values()
        self.tasks = tasks = Tasks.of(spec)
        self.score = Branch(channels, head.narrow, [1])
        bias = self.score.last[0].bias
        assert isinstance(bias, Tensor)
        self.start(bias, spec)
        self.classifiers = Branch(channels, head.narrow, [*tasks.classes.values()]) if tasks.classes else None
        self.seen = self.captioner = None
        if tasks.words:
            self.seen = Branch(channels, head.narrow, [head.narrow])
            numbers = head.narrow * math.prod(side // 2 for side in sides)
            self.captioner = S2VT(numbers, tasks.words, head.caption_hidden, head.dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, clips, C, T, H, W], mask [B, clips] -> [B, C, T, H, W], the mean of the clips."""
        return mean_clips(x, mask)

    def said(self, h: Tensor) -> Tensor:
        return self.score(h)[0].mean(dim=(1, 2, 3, 4))

    def logits(self, h: Tensor) -> list[Tensor]:
        """[B, classes] of each attribute."""
        return [] if self.classifiers is None else [said.mean(dim=(2, 3, 4)) for said in self.classifiers(h)]

    def told(self, x: Tensor, mask: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """The volume as one clip for the captioner, [B, 1, numbers], and its mask."""
        assert self.seen is not None
        clip = F.max_pool3d(self.seen(h)[0], 2, stride=1).flatten(1)[:, None]
        return clip, torch.ones_like(clip[..., 0], dtype=torch.bool)


@dataclass(frozen=True)
class Mscadc(MultiTask):
    """Context by dilated convolutions, for volumes [C, T, H, W] of a backbone that keeps time and space.

    `narrow`: channels of the narrow layers, the released code's; the context layers have 2, 2, 4, 8 and 8 times that.
    `scale` none: volumes as they are, which is what the network is trained on together with its body.
    """

    name = "mscadc"
    needs = Needs(
        shape=4,
        targets=("score", "binary"),
        together=True,
        validates=True,
        gives=("attributes", "captions"),
    )
    pool = "mean"

    scale: Literal["standard", "none"] = "none"
    narrow: int = 12

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "narrow", self.narrow >= 1, "1 or more")

    def constants(self, train: FeatureSet, marks: np.ndarray, width: float) -> dict[str, Any]:
        """As of `MultiTask`. Raises UnmetNeeds for volumes that are too flat."""
        for name, stream in train.streams.items():
            if min(stream.shape[1:]) < LEAST:
                least = "x".join([str(LEAST)] * 3)
                what = f"{self.name} takes volumes [C, T, H, W] of {least} or more, and '{name}' has {stream.shape}"
                raise UnmetNeeds(what, field=name, hint="extract longer or larger clips")
        return super().constants(train, marks, width)

    def build(self, spec: Spec) -> MscadcNet:
        return MscadcNet(spec, self)

    def kept(self, spec: Spec) -> int:
        """What the context layers keep of a batch, before and after their normalisation."""
        ((_, *sides),) = spec.streams.values()
        sides, found = [side + 2 + 2 * PAD for side in sides], 0
        for times, dilation in CONTEXT:
            sides = [side - 2 * dilation for side in sides]
            found += 2 * times * self.narrow * math.prod(sides)
        branches = 1 + bool(spec.constants["classes"]) + bool(spec.constants["words"])
        return found * branches * self.batch
