"""What `gdlt` and `cofinal` share: clips that learned grades ask through a transformer, and the loss that keeps the
grades apart."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import FeatureSet
from .config import demand
from .layers import MaskedBatchNorm, TransformerLayer
from .noise import Noise
from .torch_head import MarkHead, Spec, Units

GRADES = 4


class GradeNet(nn.Module):
    """Clips -> projection (D-512-`hidden`, batch normalisation) -> one encoder layer; four learned grades ask its
    output through two decoder layers. Positions of clips are not coded."""

    def __init__(self, spec: Spec, hidden: int, heads: int, p: float) -> None:
        super().__init__()
        self.units = Units(spec)
        self.inputs = nn.ModuleList([nn.Linear(spec.width, 512), nn.Linear(512, hidden)])
        self.norms = nn.ModuleList([MaskedBatchNorm(512), MaskedBatchNorm(hidden)])
        self.encoder = TransformerLayer(hidden, heads, 3 * hidden, p)
        self.decoder = nn.ModuleList(TransformerLayer(hidden, heads, 3 * hidden, p, cross=True) for _ in range(2))
        self.ends = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(2))
        self.grades = nn.Parameter(torch.randn(GRADES, hidden))
        self.asked = nn.Linear(hidden, GRADES)

    def answers(self, x: Tensor, mask: Tensor, noise: Noise | None = None) -> Tensor:
        """x [B, T, D], mask [B, T] -> what the grades found, [B, 4, hidden]. Without noise there is no dropout."""
        x = self.norms[0](self.inputs[0](x), mask).relu()
        x = self.norms[1](self.inputs[1](x), mask)
        memory = self.ends[0](self.encoder(x, mask, noise=noise))
        grades = self.grades.expand(len(x), -1, -1)
        for layer in self.decoder:
            grades = layer(grades, None, memory, mask, noise)
        return self.ends[1](grades)


def weighted(grades: Tensor, asked: nn.Linear, weights: Tensor) -> Tensor:
    """[B]: mean of the `weights` [4], each weighted by how much of its grade is there; grades [B, 4, d]."""
    present = torch.sigmoid((grades * asked.weight).sum(dim=2) + asked.bias)  # each grade its own row
    return (present * weights).sum(dim=1) / present.sum(dim=1)


@dataclass(frozen=True)
class Graded(MarkHead):
    """Parameters that both heads have: `crop` clips in a row in training; weight (`triplet`) and `margin` of the loss
    that keeps grades apart; `theta`, the mark that the highest grade stands for."""

    batch: int = 4
    weight_decay: float = 1e-5
    triplet: float = 1.0
    margin: float = 1.0
    dropout: float = 0.0
    heads: int = 1
    crop: int = 68
    theta: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "dropout", 0 <= self.dropout < 1, "a number from 0 to below 1")
        demand(self, "heads", self.heads >= 1, "1 or more")
        demand(self, "crop", self.crop >= 1, "1 or more")
        demand(self, "triplet", self.triplet >= 0, "0 or more")
        demand(self, "theta", self.theta is None or self.theta > 0, "a number above 0, or none")

    def mark_range(self, train: FeatureSet, marks: np.ndarray) -> tuple[float, float]:
        return super().mark_range(train, marks) if self.theta is None else (0.0, self.theta)


def grade_triplets(grades: Tensor, margin: float, *, distinct: bool = False) -> Tensor:
    """Mean over all B * 4 grade vectors of ``relu(farthest of the same grade - nearest of another grade + margin)``, in
    cosine distance; 0 for a single sample, which has nothing of the same grade. grades: [B, 4, d].

    `distinct`: every vector is a grade of its own, 0 away from itself, and all others are of another grade.
    """
    samples = len(grades)
    if samples < 2 and not distinct:
        return grades.new_zeros(())
    unit = F.normalize(grades.flatten(0, 1), dim=1)
    distance = 1 - unit @ unit.mT
    itself = torch.eye(len(distance), dtype=torch.bool, device=grades.device)
    if distinct:
        return (margin - distance.masked_fill(itself, torch.inf).amin(dim=1)).relu().mean()
    grade = torch.arange(GRADES, device=grades.device).repeat(samples)
    same = grade[:, None] == grade
    farthest = distance.masked_fill(~same | itself, -torch.inf).amax(dim=1)
    nearest = distance.masked_fill(same, torch.inf).amin(dim=1)
    return (farthest - nearest + margin).relu().mean()
