"""`dae`, `dae-mt`: the distribution auto-encoder (Zhang et al., Auto-Encoding Score Distribution Regression for AQA,
NCAA 2023, arXiv 2111.11029), with a likelihood loss that works.

The released likelihood loss has no gradient, and the released default (squared error of a sample and of mu) leaves
sigma near the 1 point where it starts. Here the Gaussian likelihood makes it the standard deviation of the score, and
the held-out part says by how much that deviation is too small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UnmetNeeds
from .base import FeatureSet, Needs
from .batches import Batch, only
from .config import demand
from .layers import mean_clips
from .noise import Noise
from .torch_head import Calibrated, Published, Spec, Step, Units

RELEASED = {"loss_kind": "released", "scale": "none", "select": "test", "calibrate": False}
LOGVAR = -6.0  # the least log variance: a sigma of .05 standard deviations of train
V1_WEIGHTS, V1_EVERY = (0.6, 0.4), 10  # arXiv v1: of the squared errors of z and of mu, together in every tenth epoch


def bounded(logvar: Tensor) -> Tensor:
    """`logvar` above LOGVAR. Softly: behind a hard clamp a sample that is far off could not widen its sigma again."""
    return LOGVAR + F.softplus(logvar - LOGVAR)


class DaeNet(nn.Module):
    """Mean of the clips -> D-256-128, ReLU -> mu, log variance. 295,554 parameters with D = 1024; no decoder."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.units = Units(spec)
        self.encoder = nn.Sequential(nn.Linear(spec.width, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU())
        self.mu, self.logvar = nn.Linear(128, 1), nn.Linear(128, 1)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, T, D], mask [B, T] -> mu [B], log variance [B], in standard deviations of the train marks."""
        h = self.encoder(mean_clips(x, mask))
        return self.mu(h)[:, 0], bounded(self.logvar(h)[:, 0])


@dataclass(frozen=True)
class Gaussian(Calibrated):
    """What every head that says mu and sigma shares: its loss. With the truth g and z = mu + sigma eps, `loss_kind` is

    likelihood: ``(alpha (g - mu)^2 / sigma^2 + beta log sigma^2) sigma^(2 temper) + sampling (z - g)^2``. alpha = beta
    makes sigma the true error (the paper's .6 and .4 make it 1.22 times that). The factor with `temper` has no gradient
    (Seitzer et al., On the Pitfalls of Heteroscedastic Uncertainty Estimation, ICLR 2022) and keeps small sigmas from
    making the training diverge.
    released: ``(z - g)^2 + (mu - g)^2``, the default of the released code.
    v1: ``(z - g)^2``, and in every tenth epoch ``.6 (z - g)^2 + .4 (mu - g)^2`` (arXiv v1).
    mse: ``(z - g)^2`` (the first upload of the code; the AQA benchmark).

    In the last three nothing makes sigma the error: it is drawn towards 0. The mean over the batch is taken.
    """

    loss_kind: Literal["likelihood", "released", "v1", "mse"] = "likelihood"
    alpha: float = 0.5
    beta: float = 0.5
    sampling: float = 0.0
    temper: float = 0.5

    weight_decay: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("alpha", "beta"):
            demand(self, name, getattr(self, name) > 0, "a number above 0")
        for name in ("sampling", "temper"):
            demand(self, name, getattr(self, name) >= 0, "0 or more")

    def distance(self, error: Tensor, logvar: Tensor, noise: Noise, step: Step, scale: Tensor | float = 1.0) -> Tensor:
        """The loss of each ``mu - g`` and log variance; the squared errors are taken of errors times `scale`."""

        def squared() -> Tensor:
            return (scale * error).square()

        def sampled() -> Tensor:
            return (scale * (error + torch.exp(0.5 * logvar) * noise.normal(*error.shape))).square()

        match self.loss_kind:
            case "released":
                return sampled() + squared()
            case "v1" if step.epoch % V1_EVERY == 0:
                return V1_WEIGHTS[0] * sampled() + V1_WEIGHTS[1] * squared()
            case "v1" | "mse":
                return sampled()
        likelihood = self.alpha * error.square() * torch.exp(-logvar) + self.beta * logvar
        if self.temper:
            likelihood = likelihood * torch.exp(self.temper * logvar.detach())
        return likelihood + self.sampling * sampled() if self.sampling else likelihood


@dataclass(frozen=True)
class Dae(Gaussian):
    """Score as a normal distribution; it is judged with mu, and the spread is sigma, scaled on the held-out part.

    Errors are in standard deviations of train; the papers regress raw points on features as the backbone gives them.
    `batch`, `lr`, `weight_decay`, `epochs`: the released code.
    """

    name = "dae"
    needs = Needs(together=True, validates=True, gives=("spread",))
    pool = "mean"
    published: ClassVar[Published] = {"": RELEASED}

    def build(self, spec: Spec) -> DaeNet:
        return DaeNet(spec)

    def loss(self, net: Any, batch: Batch, noise: Noise, step: Step) -> Tensor:
        mu, logvar = net(*only(batch))
        units = net.units
        error = mu - (units.mark(batch) - units.mean) / units.sd
        # The likelihood of the final score differs by beta log difficulty^2, which nothing learns from.
        scale = batch.difficulty if units.times_difficulty else 1.0
        return self.distance(error, logvar, noise, step, scale).mean()

    def judge(self, net: Any, batch: Batch) -> dict[str, Tensor]:
        mu, logvar = net(*only(batch))
        units = net.units
        return {
            "score": units.points(mu * units.sd + units.mean, batch),
            "spread": units.points(torch.exp(0.5 * logvar) * units.sd, batch),
        }


@dataclass(frozen=True)
class DaeMt(Dae):
    """`dae` of the raw mark, score / difficulty; mark and spread are multiplied by the difficulty, which is given, and
    the loss is taken on the final score. Not one head per judge: the released DAE-MT is this."""

    name = "dae-mt"
    needs = Needs(together=True, validates=True, difficulty=True, gives=("spread",))

    def models_mark(self, train: FeatureSet) -> bool:
        """Raises UnmetNeeds where a score is not a mark times the difficulty."""
        if not train.times_difficulty:
            what = f"{self.name} needs scores that are a mark times the difficulty, and these are not"
            raise UnmetNeeds(what, field="difficulty", hint="use dae")
        return True
