"""Gated recurrent units with plain matrix products: the kernels of `nn.GRU` know no `torch.func.vmap`."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from .layers import LinearCopies


def gru_steps(gates: Tensor, h: Tensor, recur: Callable[[Tensor], Tensor]) -> Tensor:
    """Outputs [..., T, hidden] of a GRU, step by step (Cho et al., EMNLP 2014, in the form of `torch.nn.GRU`).

    `gates` [..., T, 3 hidden]: what the inputs add to the gates r, z, n; `h` [..., hidden]: the state before the first
    step; `recur`: what a state [..., hidden] adds, [..., 3 hidden].
    """
    width, outputs = h.shape[-1], []
    both, new = gates.split((2 * width, width), dim=-1)
    for of_both, of_new in zip(both.unbind(-2), new.unbind(-2), strict=True):
        old_both, old_new = recur(h).split((2 * width, width), dim=-1)
        r, z = (of_both + old_both).sigmoid().chunk(2, dim=-1)
        candidate = (of_new + r * old_new).tanh()
        h = candidate + z * (h - candidate)
        outputs.append(h)
    return torch.stack(outputs, dim=-2)


class BiGru(nn.Module):
    """A bidirectional GRU of one layer, initialised as `nn.GRU`. Both directions take their steps as one product."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.inputs = LinearCopies(2, inputs, 3 * hidden)
        self.recur = LinearCopies(2, hidden, 3 * hidden)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(hidden), 1 / math.sqrt(hidden))

    def forward(self, x: Tensor, resample: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """x [B, T, inputs], none of it padding unless `resample` leaves it out -> [B, T, 2 hidden]: forwards, then
        backwards.

        `resample`: makes of any [B, T, D] the steps that are taken, by weights that add up to 1. That comes to the same
        before the product with the inputs and after it, where few clips become many steps at a fraction of the cost.
        """
        gates = self.inputs(x.flatten(0, 1)[None]).unflatten(1, x.shape[:2])
        there, back = gates if resample is None else (resample(one) for one in gates.unbind(0))
        start = x.new_zeros(2, len(x), self.hidden)
        there, back = gru_steps(torch.stack([there, back.flip(1)]), start, self.recur).unbind(0)
        return torch.cat([there, back.flip(1)], dim=2)
