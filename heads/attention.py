"""`attention`: a learned weighted average of the clips, the plain sequence head that the others have to beat."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .base import Needs
from .batches import Batch, only
from .config import demand
from .noise import Noise
from .torch_head import MarkHead, OneNumber, Spec, Step

WIDTH = 128  # of the hidden layers of the weights and of the regressor


class AttentionNet(OneNumber):
    """Linear D -> hidden, ReLU for each clip; their mean weighted by ``softmax(w tanh(V h))`` (Ilse et al.,
    Attention-based Deep Multiple Instance Learning, ICML 2018, equations 7 and 8); hidden-128-1, ReLU.

    328,449 parameters with D = 1024 and hidden = 256, for any T: `dae` with one output and weights for its mean.
    """

    def __init__(self, spec: Spec, hidden: int) -> None:
        super().__init__(spec)
        self.project = nn.Linear(spec.width, hidden)
        # A bias of the weights' last layer would change nothing: softmax does not see it.
        self.weigh = nn.Sequential(nn.Linear(hidden, WIDTH), nn.Tanh(), nn.Linear(WIDTH, 1, bias=False))
        self.regress = nn.Sequential(nn.Linear(hidden, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, T, *shape], mask [B, T] -> [B]: the mark in standard deviations of train from its mean, or a logit."""
        h = self.project(x.flatten(2)).relu()
        weights = self.weigh(h)[..., 0].masked_fill(~mask, -math.inf).softmax(dim=1)
        return self.regress(torch.einsum("bt,btd->bd", weights, h))[:, 0]


@dataclass(frozen=True)
class Attention(MarkHead):
    """Squared error of the score, in standard deviations of train; for a binary target cross-entropy.

    `use_difficulty`: model score / difficulty and multiply back, where scores are made so. A clip's feature of any
    shape is flattened. No paper has this head: `batch`, `lr`, `weight_decay`, `epochs` and the width of the layers are
    those of `dae`, so that the two differ in how clips are averaged and in little else.
    """

    name = "attention"
    needs = Needs(shape=None, targets=("score", "binary"), together=True, validates=True)

    weight_decay: float = 1e-5
    hidden: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "hidden", self.hidden >= 1, "1 or more")

    def build(self, spec: Spec) -> AttentionNet:
        return AttentionNet(spec, self.hidden)

    def loss(self, net: Any, batch: Batch, noise: Noise, step: Step) -> Tensor:  # noqa: ARG002
        return net.loss(net(*only(batch)), batch)

    def judge(self, net: Any, batch: Batch) -> dict[str, Tensor]:
        return {"score": net.score(net(*only(batch)), batch)}
