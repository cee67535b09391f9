"""`hgcn`: hierarchical graph convolutions (Zhou et al., Hierarchical Graph Convolutional Networks for Action Quality
Assessment, IEEE TCSVT 2023), as the AQA benchmark (arXiv 2412.11149) has it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UnmetNeeds
from .base import Needs
from .batches import Batch, only
from .config import demand
from .layers import GroupedLinear, crop_clips
from .noise import Noise
from .torch_head import Calibrated, MarkHead, Published, Spec, Step, Units

SCENES = 7
DIVES = {"groups": 8, "weight_decay": 1e-5}  # the benchmark where it trains the backbone along


class Graph(nn.Module):
    """Which node looks at which: ``alpha q k' / sqrt(width) + P`` with P learned, of nodes [B, N, C] -> [B, N, N]."""

    def __init__(self, nodes: int, inputs: int, width: int, groups: int) -> None:
        super().__init__()
        self.query = GroupedLinear(inputs, width, groups, bias=False)
        self.key = GroupedLinear(inputs, width, groups, bias=False)
        self.alpha = nn.Parameter(torch.ones(1))
        self.prior = nn.Parameter(torch.eye(nodes))
        self.root = math.sqrt(width)

    def forward(self, nodes: Tensor) -> Tensor:
        n = nodes.shape[1]
        return self.alpha * (self.query(nodes) @ self.key(nodes).mT) / self.root + self.prior[:n, :n]


class HgcnNet(nn.Module):
    """Clips are refined by their neighbours into shots, shots become seven scenes, scenes look at each other in their
    order, and each says mean and log variance of its part of the score. With D = 1024 and ten clips 1,250,508
    parameters, in eight groups 275,660. Each sum over a graph is over its first index, as released: node m takes from
    the n that look at it."""

    near: Tensor
    lower: Tensor
    origin: Tensor
    unit: Tensor

    def __init__(self, spec: Spec, clips: int, groups: int, mask: str, divisor: float | None) -> None:
        super().__init__()
        self.clips, self.mask = clips, mask
        self.units = Units(spec)
        origin, unit = (spec.mean, spec.sd) if divisor is None else (0.0, divisor)
        self.register_buffer("origin", torch.tensor(origin, dtype=torch.get_default_dtype()))
        self.register_buffer("unit", torch.tensor(unit, dtype=torch.get_default_dtype()))
        self.compared = GroupedLinear(spec.width, 256, groups)
        self.shot = GroupedLinear(spec.width, 512, groups)
        self.context = Graph(clips, 512, 128, groups)
        self.lifted = GroupedLinear(512, 256, groups)
        self.belonging = Graph(clips, 512, 128, 1)
        self.assigned = nn.Linear(512, SCENES)
        self.share = nn.Parameter(torch.ones(SCENES, clips))
        self.amount = nn.Parameter(torch.ones(1))
        self.order = Graph(SCENES, 256, 64, groups)
        self.value = GroupedLinear(256, 128, groups)
        self.mu, self.logvar = nn.Linear(128, 1), nn.Linear(128, 1)
        step = torch.arange(clips)
        self.register_buffer("near", ((step[:, None] - step).abs() < 3).to(torch.get_default_dtype()))
        self.register_buffer("lower", torch.ones(SCENES, SCENES).tril())

    def forward(self, x: Tensor, mask: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor]:
        """x [B, T, D], mask [B, T] -> mu, log variance [B, 7] of the scenes, whose sum is ``(mark - origin) / unit``.

        Of more than `clips` clips as many in a row: from a random start, in the middle without noise.
        """
        x, mask = crop_clips(x, mask, self.clips, noise)
        shots = self.refined(x, mask)
        scenes = self.scenes(shots, mask)
        v = self.value(self.sequence(scenes).mT @ scenes).relu()
        return self.mu(v)[..., 0], self.logvar(v)[..., 0]

    def refined(self, x: Tensor, mask: Tensor) -> Tensor:
        """Shots [B, T, 512], zero where there is no clip."""
        there = mask[..., None].to(x.dtype)
        x = x * there
        u = self.compared(x).relu()
        # The adjacency is 1 on its diagonal, this above it, minus this below it, and 0 elsewhere.
        step = torch.tanh(u[:, :-1] - u[:, 1:]).mean(dim=2, keepdim=True)
        h = x + F.pad(step * x[:, :-1], (0, 0, 1, 0)) - F.pad(step * x[:, 1:], (0, 0, 0, 1))
        return self.shot(h).relu() * there

    def scenes(self, shots: Tensor, mask: Tensor) -> Tensor:
        """Scenes [B, 7, 256]."""
        clips = shots.shape[1]
        near, absent = self.near[:clips, :clips], ~mask[:, None, :]

        def seen(graph: Graph) -> Tensor:
            looks = (near + graph(shots)).masked_fill(absent, -math.inf).softmax(dim=2)
            return looks.mT @ shots

        lifted = self.lifted(seen(self.context)).relu()
        assigned = self.assigned(seen(self.belonging)).relu().mT
        share = self.share[:, :clips] + self.amount * assigned
        return (share * mask[:, None, :]) @ lifted

    def sequence(self, scenes: Tensor) -> Tensor:
        """[B, 7, 7]: how much each scene looks at each."""
        looks = self.order(scenes)
        masked = looks * self.lower if self.mask == "released" else looks.masked_fill(self.lower == 0, -math.inf)
        return masked.softmax(dim=2)


