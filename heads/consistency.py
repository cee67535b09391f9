"""Semi-supervised heads that ask a network to agree with itself: `pseudo-label`, `vat`, `mean-teacher`.

They stand beside `s4aqa` on the same encoder, as its paper compares them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .batches import Batch, only
from .config import demand
from .noise import Noise
from .semi import Ramp, SemiNet, SemiSupervised, move_on, perturbed
from .torch_head import Spec


class RampedNet(SemiNet):
    """`SemiNet` with the ramp of a weight."""

    def __init__(self, spec: Spec, hidden: int, updates: int) -> None:
        super().__init__(spec, hidden)
        self.ramp = Ramp(updates)


class TeacherNet(RampedNet):
    """`RampedNet` beside a copy of its encoder and regressor that is not trained: the teacher, kept as buffers."""

    def __init__(self, spec: Spec, hidden: int, updates: int) -> None:
        super().__init__(spec, hidden, updates)
        student = SemiNet(spec, hidden)
        student.load_state_dict({n: v for n, v in self.state_dict().items() if not n.startswith("ramp")})
        self.teacher = as_buffers(student)


@dataclass(frozen=True)
class Consistency(SemiSupervised):
    """`weight` of the agreement, which ramps up over the first part `ramp` of all updates; chosen, like the sizes of
    noise and steps below, inside train of the embedded set (benchmarks/semi.py)."""

    weight: float = 0.1
    ramp: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "weight", self.weight >= 0, "0 or more")
        demand(self, "ramp", 0 <= self.ramp <= 1, "between 0 and 1")

    def updates(self, spec: Spec) -> int:
        """Over which the weight ramps up."""
        return round(self.ramp * self.epochs * spec.updates)

    def build(self, spec: Spec) -> RampedNet:
        return RampedNet(spec, self.hidden, self.updates(spec))

    def after_step(self, leaves: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> None:  # noqa: ARG002
        move_on(buffers)


@dataclass(frozen=True)
class PseudoLabel(Consistency):
    """What the network says of an unlabelled sample is its label when the sample comes with noise (Lee, Pseudo-Label,
    ICML workshop 2013, for regression). `noise_sd` of the noise, in standard deviations of a feature, and the
    other parameters are our choices."""

    name = "pseudo-label"

    noise_sd: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "noise_sd", self.noise_sd >= 0, "0 or more")

    def unsupervised(self, net: Any, labelled: Batch, unlabelled: Batch, noise: Noise) -> Tensor:  # noqa: ARG002
        x, mask = only(unlabelled)
        said = net(x, mask).detach()
        again = net(perturbed(x, mask, self.noise_sd, noise), mask)
        return self.weight * net.ramp() * (again - said).square().mean()


@dataclass(frozen=True)
class MeanTeacher(Consistency):
    """The network, under noise, is to agree with a running mean of its own weights, under other noise (Tarvainen and
    Valpola, NeurIPS 2017). The teacher judges. `decay` of the mean: the paper's; the rest are our choices."""

    name = "mean-teacher"

    decay: float = 0.999
    noise_sd: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "noise_sd", self.noise_sd >= 0, "0 or more")
        demand(self, "decay", 0 <= self.decay < 1, "at least 0 and below 1")

    def build(self, spec: Spec) -> TeacherNet:
        return TeacherNet(spec, self.hidden, self.updates(spec))

    def unsupervised(self, net: Any, labelled: Batch, unlabelled: Batch, noise: Noise) -> Tensor:
        total = torch.zeros((), dtype=net.ramp.done.dtype, device=net.ramp.done.device)
        for batch in (labelled, unlabelled):
            x, mask = only(batch)
            student = net(perturbed(x, mask, self.noise_sd, noise), mask)
            teacher = net.teacher(perturbed(x, mask, self.noise_sd, noise), mask).detach()
            total = total + (student - teacher).square().mean()
        return self.weight * net.ramp() * total

    def after_step(self, leaves: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> None:
        move_on(buffers)
        done = buffers["net.ramp.done"]
        decay = torch.minimum(1 - 1 / (done + 1), torch.full_like(done, self.decay))  # a mean of few is a plain one
        for name, value in leaves.items():
            teacher = buffers[name.replace("net.", "net.teacher.", 1)]
            teacher.lerp_(value, (1 - decay).reshape(-1, *[1] * (value.ndim - 1)))

    def judge(self, net: Any, batch: Batch) -> dict[str, Tensor]:
        return {"score": net.units.points(net.teacher(*only(batch)) * net.units.sd + net.units.mean, batch)}


@dataclass(frozen=True)
class Vat(Consistency):
    """Virtual adversarial training (Miyato et al., TPAMI 2018): the score is not to move in the direction in which it
    moves most, found by one power iteration from a random start. `radius` of the step, in standard deviations of a
    feature (root mean square over a sample); `probe` of the start. Parameters are our choices."""

    name = "vat"

    radius: float = 0.03
    probe: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("radius", "probe"):
            demand(self, name, getattr(self, name) > 0, "a number above 0")

    def unsupervised(self, net: Any, labelled: Batch, unlabelled: Batch, noise: Noise) -> Tensor:  # noqa: ARG002
        x, mask = only(unlabelled)
        there = mask.reshape(*mask.shape, *[1] * (x.ndim - 2)).to(x.dtype).expand_as(x)
        said = net(x, mask).detach()

        def moved(step: Tensor) -> Tensor:
            return (net(x + step, mask) - said).square().sum()

        start = unit(noise.normal(*x.shape) * there, there)
        worst = unit(torch.func.grad(moved)(self.probe * start).detach() * there, there)
        return self.weight * net.ramp() * (net(x + self.radius * worst, mask) - said).square().mean()


def unit(x: Tensor, there: Tensor) -> Tensor:
    """`x` [B, ...] with a root mean square of 1 over the numbers of each sample that are `there`."""
    square = x.square().flatten(1).sum(dim=1) / there.flatten(1).sum(dim=1)
    return x * (square + 1e-30).rsqrt().reshape(-1, *[1] * (x.ndim - 1))


def as_buffers(net: nn.Module) -> nn.Module:
    """`net` with its parameters made into buffers, which no optimiser sees."""
    net = copy.deepcopy(net)
    for module in net.modules():
        for name, value in list(module.named_parameters(recurse=False)):
            delattr(module, name)
            module.register_buffer(name, value.detach().clone())
    return net
