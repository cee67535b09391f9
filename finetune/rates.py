"""Optimiser and learning rates of a fine-tuning: every part has its own, and all follow one course."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from ..heads.torch_head import TorchHead
from .network import Part
from .recipe import Recipe


def make_optimiser(head: TorchHead, parts: Sequence[Part]) -> torch.optim.Optimizer:
    """As in cached training (`heads/training.py`), with one group per part."""
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    more = {"momentum": 0.9} if head.optimiser == "sgd" else {}
    groups = [{"params": part.parameters, "lr": part.rate, "rate": part.rate} for part in parts]
    fused = parts[0].parameters[0].device.type in ("cpu", "cuda")
    return kinds[head.optimiser](groups, weight_decay=head.weight_decay, fused=fused, **more)


def course(head: TorchHead, recipe: Recipe, epoch: int, part: float) -> float:
    """What the rates are multiplied by, `part` (0 to 1) of the way through `epoch` (from 0): up from 0 over the first
    `warm_up` epochs, down by `factor` at each of `steps`, and with `schedule=cosine` to 1%, epoch by epoch."""
    rate = 1.0
    if head.schedule == "cosine":
        rate = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * epoch / head.epochs))
    rate *= recipe.factor ** sum(epoch >= step for step in recipe.steps)
    if epoch + part < recipe.warm_up:
        rate *= (epoch + part) / recipe.warm_up
    return rate


def set_rates(optimiser: torch.optim.Optimizer, factor: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = group["rate"] * factor
