"""Chances of training: which part of the picture, mirrored or not, and when a sample begins. Each is drawn from the
seed, the epoch and the sample alone, so that neither a resumed run nor several processes change any of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from .frames import Shifts

QUERY, EXEMPLAR = 0, 1  # a sample and its partner are drawn apart


class View(NamedTuple):
    """How a sample is seen: `shift` in frames, `down` and `right` in [0, 1]: where the crop lies in the free space,
    -1 for the centre; the same for all clips of a sample."""

    shift: int = 0
    flip: bool = False
    down: float = -1.0
    right: float = -1.0


@dataclass(frozen=True)
class Augmentation:
    """`flip`: probability of the mirror image. `crop`: from anywhere or from the centre of the resized frame. `shifts`:
    the range of a sample is moved by so many frames, from the first to the last of the two, with equal chances."""

    flip: float = 0.0
    crop: Literal["centre", "random"] = "centre"
    shifts: Shifts = (0, 0)

    def view(self, seed: int, epoch: int, sample: int, role: int = QUERY) -> View:
        """How sample number `sample` is seen in `epoch`."""
        draw = np.random.default_rng([seed, 5, epoch, sample, role])
        flip, down, right, moved = draw.random(4).tolist()
        low, high = self.shifts
        where = (down, right) if self.crop == "random" else (-1.0, -1.0)
        return View(low + int(moved * (high - low + 1)), flip < self.flip, *where)


def corner(view: View, frame: tuple[int, int], crop: tuple[int, int]) -> tuple[int, int]:
    """Top and left of `crop` (height, width) in `frame`; in the centre with the rounding of extraction."""
    free = frame[0] - crop[0], frame[1] - crop[1]
    if view.down < 0:
        return round(free[0] / 2), round(free[1] / 2)
    return min(int(view.down * (free[0] + 1)), free[0]), min(int(view.right * (free[1] + 1)), free[1])
