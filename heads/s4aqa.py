"""`s4aqa`: semi-supervised regression by recovering masked segments and aligning labelled with unlabelled samples
(Zhang, Pan, Gao, Zheng, IEEE TCSVT 32(9), 2022), and the same network on its labels alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .batches import Batch, only
from .config import demand
from .noise import Noise
from .semi import WIDTH, SemiNet, SemiSupervised
from .torch_head import Spec


class S4AqaNet(SemiNet):
    """`SemiNet`, a decoder from what is said of a whole sample to one of its segments, and a discriminator of labelled
    from unlabelled samples. 1,657,730 weights with D = 1024 and hidden = 512."""

    def __init__(self, spec: Spec, hidden: int) -> None:
        super().__init__(spec, hidden)
        self.recover = nn.Sequential(nn.Linear(WIDTH, hidden), nn.ReLU(), nn.Linear(hidden, spec.width))
        self.labelled = nn.Sequential(nn.Linear(WIDTH, 64), nn.ReLU(), nn.Linear(64, 1))


@dataclass(frozen=True)
class S4Aqa(SemiSupervised):
    """L = L_reg + `recovery` L_rcvr + `alignment` L_adv: a random segment of an unlabelled sample is masked (zeros),
    and its feature recovered with mean absolute error; behind a gradient reversal layer a discriminator tells labelled
    from unlabelled samples, whole and masked.

    The paper was read through a note. Its figure peaks at 40 and 0.1, for features as they come out of the backbone;
    here they are standardised, and the weights are chosen inside train of the embedded set (benchmarks/semi.py). The
    encoder, the mask value, the discriminator, batch, rate and epochs are our choices too.
    """

    name = "s4aqa"

    recovery: float = 0.3
    alignment: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("recovery", "alignment"):
            demand(self, name, getattr(self, name) >= 0, "0 or more")

    def build(self, spec: Spec) -> S4AqaNet:
        return S4AqaNet(spec, self.hidden)

    def unsupervised(self, net: Any, labelled: Batch, unlabelled: Batch, noise: Noise) -> Tensor:
        x, mask = only(unlabelled)
        chosen = one_segment(mask, noise.uniform(len(x)))
        shape = (*mask.shape, *[1] * (x.ndim - 2))
        masked = net.encode(x * (~chosen).reshape(shape).to(x.dtype), mask)
        # A backbone that learned from what is wanted would make all segments alike.
        wanted = (x * chosen.reshape(shape).to(x.dtype)).sum(dim=1).flatten(1).detach()
        recovery = (net.recover(masked) - wanted).abs().mean()
        ours, theirs = net.encode(*only(labelled)), net.encode(x, mask)
        logits = net.labelled(reversed_gradient(torch.cat([ours, theirs, masked])))[:, 0]
        truth = (torch.arange(len(logits), device=x.device) < len(ours)).to(x.dtype)
        # each kind of sample counts as much as another, however many there are
        part = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        alignment = part[: len(ours)].mean() + 0.5 * (
            part[len(ours) : -len(masked)].mean() + part[-len(masked) :].mean()
        )
        return self.recovery * recovery + self.alignment * alignment


@dataclass(frozen=True)
class Supervised(SemiSupervised):
    """The network of `s4aqa` on the labels alone: what semi-supervised heads are to be compared with. It makes as many
    updates as they do, and features are scaled over the same samples."""

    name = "s4aqa-supervised"

    def unsupervised(self, net: Any, labelled: Batch, unlabelled: Batch, noise: Noise) -> Tensor:  # noqa: ARG002
        return torch.zeros_like(labelled.score[0])


def one_segment(mask: Tensor, draw: Tensor) -> Tensor:
    """bool [B, T]: one of the segments that `mask` [B, T] has, by `draw` [B] from [0, 1)."""
    count = mask.sum(dim=1)
    index = (draw * count).long().minimum(count - 1)
    return torch.arange(mask.shape[1], device=mask.device) == index[:, None]


def reversed_gradient(f: Tensor) -> Tensor:
    """`f`, whose gradient comes back with its sign turned (Ganin and Lempitsky, ICML 2015)."""
    return 2 * f.detach() - f
