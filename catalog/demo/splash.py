"""The splash: drops that fly, a column of white water, foam that spreads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import ImageDraw

from . import diver
from .looks import Colour
from .programme import GRAVITY, Dive

if TYPE_CHECKING:
    from .scene import View


class Splash:
    """Grows with the fault `splash`; leans the way the body fell."""

    def __init__(self, dive: Dive, motion: diver.Motion, rng: np.random.Generator) -> None:
        size = self.size = dive.faults.splash
        count = 8 + int(280 * size)
        self.contact, self.lean = motion.contact, float(np.sin(motion.tilt))
        self.start = rng.uniform(0.0, 0.22, count)  # s after the hands touch
        self.origin = motion.contact + rng.normal(0, 0.07 + 0.12 * size, count)
        self.up = (0.8 + 4.6 * size) * rng.uniform(0.3, 1.0, count)  # m/s
        self.out = (0.35 + 1.3 * size) * rng.normal(size=(count, 2)) + [[1.6 * size * self.lean, 0.0]]
        self.radius = rng.uniform(0.012, 0.03 + 0.04 * size, count)
        self.white = rng.uniform(0.45, 1.0, count)
        places = np.linspace(-1.0, 1.0, 9) * (0.05 + 0.45 * size)
        heights = (1.0 - 0.6 * np.abs(np.linspace(-1.0, 1.0, 9))) * rng.uniform(0.45, 1.0, 9)
        self.jets = [(x, h, w) for x, h, w in zip(places, heights, rng.uniform(0.6, 1.0, 9), strict=True)]

    def draw(self, draw: ImageDraw.ImageDraw, water: Colour, view: View, frame: int, seconds: float) -> None:
        """What is seen `seconds` after the hands touch the water (nothing before)."""
        if seconds < 0:
            return
        scale = 2 * view.zoom[frame]
        x, y = view.pixels(frame, np.array([self.contact, 0.0, 0.0])) * 2
        wide, high = (0.1 + 1.3 * self.size) * min(1.0, seconds / 0.25) ** 0.5 * scale, 0.07 * scale
        draw.ellipse([x - wide, y - high, x + wide, y + high], fill=_foam(water, 0.7))
        rise = (0.05 + 1.5 * self.size) * np.sin(np.pi * min(seconds / 0.55, 1.0))
        for place, height, white in self.jets:
            self._jet(draw, view, frame, place, rise * height, 0.04 + 0.13 * self.size, _foam(water, white))
        age = seconds - self.start
        z = self.up * age - GRAVITY * age * age / 2
        seen = np.flatnonzero((age > 0) & (z > -0.02))
        drops = np.stack([self.origin + self.out[:, 0] * age, self.out[:, 1] * age, z], -1)[seen]
        at = view.pixels(frame, drops) * 2
        for (x, y), radius, white in zip(at, self.radius[seen] * scale, self.white[seen], strict=True):
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=_foam(water, white))

    def _jet(
        self, draw: ImageDraw.ImageDraw, view: View, frame: int, x: float, z: float, wide: float, colour: Colour
    ) -> None:
        """A tongue of water from the surface at `x` up to `z`."""
        tip = self.contact + x + (0.35 * x + self.lean * z)
        foot = self.contact + x
        corners = np.array([[foot - wide, 0, -0.03], [foot + wide, 0, -0.03], [tip, 0, z]])
        left, right, top = view.pixels(frame, corners) * 2
        draw.polygon([*left, *right, *top], fill=colour)
        radius = 0.45 * wide * 2 * view.zoom[frame]
        draw.ellipse([top[0] - radius, top[1] - radius, top[0] + radius, top[1] + 2 * radius], fill=colour)


def _foam(water: Colour, white: float) -> Colour:
    r, g, b = (round(c + (250 - c) * white) for c in water)
    return r, g, b
