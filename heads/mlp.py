"""`mlp`: C3D-AVG-STL on cached features, the score head of Parmar and Morris (CVPR 2019) without its multitask side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Needs
from .batches import Batch, only
from .config import demand
from .layers import mean_clips
from .noise import Noise
from .torch_head import Published, Spec, Step, TorchHead, Units


class ScoreNet(nn.Module):
    """What learns a score in units, or a binary target; a subclass gives `said`."""

    def __init__(self, spec: Spec, divisor: float | None) -> None:
        super().__init__()
        self.divisor = divisor
        self.binary = spec.target_kind == "binary"
        self.units = Units(spec)

    def said(self, h: Tensor) -> Tensor:
        """[B]: the score in units, or the logit of 1, of what the forward gave."""
        raise NotImplementedError

    def start(self, bias: Tensor, spec: Spec) -> None:
        """The last bias becomes the mean of train: the target is not centred, and from 0 the first epochs would go into
        reaching it."""
        if not self.binary:
            nn.init.constant_(bias, spec.mean / (self.divisor or spec.sd))

    @property
    def unit(self) -> Tensor | float:
        """What scores are divided by."""
        return self.units.sd if self.divisor is None else self.divisor

    def loss(self, h: Tensor, score: Tensor) -> Tensor:
        """Squared plus absolute error in units, or cross-entropy, of what the forward gave against score [B]."""
        said = self.said(h)
        if self.binary:
            return F.binary_cross_entropy_with_logits(said, score)
        error = said - score / self.unit
        return error.square().mean() + error.abs().mean()

    def points(self, h: Tensor) -> Tensor:
        """[B]: scores, or probabilities of 1, of what the forward gave."""
        said = self.said(h)
        return torch.sigmoid(said) if self.binary else said * self.unit


class MlpNet(ScoreNet):
    """Mean of the clips -> Linear D -> hidden, ReLU -> Linear 1. 33,562,625 parameters with D = 8192, hidden = 4096."""

    def __init__(self, spec: Spec, hidden: int, divisor: float | None = None) -> None:
        super().__init__(spec, divisor)
        self.fc6 = nn.Linear(spec.width, hidden)
        self.score = nn.Linear(hidden, 1)
        self.start(self.score.bias, spec)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, T, *shape], mask [B, T] -> [B, hidden]: what all tasks look at."""
        return self.fc6(mean_clips(x, mask).flatten(1)).relu()

    def said(self, h: Tensor) -> Tensor:
        return self.score(h)[:, 0]


@dataclass(frozen=True)
class Mlp(TorchHead):
    """Regression of score / sd with squared plus absolute error; for a binary target cross-entropy.

    `hidden`, `lr`, `epochs`: the released code. Its batch of 3 is what fits a GPU beside C3D; on cached features the
    optimiser's pass over 33 million numbers is the cost of a step, so it is 16 here. `divisor` of the target: released
    17, the standard deviation over all of MTL-AQA; none: that of train. A clip's feature of any shape is flattened
    (C3D's pool5: channels, time, height, width).
    """

    name = "mlp"
    needs = Needs(shape=None, targets=("score", "binary"), together=True, validates=True)
    pool = "mean"

    published: ClassVar[Published] = {
        "": {"batch": 3, "scale": "none", "select": "test"},
        "mtl-aqa": {"divisor": 17.0},
    }

    batch: int = 16
    hidden: int = 4096
    divisor: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "divisor", self.divisor is None or self.divisor > 0, "a number above 0, or none")
        demand(self, "hidden", self.hidden >= 1, "1 or more")

    def build(self, spec: Spec) -> MlpNet:
        return MlpNet(spec, self.hidden, self.divisor)

    def loss(self, net: Any, batch: Batch, noise: Noise, step: Step) -> Tensor:  # noqa: ARG002
        return net.loss(net(*only(batch)), batch.score)

    def judge(self, net: Any, batch: Batch) -> dict[str, Tensor]:
        return {"score": net.points(net(*only(batch)))}
