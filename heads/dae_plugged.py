"""`dae-musdl`, `dae-core`: mu and sigma in the place of a judge's distribution over bins, and of a leaf's position.

The paper (Zhang et al., NCAA 2023) gives results of both and has released the code of neither: this is how we read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from .base import FeatureSet, Needs
from .batches import Batch, only
from .core import Core, CoreNet, votes_of
from .dae import RELEASED, Gaussian, bounded
from .judges import need_panel, total
from .noise import Noise
from .torch_head import Published, Spec, Step
from .usdl import PanelNet


@dataclass(frozen=True)
class DaeMusdl(Gaussian):
    """Every judge's mark as a normal distribution, each from a network of its own; the marks make the score by the rule
    of the sport (`judges.py`), the spread is that of independent judges, scaled on the held-out part.

    Errors are in standard deviations of the judges' marks over train; losses are added up over judges, as in MUSDL.
    2,068,878 parameters with D = 1024 and seven judges: seven times `dae`, whose `batch`, `lr`, `weight_decay` and
    `epochs` it has.
    """

    name = "dae-musdl"
    needs = Needs(judges=True, together=True, validates=True, gives=("spread",))
    pool = "mean"
    published: ClassVar[Published] = {"": RELEASED}

    def models_mark(self, train: FeatureSet) -> bool:
        return train.times_difficulty

    def constants(self, train: FeatureSet, marks: np.ndarray, width: float) -> dict[str, Any]:  # noqa: ARG002
        """Raises UnmetNeeds for judges who are missing."""
        need_panel(self, train)
        return {"mean": float(train.judges.mean()), "sd": float(train.judges.std()) or 1.0}

    def build(self, spec: Spec) -> PanelNet:
        return PanelNet(spec, spec.judges, 2, spec.constants["mean"], spec.constants["sd"])

    def loss(self, net: Any, batch: Batch, noise: Noise, step: Step) -> Tensor:
        said = net(*only(batch))
        error = said[..., 0] - (batch.judges - net.origin) / net.unit
        return self.distance(error, bounded(said[..., 1]), noise, step).sum(dim=1).mean()

    def judge(self, net: Any, batch: Batch) -> dict[str, Tensor]:
        said = net(*only(batch))
        variance = net.unit.square() * torch.exp(bounded(said[..., 1]))
        mark, sd = total(net.origin + net.unit * said[..., 0], variance, net.units.times_difficulty)
        return {"score": net.units.points(mark, batch), "spread": net.units.points(sd, batch)}


@dataclass(frozen=True)
class DaeCore(Core, Gaussian):
    """`core` whose leaves say mu and sigma of the position; `distance` takes the place of the squared error inside a
    leaf. A vote is mu of the likeliest leaf; the spread is the deviation of all votes' distributions taken as one (mean
    of the variances and variance of the means), scaled on the held-out part.

    2,514,494 parameters with D = 1024. All else, and the defaults of `batch`, `lr`, `weight_decay`: as `core`.
    """

    name = "dae-core"
    published: ClassVar[Published] = {**Core.published, "": {**Core.published[""], **RELEASED}}

    def build(self, spec: Spec) -> CoreNet:
        return CoreNet(spec, per_leaf=2)

    def missed(self, said: Tensor, target: Tensor, noise: Noise, step: Step) -> Tensor:
        return self.distance(said[..., 0] - target, bounded(said[..., 1]), noise, step)

    def judge(self, net: Any, batch: Batch) -> dict[str, Tensor]:
        marks, width, said = votes_of(net, batch)
        variance = (width.square() * torch.exp(bounded(said[..., 1]))).mean(dim=1) + marks.var(dim=1, correction=0)
        return {
            "score": net.units.points(marks.mean(dim=1), batch),
            "spread": net.units.points(variance.sqrt(), batch),
        }
