"""`gdlt`: grade-decoupling Likert transformer (Xu et al., Likert Scoring with Grade Decoupling for Long-term Action
Assessment, CVPR 2022), as the AQA benchmark (arXiv 2412.11149) has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from .base import Needs
from .batches import Batch, only
from .config import demand
from .grades import GRADES, Graded, GradeNet, grade_triplets, weighted
from .layers import crop_clips
from .noise import Noise
from .torch_head import Published, Spec, Step

HIDDEN = 256

ORIGINAL = {
    "optimiser": "sgd",
    "lr": 0.01,
    "weight_decay": 1e-4,
    "schedule": "cosine",
    "batch": 32,
    "dropout": 0.3,
}


class GdltNet(GradeNet):
    """The score is the mean of the grades' values, weighted by how much of each is there. 3,163,396 parameters with
    D = 1024, for any T."""

    weights: Tensor

    def __init__(self, spec: Spec, heads: int, p: float) -> None:
        super().__init__(spec, HIDDEN, heads, p)
        self.register_buffer("weights", torch.linspace(spec.low, spec.high, GRADES))

    def forward(self, x: Tensor, mask: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        """x [B, T, D], mask [B, T] -> mark [B], grades [B, 4, 256]. Without noise there is no dropout."""
        grades = self.answers(x, mask, noise)
        return weighted(grades, self.asked, self.weights), grades


@dataclass(frozen=True)
class Gdlt(Graded):
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

    divisor: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "heads", HIDDEN % self.heads == 0, f"a divisor of {HIDDEN}")
        demand(self, "divisor", self.divisor > 0, "a number above 0")

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
