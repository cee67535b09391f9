"""`gdlt`: grade-decoupling Likert transformer (Xu et al., Likert Scoring with Grade Decoupling for Long-term Action
Assessment, CVPR 2022), as the AQA benchmark (arXiv 2412.11149) has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import FeatureSet, Needs
from .batches import Batch, only
from .config import demand
from .layers import MaskedBatchNorm, TransformerLayer, crop_clips
from .noise import Noise
from .torch_head import Published, Spec, Step, TorchHead, Units, marks_known

GRADES = 4

ORIGINAL = {
    "optimiser": "sgd",
    "lr": 0.01,
    "weight_decay": 1e-4,
    "schedule": "cosine",
    "batch": 32,
    "dropout": 0.3,
}


class GdltNet(nn.Module):
    """Clips -> projection -> encoder; four learned grades ask it through two decoder layers; the score is the mean of
    the grades' values, weighted by how much of each is there. 3,163,396 parameters with D = 1024, for any T."""

    weights: Tensor

    def __init__(self, spec: Spec, heads: int, p: float) -> None:
        super().__init__()
        self.units = Units(spec)
        self.inputs = nn.ModuleList([nn.Linear(spec.width, 512), nn.Linear(512, 256)])
        self.norms = nn.ModuleList([MaskedBatchNorm(512), MaskedBatchNorm(256)])
        self.encoder = TransformerLayer(256, heads, 768, p)
        self.decoder = nn.ModuleList(TransformerLayer(256, heads, 768, p, cross=True) for _ in range(2))
        self.ends = nn.ModuleList(nn.LayerNorm(256) for _ in range(2))
        self.grades = nn.Parameter(torch.randn(GRADES, 256))
        self.asked = nn.Linear(256, GRADES)
        self.register_buffer("weights", torch.linspace(spec.low, spec.high, GRADES))

    def forward(self, x: Tensor, mask: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        """x [B, T, D], mask [B, T] -> mark [B], grades [B, 4, 256]. Without noise there is no dropout."""
        x = self.norms[0](self.inputs[0](x), mask).relu()
        x = self.norms[1](self.inputs[1](x), mask)
        memory = self.ends[0](self.encoder(x, mask, noise=noise))
        grades = self.grades.expand(len(x), -1, -1)
        for layer in self.decoder:
            grades = layer(grades, None, memory, mask, noise)
        grades = self.ends[1](grades)
        present = torch.sigmoid((grades * self.asked.weight).sum(dim=2) + self.asked.bias)  # each grade its own row
        return (present * self.weights).sum(dim=1) / present.sum(dim=1), grades


@dataclass(frozen=True)
class Gdlt(TorchHead):
    """Squared error of the score plus `triplet` times a hardest triplet loss that keeps the grades apart.

    Defaults: the AQA benchmark's (Adam 1e-4, weight decay 1e-5, batch 4, 100 epochs, no dropout, 68 clips in a row in
    training and all in the test). `published`: the original on Rhythmic Gymnastics and Fis-V, which it was made for,
    and the benchmark on all other sets. `theta`: the highest grade, above 0 for the lowest, in the benchmark 30 times
    the difficulty for dives; by default the grades span the target's range, or 0 to 1.1 times the highest mark of train
    where marks are modelled (`use_difficulty`). No score can leave the range of the grades. `divisor` of the error, in
    points.
    """

    name = "gdlt"
    needs = Needs(together=True, validates=True)
    published: ClassVar[Published] = {
        "": {"scale": "none", "select": "test"},
        "rhythmic-gymnastics": {**ORIGINAL, "theta": 25.0, "divisor": 25.0},
        "rhythmic-gymnastics/Ball": {"epochs": 250},
        "rhythmic-gymnastics/Clubs": {"epochs": 400},
        "rhythmic-gymnastics/Hoop": {"epochs": 500},
        "rhythmic-gymnastics/Ribbon": {"epochs": 150},
        # The divisor is that of PAMFN, which trained the same head.
        "fis-v": {**ORIGINAL, "crop": 124, "dropout": 0.7, "triplet": 0.5, "theta": 45.0, "divisor": 45.0},
        "fis-v/tes": {"epochs": 320},
        "fis-v/pcs": {"epochs": 400},
        "mtl-aqa": {"theta": 30.0},
        "finediving": {"theta": 30.0},
        "logo": {"theta": 100.0},
        # Scores are scaled to 0..100 there, by ranges that the protocol has too: a hundredth of the range as the unit.
        "aqa-7/diving": {"divisor": 0.81},
        "aqa-7/gym_vault": {"divisor": 0.0457},
        "aqa-7/ski_big_air": {"divisor": 0.42},
        "aqa-7/snowboard_big_air": {"divisor": 0.42},
        "aqa-7/sync_diving_3m": {"divisor": 0.5868},
        "aqa-7/sync_diving_10m": {"divisor": 0.4956},
    }

    batch: int = 4
    weight_decay: float = 1e-5
    triplet: float = 1.0
    margin: float = 1.0
    dropout: float = 0.0
    heads: int = 1
    crop: int = 68
    use_difficulty: bool = True
    theta: float | None = None
    divisor: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "dropout", 0 <= self.dropout < 1, "a number from 0 to below 1")
        demand(self, "heads", self.heads >= 1 and 256 % self.heads == 0, "a divisor of 256")
        demand(self, "crop", self.crop >= 1, "1 or more")
        demand(self, "triplet", self.triplet >= 0, "0 or more")
        demand(self, "theta", self.theta is None or self.theta > 0, "a number above 0, or none")
        demand(self, "divisor", self.divisor > 0, "a number above 0")

    def models_mark(self, train: FeatureSet) -> bool:
        return self.use_difficulty and marks_known(train)

    def mark_range(self, train: FeatureSet, marks: np.ndarray) -> tuple[float, float]:
        return super().mark_range(train, marks) if self.theta is None else (0.0, self.theta)

    def build(self, spec: Spec) -> GdltNet:
        return GdltNet(spec, self.heads, self.dropout)

    def loss(self, net: Any, batch: Batch, noise: Noise, step: Step) -> Tensor:  # noqa: ARG002
        x, mask = only(batch)
        mark, grades = net(*crop_clips(x.flatten(2), mask, self.crop, noise), noise)
        error = (net.units.points(mark, batch) - batch.score) / self.divisor
        return error.square().mean() + self.triplet * grade_triplets(grades, self.margin)

    def judge(self, net: Any, batch: Batch) -> dict[str, Tensor]:
        mark, _ = net(*only(batch))
        return {"score": net.units.points(mark, batch)}


def grade_triplets(grades: Tensor, margin: float) -> Tensor:
    """Mean over all B * 4 grade vectors of ``relu(farthest of the same grade - nearest of another grade + margin)``, in
    cosine distance; 0 for a single sample, which has nothing of the same grade. grades: [B, 4, d]."""
    samples = len(grades)
    if samples < 2:
        return grades.new_zeros(())
    unit = F.normalize(grades.flatten(0, 1), dim=1)
    distance = 1 - unit @ unit.mT
    grade = torch.arange(GRADES, device=grades.device).repeat(samples)
    same = grade[:, None] == grade
    itself = torch.eye(len(grade), dtype=torch.bool, device=grades.device)
    farthest = distance.masked_fill(~same | itself, -torch.inf).amax(dim=1)
    nearest = distance.masked_fill(same, torch.inf).amin(dim=1)
    return (farthest - nearest + margin).relu().mean()
