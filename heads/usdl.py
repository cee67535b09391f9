"""`usdl`, `musdl`: the score, or each judge's mark, as a distribution over bins (Tang et al., Uncertainty-aware Score
Distribution Learning for Action Quality Assessment, CVPR 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import UnmetNeeds
from .base import FeatureSet, Needs
from .batches import Batch, only
from .config import demand
from .judges import need_panel, total
from .layers import LinearCopies, mean_clips
from .needs import some
from .noise import Noise
from .torch_head import Calibrated, Published, Spec, Step, Units


def soft_labels(centre: Tensor, bins: int, sigma: float) -> Tensor:
    """[..., bins]: log-probabilities of a normal distribution at the bins 0 to bins - 1, normalised over them.

    `centre` [...] and `sigma` are in bins. Not integrated over the bins: that is how the paper makes them.
    """
    steps = torch.arange(bins, device=centre.device, dtype=centre.dtype)
    return (-0.5 * ((steps - centre[..., None]) / sigma).square()).log_softmax(dim=-1)


class PanelNet(nn.Module):
    """Mean of the clips -> for each of `copies` judges a network of their own, D-256-128, ReLU, `outputs` numbers.

    308,325 parameters with D = 1024 for one copy of 101 outputs, 2,086,035 for seven of 21. What it says of a mark, in
    whatever unit, is kept beside it: mark = origin + unit x said.
    """

    origin: Tensor
    unit: Tensor

    def __init__(self, spec: Spec, copies: int, outputs: int, origin: float, unit: float) -> None:
        super().__init__()
        self.units = Units(spec)
        self.register_buffer("origin", torch.tensor(origin, dtype=torch.get_default_dtype()))
        self.register_buffer("unit", torch.tensor(unit, dtype=torch.get_default_dtype()))
        sizes = (spec.width, 256, 128, outputs)
        self.layers = nn.ModuleList(LinearCopies(copies, a, b) for a, b in pairwise(sizes))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, T, D], mask [B, T] -> [B, copies, outputs]."""
        first, second, last = self.layers
        return last(second(first(mean_clips(x, mask)[None]).relu()).relu()).transpose(0, 1)


