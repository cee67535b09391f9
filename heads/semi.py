"""What semi-supervised heads share: the network, and a loss that is told apart into labelled and unlabelled samples.

Their training draws batches of labelled samples followed by as many unlabelled ones (`Draws.batches`); where every
sample has a label, the labelled ones serve as unlabelled too. All of them, and the head without unlabelled samples that
they are compared with, have this encoder and regressor: a table compares what they do with unlabelled samples.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Needs
from .batches import Batch, only
from .config import demand
from .layers import mean_clips
from .noise import Noise
from .torch_head import MarkHead, Spec, Step, Units

WIDTH = 256  # of what is said of a whole sample


class SemiNet(nn.Module):
    """Encoder: segments, each with its neighbours and its place in time, are averaged to one vector. Regressor: linear.

    984,321 weights with D = 1024 and hidden = 512, for any number of segments.
    """

    def __init__(self, spec: Spec, hidden: int) -> None:
        super().__init__()
        self.units = Units(spec)
        self.segment = nn.Linear(spec.width, hidden)
        self.neighbours = nn.Linear(3 * hidden, WIDTH)
        self.whole = nn.Linear(WIDTH, WIDTH)
        self.score = nn.Linear(WIDTH, 1)

    def encode(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, T, *shape], mask [B, T] -> [B, WIDTH]."""
        there = mask[..., None].to(x.dtype)
        h = self.segment(x.flatten(2)).relu() * there
        before, after = F.pad(h, (0, 0, 1, 0))[:, :-1], F.pad(h, (0, 0, 0, 1))[:, 1:]
        h = self.neighbours(torch.cat([before, h, after], dim=2)) + places(x.shape[1], WIDTH, like=h)
        return self.whole(mean_clips(h.relu(), mask)).relu()

    def regress(self, f: Tensor) -> Tensor:
        """[B, WIDTH] -> marks [B], in deviations of train from its mean."""
        return self.score(f)[:, 0]

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.regress(self.encode(x, mask))


def places(count: int, width: int, *, like: Tensor) -> Tensor:
    """[count, width]: sines and cosines of the place in time (Vaswani et al., NeurIPS 2017, 3.5)."""
    rate = torch.exp(torch.arange(0, width, 2, device=like.device, dtype=like.dtype) * (-math.log(1e4) / width))
    angle = torch.arange(count, device=like.device, dtype=like.dtype)[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], dim=1)


@dataclass(frozen=True)
class SemiSupervised(MarkHead):
    """Squared error on labelled samples plus whatever `unsupervised` makes of all of them.

    `hidden`: numbers per segment. `use_difficulty`: model score / difficulty and multiply back, where scores are made
    so. `select`: with few labels the held-out part is a handful of samples, which cannot choose an epoch.
    """

    needs: ClassVar[Needs] = Needs(shape=None, together=True, validates=True, unlabelled=True)

    batch: int = 16
    lr: float = 1e-4
    weight_decay: float = 1e-5
    select: Literal["val", "last", "test"] = "last"
    hidden: int = 512

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "hidden", self.hidden >= 1, "1 or more")

    def build(self, spec: Spec) -> SemiNet:
        return SemiNet(spec, self.hidden)

    def unsupervised(self, net: Any, labelled: Batch, unlabelled: Batch, noise: Noise) -> Tensor:
        """The part of the loss that asks for no label; labels of `unlabelled` may be NaN and are not looked at."""
        raise NotImplementedError

    def loss(self, net: Any, batch: Batch, noise: Noise, step: Step) -> Tensor:  # noqa: ARG002
        labelled, unlabelled = halves(batch)
        return regression(net, labelled) + self.unsupervised(net, labelled, unlabelled, noise)

    def judge(self, net: Any, batch: Batch) -> dict[str, Tensor]:
        return {"score": net.units.points(net(*only(batch)) * net.units.sd + net.units.mean, batch)}

    def describe(self, spec: Spec) -> dict[str, Any]:
        return {"labelled_samples": spec.samples}


def regression(net: Any, batch: Batch) -> Tensor:
    """Mean squared error of the marks, in variances of train."""
    error = net(*only(batch)) - (net.units.mark(batch) - net.units.mean) / net.units.sd
    return error.square().mean()


def halves(batch: Batch) -> tuple[Batch, Batch]:
    """The labelled samples, which come first, and as many unlabelled ones."""
    half = (len(batch.score) + 1) // 2
    return part_of(batch, slice(None, half)), part_of(batch, slice(half if half < len(batch.score) else 0, None))


def part_of(batch: Batch, rows: slice) -> Batch:
    """The samples at `rows`, without targets and exemplars."""
    return Batch(
        {name: x[rows] for name, x in batch.streams.items()},
        {name: mask[rows] for name, mask in batch.masks.items()},
        batch.score[rows],
        batch.difficulty[rows],
        batch.judges[rows],
        batch.labelled[rows],
    )


def perturbed(x: Tensor, mask: Tensor, size: float, noise: Noise) -> Tensor:
    """`x` with normal noise of standard deviation `size` on the clips that are there."""
    return x + size * noise.normal(*x.shape) * mask.reshape(*mask.shape, *[1] * (x.ndim - 2)).to(x.dtype)


class Ramp(nn.Module):
    """A weight that goes from 0 to 1 over the first `updates`: exp(-5 (1 - t)^2) (Laine and Aila, ICLR 2017).

    It is a buffer that `after_step` moves on, so that a recorded step sees it move.
    """

    done: Tensor

    def __init__(self, updates: int) -> None:
        super().__init__()
        self.updates = max(updates, 1)
        self.register_buffer("done", torch.zeros(()))

    def forward(self) -> Tensor:
        t = (self.done / self.updates).clamp(max=1)
        return torch.exp(-5 * (1 - t).square())


def move_on(buffers: Mapping[str, Tensor]) -> None:
    """Count an update in the ramp of every seed."""
    buffers["net.ramp.done"].add_(1)
