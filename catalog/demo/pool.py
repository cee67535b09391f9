"""The background: wall, platform and water, painted once for a film and cropped frame by frame."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .looks import Colour, Venue
from .programme import PLATFORM

DENSITY = 48  # pixels per m
LEFT, RIGHT, BOTTOM, TOP = -7.0, 7.0, -4.5, 9.0  # m: what the picture shows
FAR_EDGE = 0.5  # m: how far over the diver's water line the water ends in the picture


def paint(venue: Venue, edge: float) -> Image.Image:
    """`edge`: cosine of the camera's azimuth; negative where the diver jumps to the left."""
    rng = np.random.Generator(np.random.PCG64(venue.texture))
    width, height = round((RIGHT - LEFT) * DENSITY), round((TOP - BOTTOM) * DENSITY)
    picture = Image.new("RGB", (width, height), venue.wall)
    draw = ImageDraw.Draw(picture)
    (_tiles, _panels, _crowd, _windows)[venue.style](draw, venue, rng, width)
    picture = picture.filter(ImageFilter.GaussianBlur(6))  # out of focus
    draw = ImageDraw.Draw(picture)
    _tower(draw, venue, edge)
    _water(draw, venue, rng, width, height)
    slow = rng.normal(size=(9, 10)).astype(np.float32)
    stain = Image.fromarray(slow).resize((width, height), Image.Resampling.BICUBIC)
    grain = rng.normal(size=(height, width, 1)).astype(np.float32)
    painted = np.asarray(picture, np.float32) * (1.0 + 0.02 * np.asarray(stain)[..., None]) + 2.0 * grain
    return Image.fromarray(np.clip(painted, 0, 255).astype(np.uint8))


def _xy(x: float, z: float) -> tuple[float, float]:
    return (x - LEFT) * DENSITY, (TOP - z) * DENSITY


def _box(x0: float, z0: float, x1: float, z1: float) -> list[float]:
    (ax, ay), (bx, by) = _xy(min(x0, x1), max(z0, z1)), _xy(max(x0, x1), min(z0, z1))
    return [ax, ay, bx, by]


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    r, g, b_ = (round(p + share * (q - p)) for p, q in zip(a, b, strict=True))
    return r, g, b_


def _any(rng: np.random.Generator) -> Colour:
    r, g, b = (int(v) for v in rng.integers(30, 220, 3))
    return r, g, b


def _tiles(draw: ImageDraw.ImageDraw, venue: Venue, rng: np.random.Generator, width: int) -> None:
    line = _mix(venue.wall, (0, 0, 0), 0.1)
    for x in np.arange(LEFT, RIGHT, 0.6):
        draw.line([*_xy(x, TOP), *_xy(x, 0)], fill=line, width=2)
    for z in np.arange(0.0, TOP, 0.6):
        draw.line([0, _xy(0, z)[1], width, _xy(0, z)[1]], fill=line, width=2)
    for z in rng.uniform(0.8, TOP - 1, 3):
        draw.rectangle(_box(LEFT, z, RIGHT, z + 0.3), fill=_mix(venue.wall, venue.accent, 0.15))


def _panels(draw: ImageDraw.ImageDraw, venue: Venue, rng: np.random.Generator, width: int) -> None:
    x = LEFT
    while x < RIGHT:
        step = rng.uniform(0.7, 2.2)
        share = rng.uniform(0.0, 0.14)
        draw.rectangle(_box(x, 0, x + step, TOP), fill=_mix(venue.wall, venue.accent, share))
        x += step
    draw.rectangle([0, _xy(0, 1.3)[1], width, _xy(0, 0.9)[1]], fill=_mix(venue.wall, (255, 255, 255), 0.06))


def _crowd(draw: ImageDraw.ImageDraw, venue: Venue, rng: np.random.Generator, width: int) -> None:
    for z in np.arange(1.2, TOP, 0.55):
        draw.line([0, _xy(0, z)[1], width, _xy(0, z)[1]], fill=_mix(venue.wall, (0, 0, 0), 0.1), width=5)
        for x in np.arange(LEFT, RIGHT, 0.42):
            if rng.random() < 0.75:
                x0, tone = x + rng.uniform(0, 0.15), _mix(venue.wall, _any(rng), 0.12)
                draw.ellipse(_box(x0, z, x0 + 0.24, z + 0.3), fill=tone)
                draw.ellipse(
                    _box(x0 + 0.05, z + 0.25, x0 + 0.19, z + 0.42), fill=_mix(venue.wall, (190, 150, 125), 0.18)
                )


def _windows(draw: ImageDraw.ImageDraw, venue: Venue, rng: np.random.Generator, width: int) -> None:
    sky = _mix(venue.wall, (170, 205, 235), 0.08)
    offset = rng.uniform(0, 1.5)
    for x in np.arange(LEFT - offset, RIGHT, 1.9):
        draw.rectangle(_box(x, 2.0, x + 1.45, TOP), fill=_mix(sky, venue.wall, rng.uniform(0, 0.7)))
    for z in (3.6, 5.4, 7.2):
        draw.line([0, _xy(0, z)[1], width, _xy(0, z)[1]], fill=_mix(venue.wall, (0, 0, 0), 0.08), width=6)


def _tower(draw: ImageDraw.ImageDraw, venue: Venue, edge: float) -> None:
    far = -3.6 * edge
    draw.rectangle(_box(-1.3 * edge, FAR_EDGE, -1.9 * edge, PLATFORM), fill=_mix(venue.tower, (0, 0, 0), 0.3))
    draw.rectangle(_box(0.0, PLATFORM - 0.24, far, PLATFORM), fill=_mix(venue.tower, (0, 0, 0), 0.15))
    draw.rectangle(_box(0.0, PLATFORM - 0.06, far, PLATFORM), fill=_mix(venue.tower, (255, 255, 255), 0.25))
    for x in (-0.9 * edge, -2.6 * edge):
        draw.line([*_xy(x, PLATFORM), *_xy(x, PLATFORM + 0.9)], fill=_mix(venue.tower, (0, 0, 0), 0.5), width=3)
    rail = [*_xy(-0.9 * edge, PLATFORM + 0.9), *_xy(far, PLATFORM + 0.9)]
    draw.line(rail, fill=_mix(venue.tower, (0, 0, 0), 0.5), width=3)


def _water(draw: ImageDraw.ImageDraw, venue: Venue, rng: np.random.Generator, width: int, height: int) -> None:
    top = _xy(0, FAR_EDGE)[1]
    draw.rectangle([0, top - 8, width, top], fill=_mix(venue.wall, (255, 255, 255), 0.25))
    for y in range(int(top), height):
        share = (y - top) / (height - top)
        draw.line([0, y, width, y], fill=_mix(_mix(venue.water, (255, 255, 255), 0.1), venue.water, min(1, 3 * share)))
    for _ in range(420):
        x, y, length = rng.uniform(0, width), top + (height - top) * rng.random() ** 1.5, rng.uniform(6, 34)
        tone = _mix(venue.water, (255, 255, 255) if rng.random() < 0.6 else (0, 0, 40), rng.uniform(0.05, 0.2))
        draw.line([x, y, x + length, y + rng.uniform(-2, 2)], fill=tone, width=2)
