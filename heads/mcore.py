"""`mcore`: multi-stage contrastive regression (An, Qi and Ma, Multi-Stage Contrastive Regression for Action Quality
Assessment, ICASSP 2024): a performance is cut into three stages, which are compared with those of an exemplar."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..catalog.phases import FRAMES
from .config import demand
from .layers import interpolate_clips
from .noise import Noise
from .segment import Segmenter, segmentation_loss
from .stages import STAGES, Decoder, Staged, TokenRegressor, apart, stage_tokens
from .torch_head import Published, Spec, Units

TOKENS, HEADS, LAYERS = 5, 8, 3
TEMPERATURE = 0.5
WEIGHT = 10.0  # of the contrast


class McoreNet(nn.Module):
    """Frames -> segmenter, and tokens of the stages -> decoder -> regressor. 6,630,467 parameters with D = hidden =
    368; a stream of another width first goes through a linear layer."""

    def __init__(self, spec: Spec, hidden: int, dropout: float) -> None:
        super().__init__()
        self.units = Units(spec)
        self.narrow = nn.Identity() if spec.width == hidden else nn.Linear(spec.width, hidden)
        self.segmenter = Segmenter(hidden, hidden, dropout)
        self.decoder = Decoder(hidden, HEADS, LAYERS)
        self.regressor = TokenRegressor(hidden)

    def seen(
        self, streams: Mapping[str, Tensor], masks: Mapping[str, Tensor], noise: Noise | None
    ) -> dict[str, Tensor]:
        """`frames` [R, 96, hidden] and their `logits` [R, 96, 2]."""
        (x,), (mask,) = streams.values(), masks.values()
        last = mask.sum(dim=1) - 1

        def resample(clips: Tensor) -> Tensor:
            return interpolate_clips(clips, last * 0, last, FRAMES)

        x = self.narrow(x.flatten(2))
        return {"frames": resample(x), "logits": self.segmenter(x, noise, resample)}

    def staged(self, seen: Mapping[str, Tensor], at: Tensor) -> dict[str, Tensor]:
        """`tokens` [R, 3, 5, hidden]."""
        return {"tokens": stage_tokens(seen["frames"], *apart(at), TOKENS)}

    def better(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> Tensor:
        """[R, 3], a third of what each stage says: their sum is the mean of all 15 tokens."""
        return self.regressor(self.decoder(one["tokens"], other["tokens"])) / STAGES


def token_contrast(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """[B]: of each token of a stage, [B, 3, L, d] twice, how badly it is told to belong to the token of the same place
    of the other sample, among all tokens of that stage of both but itself: cross-entropy of cosines over `temperature`,
    the mean over tokens, stages and both directions."""
    one, other = F.normalize(one, dim=-1), F.normalize(other, dim=-1)
    itself = torch.eye(one.shape[2], dtype=torch.bool, device=one.device)
    total = torch.zeros_like(one[:, 0, 0, 0])
    for a, b in ((one, other), (other, one)):
        across = a @ b.mT / temperature
        within = (a @ a.mT / temperature).masked_fill(itself, -math.inf)
        missed = torch.cat([within, across], dim=3).logsumexp(dim=3) - across.diagonal(dim1=2, dim2=3)
        total = total + missed.mean(dim=(1, 2))
    return total / 2


@dataclass(frozen=True)
class Mcore(Staged):
    """Three stages of five tokens each, a segmenter over 96 frames that finds them, and a contrast of their tokens.

    `hidden`: numbers per frame; a stream of another width is projected. `dropout`: of the segmenter. Both, and `batch`
    (in pairs), `votes` and `lr`: the released code's, `lr` is for what is trained from scratch there.
    """

    name = "mcore"
    published: ClassVar[Published] = {
        "": {"epochs": 200, "scale": "none", "select": "test", "use_difficulty": False},
        "finediving": {"by": "kind"},
    }

    lr: float = 1e-3
    hidden: int = 368
    dropout: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "hidden", self.hidden >= 1 and self.hidden % HEADS == 0, f"a multiple of {HEADS}")
        demand(self, "dropout", 0 <= self.dropout < 1, "a number from 0 to below 1")

    def build(self, spec: Spec) -> McoreNet:
        return McoreNet(spec, self.hidden, self.dropout)

    def phase_loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        return segmentation_loss(logits, truth)

    def contrast(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> Tensor:
        return WEIGHT * token_contrast(one["tokens"], other["tokens"], TEMPERATURE)
