"""Noise that a loss asks for and does not draw: seeds that train together must each get the numbers they get alone.

A loss calls ``noise.normal(8, 1)``. Run once on `Live`, it leaves behind what it asks for (`asked`); from then on the
training loop draws that for every seed from the seed's own generator (`draw`) and hands it in through `Replay`, under
`torch.func.vmap` too. What is asked may depend on shapes, never on values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor

Ask = tuple[Literal["normal", "uniform"], tuple[int, ...]]


class Noise(Protocol):
    def normal(self, *shape: int) -> Tensor:
        """Independent draws from N(0, 1)."""
        ...

    def uniform(self, *shape: int) -> Tensor:
        """Independent draws from [0, 1)."""
        ...


class Live:
    """Draws at once, from one generator, and keeps a list of what was asked."""

    def __init__(self, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> None:
        self.generator, self.dtype = generator, dtype
        self.asked: list[Ask] = []

    def normal(self, *shape: int) -> Tensor:
        self.asked.append(("normal", shape))
        return _drawn(self.asked[-1], self.generator, self.dtype)

    def uniform(self, *shape: int) -> Tensor:
        self.asked.append(("uniform", shape))
        return _drawn(self.asked[-1], self.generator, self.dtype)


class Replay:
    """Gives out what was drawn before, in the order in which it was asked."""

    def __init__(self, draws: Iterable[Tensor]) -> None:
        self.draws = iter(draws)

    def normal(self, *shape: int) -> Tensor:
        return self._next(shape)

    def uniform(self, *shape: int) -> Tensor:
        return self._next(shape)

    def _next(self, shape: tuple[int, ...]) -> Tensor:
        drawn = next(self.draws, None)
        if drawn is None or tuple(drawn.shape) != shape:
            got = "nothing more" if drawn is None else tuple(drawn.shape)
            raise RuntimeError(
                f"the loss asked for noise {shape} and {got} was drawn: it asks by values, not by shapes"
            )
        return drawn


def draw(asked: Sequence[Ask], generators: Sequence[torch.Generator], dtype: torch.dtype) -> list[Tensor]:
    """What `asked` lists, each [seeds, *shape], every seed's from its own generator."""
    return [torch.stack([_drawn(ask, generator, dtype) for generator in generators]) for ask in asked]


def dropout(x: Tensor, p: float, noise: Noise | None) -> Tensor:
    """`x` with each number zeroed with probability `p` and the rest scaled by 1 / (1 - p); `x` itself without noise."""
    if noise is None or p == 0:
        return x
    return x * (noise.uniform(*x.shape) >= p) / (1 - p)


def _drawn(ask: Ask, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    kind, shape = ask
    sample = torch.randn if kind == "normal" else torch.rand
    return sample(shape, generator=generator, dtype=dtype, device=generator.device)