@dataclass(frozen=True)
class Hgcn(Calibrated, MarkHead):
    """Squared error of a sample of the score, which is a sum over scenes of independent normals; judged with the sum of
    their means. The spread is the root of the sum of their variances, scaled on the held-out part.

    Defaults: the AQA benchmark's on cached features (Adam 1e-4, weight decay 1e-4, batch 4, 100 epochs, one group).
    `groups`: into which features and hidden numbers are divided; 8 in the benchmark on dives. `mask` released: what a
    scene must not look at is 0 before the softmax, so it does look there; inf: it does not. `crop`: the most clips in a
    row that are looked at. `divisor`: the unit of the error, in points, and of what the scenes say; none: they say
    marks standardised over train. `use_difficulty`: model score / difficulty and multiply back.
    """

    name = "hgcn"
    needs = Needs(together=True, validates=True, gives=("spread",))
    published: ClassVar[Published] = {
        "": {"divisor": 1.0, "scale": "none", "select": "test", "calibrate": False},
        "mtl-aqa": {**DIVES, "batch": 2},
        "finediving": DIVES,
        "aqa-7": DIVES,
        "rhythmic-gymnastics": {"batch": 32},
        "logo": {"crop": 48},
    }

    batch: int = 4
    weight_decay: float = 1e-4
    groups: int = 1
    mask: Literal["released", "inf"] = "released"
    crop: int = 68
    divisor: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "groups", self.groups >= 1 and 64 % self.groups == 0, "1, 2, 4, 8, 16, 32 or 64")
        demand(self, "crop", self.crop >= 1, "1 or more")
        demand(self, "divisor", self.divisor is None or self.divisor > 0, "a number above 0, or none")

    def build(self, spec: Spec) -> HgcnNet:
        """Raises UnmetNeeds for features that cannot be divided into as many groups."""
        if spec.width % self.groups:
            what = f"{self.name} cannot divide clips of {spec.width} numbers into {self.groups} groups"
            raise UnmetNeeds(what, field="groups", hint="--set groups=1, or another divisor")
        return HgcnNet(spec, min(self.crop, spec.clips), self.groups, self.mask, self.divisor)

    def loss(self, net: Any, batch: Batch, noise: Noise, step: Step) -> Tensor:  # noqa: ARG002
        mu, logvar = net(*only(batch), noise)
        z = mu + torch.exp(0.5 * logvar) * noise.normal(*mu.shape)
        mark = net.origin + net.unit * z.sum(dim=1)
        return ((net.units.points(mark, batch) - batch.score) / net.unit).square().mean()

    def judge(self, net: Any, batch: Batch) -> dict[str, Tensor]:
        mu, logvar = net(*only(batch))
        sd = net.unit * torch.exp(logvar).sum(dim=1).sqrt()
        return {
            "score": net.units.points(net.origin + net.unit * mu.sum(dim=1), batch),
            "spread": net.units.points(sd, batch),
        }