@dataclass(frozen=True)
class SoftLabels(Calibrated):
    """What both heads share: `bins` over the range of the marks, labels with a deviation of `sigma` bins, and the
    divergence of the prediction from the label, divided by the number of bins, as released.

    `decode` argmax: the likeliest bin, as released. expectation: the mean of the distribution, which is drawn towards
    the middle of the range, the more the wider the labels are.
    """

    bins: int = 101
    sigma: float = 5.0
    decode: Literal["argmax", "expectation"] = "argmax"

    batch: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "bins", self.bins >= 2, "2 or more")
        demand(self, "sigma", self.sigma > 0, "a number above 0")

    def divergence(self, said: Tensor, place: Tensor) -> Tensor:
        """Of logits [B, J, bins] from the labels of marks at `place` [B, J], 0 to 1 in the range."""
        label = soft_labels(place.clamp(0, 1) * (self.bins - 1), self.bins, self.sigma)
        each = label.exp() * (label - said.log_softmax(dim=-1))
        return each.sum() / (len(said) * self.bins)

    def decoded(self, said: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [..., bins] -> place in the range, 0 to 1, and its variance, [...].

        A twelfth of a squared bin is added to the variance, for a bin is a mark's neighbourhood.
        """
        chance = said.softmax(dim=-1)
        steps = torch.arange(self.bins, device=said.device, dtype=said.dtype)
        mean = (chance * steps).sum(dim=-1)
        variance = (chance * (steps - mean[..., None]).square()).sum(dim=-1) + 1 / 12
        place = chance.argmax(dim=-1).to(said.dtype) if self.decode == "argmax" else mean
        return place / (self.bins - 1), variance / (self.bins - 1) ** 2


@dataclass(frozen=True)
class Usdl(SoftLabels):
    """Score as a distribution over `bins` from the lowest to the highest score; its deviation is the spread.

    `bins`, `sigma`: the paper's MTL-AQA, 0 to 104.5 there (its JIGSAWS: 25 and 1). `use_difficulty`: model score /
    difficulty and multiply back. `batch`, `lr`, `weight_decay`, `epochs`: the released code, MTL-AQA.
    """

    name = "usdl"
    needs = Needs(together=True, validates=True, gives=("spread",))
    pool = "mean"

    published: ClassVar[Published] = {
        "": {"scale": "none", "select": "test", "calibrate": False},
        "jigsaws": {"bins": 25, "sigma": 1.0, "epochs": 80, "select": "last"},
    }

    use_difficulty: bool = False

    def models_mark(self, train: FeatureSet) -> bool:
        return self.use_difficulty and train.times_difficulty

    def build(self, spec: Spec) -> PanelNet:
        return PanelNet(spec, 1, self.bins, spec.low, spec.high - spec.low)

    def loss(self, net: Any, batch: Batch, noise: Noise, step: Step) -> Tensor:  # noqa: ARG002
        return self.divergence(net(*only(batch)), (net.units.mark(batch)[:, None] - net.origin) / net.unit)

    def judge(self, net: Any, batch: Batch) -> dict[str, Tensor]:
        place, variance = self.decoded(net(*only(batch))[:, 0])
        return {
            "score": net.units.points(net.origin + net.unit * place, batch),
            "spread": net.units.points(net.unit * variance.sqrt(), batch),
        }


@dataclass(frozen=True)
class Musdl(SoftLabels):
    """Every judge's mark as a distribution, each from a network of its own; the marks make the score by the rule of the
    sport (`judges.py`). Judges are told apart by their order in the annotations.

    `lowest`, `highest`: the range of marks; none: 0 to 10 where the score is a mark times the difficulty, else that of
    train. `bins`, `sigma`: the paper's MTL-AQA (its JIGSAWS: 5 and 1). Its labels are so wide (2.5 points of 10) that
    the expectation of a mark of 9.5 is 7.96: decode them by argmax. `batch`, `lr`, `weight_decay`, `epochs`: the
    released code, MTL-AQA.
    """

    name = "musdl"
    needs = Needs(judges=True, together=True, validates=True, gives=("spread",))
    pool = "mean"

    published: ClassVar[Published] = {
        "": {"scale": "none", "select": "test", "calibrate": False},
        "jigsaws": {
            "bins": 5,
            "sigma": 1.0,
            "lowest": 1.0,
            "highest": 5.0,
            "epochs": 80,
            "weight_decay": 0.0,
            "select": "last",
        },
    }

    bins: int = 21
    lowest: float | None = None
    highest: float | None = None
    weight_decay: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lowest is not None and self.highest is not None:
            demand(self, "highest", self.highest > self.lowest, "a number above lowest")

    def models_mark(self, train: FeatureSet) -> bool:
        return train.times_difficulty

    def constants(self, train: FeatureSet, marks: np.ndarray, width: float) -> dict[str, Any]:  # noqa: ARG002
        """Raises UnmetNeeds for judges who are missing, or marks outside of lowest to highest."""
        need_panel(self, train)
        seen = train.judges
        low, high = (0.0, 10.0) if train.times_difficulty else (float(seen.min()), float(seen.max()))
        low = low if self.lowest is None else self.lowest
        high = high if self.highest is None else self.highest
        outside = np.any((seen < low) | (seen > high), axis=1)
        if outside.any():
            what = f"a judge's mark is not in {low:g} to {high:g} for {some(train.ids, outside)}"
            raise UnmetNeeds(what, field="judges", hint="--set lowest=... and highest=... say the range of marks")
        return {"lowest": low, "highest": high if high > low else low + 1.0}

    def build(self, spec: Spec) -> PanelNet:
        low, high = spec.constants["lowest"], spec.constants["highest"]
        return PanelNet(spec, spec.judges, self.bins, low, high - low)

    def loss(self, net: Any, batch: Batch, noise: Noise, step: Step) -> Tensor:  # noqa: ARG002
        return self.divergence(net(*only(batch)), (batch.judges - net.origin) / net.unit)

    def judge(self, net: Any, batch: Batch) -> dict[str, Tensor]:
        place, variance = self.decoded(net(*only(batch)))
        mark, sd = total(net.origin + net.unit * place, net.unit.square() * variance, net.units.times_difficulty)
        return {"score": net.units.points(mark, batch), "spread": net.units.points(sd, batch)}
