"""The film: a camera following the diver, the pool behind, the body, the splash. Drawn by Pillow at twice the size.

Pixels of the picture count from the upper left; the canvas is drawn `SCALE` times as large and reduced.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageDraw

from . import body, diver
from .looks import Colour, Looks, looks
from .pool import DENSITY, LEFT, TOP, paint
from .programme import RATE, Dive
from .splash import Splash

WIDTH, HEIGHT = 160, 120
SCALE = 2

# Limbs: from, to, width in m, part of the body for the colour. The suit lies over the trunk.
LIMBS = (
    (body.R_HIP, body.R_KNEE, 0.15, "skin"), (body.L_HIP, body.L_KNEE, 0.15, "skin"),
    (body.R_KNEE, body.R_ANKLE, 0.105, "skin"), (body.L_KNEE, body.L_ANKLE, 0.105, "skin"),
    (body.R_ANKLE, body.R_TOE, 0.075, "skin"), (body.L_ANKLE, body.L_TOE, 0.075, "skin"),
    (body.R_SHOULDER, body.R_ELBOW, 0.09, "skin"), (body.L_SHOULDER, body.L_ELBOW, 0.09, "skin"),
    (body.R_ELBOW, body.R_WRIST, 0.075, "skin"), (body.L_ELBOW, body.L_WRIST, 0.075, "skin"),
    (body.R_WRIST, body.R_HAND, 0.065, "skin"), (body.L_WRIST, body.L_HAND, 0.065, "skin"),
    (body.R_SHOULDER, body.R_HIP, 0.17, "trunk"), (body.L_SHOULDER, body.L_HIP, 0.17, "trunk"),
    (body.PELVIS, body.THORAX, 0.20, "trunk"), (body.R_HIP, body.L_HIP, 0.19, "suit"),
)  # fmt: skip
OVER = 0.2  # m by which the suit counts as nearer


class View:
    """Where the camera looks: world points to pixels, frame by frame."""

    def __init__(self, look: Looks, motion: diver.Motion) -> None:
        rng = np.random.Generator(np.random.PCG64([look.seed, 0]))
        count = len(motion.points)
        self.azimuth = look.azimuth
        across = self.across(motion.points)
        middle = np.stack([across.mean(1), motion.points[..., 2].mean(1)], -1)
        middle[:, 1] = np.maximum(middle[:, 1], 0.35)
        behind = np.clip(np.arange(count) - look.lag, 0, None)
        kernel = np.ones(5) / 5
        for axis in range(2):
            middle[:, axis] = np.interp(behind, np.arange(count), middle[:, axis])
            middle[:, axis] = np.convolve(np.pad(middle[:, axis], 2, mode="edge"), kernel, "valid")
        still = np.array([middle[:, 0].mean(), middle[:, 1].mean()])
        shake = np.convolve(rng.normal(size=count + 4), kernel, "valid")[:, None] * rng.normal(size=2)
        self.centre = look.follow * middle + (1 - look.follow) * still + np.array(look.aim) + look.shake * 3 * shake
        self.zoom = look.zoom * (1.0 + look.drift * np.linspace(-0.5, 0.5, count))

    def across(self, points: np.ndarray) -> np.ndarray:
        """Distance to the right, in m, of world points [..., 3]."""
        return points[..., 0] * np.cos(self.azimuth) - points[..., 1] * np.sin(self.azimuth)

    def depth(self, points: np.ndarray) -> np.ndarray:
        """Distance from the camera (up to a constant), in m."""
        return points[..., 0] * np.sin(self.azimuth) + points[..., 1] * np.cos(self.azimuth)

    def pixels(self, frame: int, points: np.ndarray) -> np.ndarray:
        """World points [..., 3] to (x, y) in pixels of the picture."""
        x = (self.across(points) - self.centre[frame, 0]) * self.zoom[frame] + WIDTH / 2
        y = (self.centre[frame, 1] - points[..., 2]) * self.zoom[frame] + HEIGHT / 2
        return np.stack([x, y], -1)


def joints(dive: Dive) -> np.ndarray:
    """Pixel positions [T, 16, 2] of MPII's joints, float32; out of the picture where the camera misses them."""
    look = looks(dive)
    motion = diver.motion(dive, look.size)
    view = View(look, motion)
    points = motion.points[:, : body.JOINTS]
    return np.stack([view.pixels(i, points[i]) for i in range(len(points))]).astype(np.float32)


def frames(dive: Dive) -> Iterator[np.ndarray]:
    """The pictures of a dive: uint8 [120, 160, 3], RGB."""
    look = looks(dive)
    motion = diver.motion(dive, look.size)
    view = View(look, motion)
    rng = np.random.Generator(np.random.PCG64([look.seed, 1]))
    pool = paint(look.venue, edge=float(np.cos(look.azimuth)))
    splash = Splash(dive, motion, rng)
    flicker = 1.0 + 0.015 * rng.normal(size=len(motion.points))
    for i, points in enumerate(motion.points):
        canvas = _background(pool, view, i)
        empty = canvas.copy()
        draw = ImageDraw.Draw(canvas)
        seconds = (i - dive.frames[0] - dive.frames[1]) / RATE
        _draw_body(draw, look, view, i, points)
        _cover(canvas, empty, view, i)
        splash.draw(draw, look.venue.water, view, i, seconds)
        yield _expose(canvas, look, flicker[i], rng)


def _background(pool: Image.Image, view: View, frame: int) -> Image.Image:
    x, y = view.centre[frame]
    half = np.array([WIDTH, HEIGHT]) / view.zoom[frame] / 2
    left, upper = (x - half[0] - LEFT) * DENSITY, (TOP - y - half[1]) * DENSITY
    box = (left, upper, left + 2 * half[0] * DENSITY, upper + 2 * half[1] * DENSITY)
    return pool.resize((WIDTH * SCALE, HEIGHT * SCALE), Image.Resampling.BILINEAR, box=box)


def _cover(canvas: Image.Image, empty: Image.Image, view: View, frame: int) -> None:
    """What is under water shows faintly."""
    top = int(view.pixels(frame, np.zeros(3))[1] * SCALE)
    if top < HEIGHT * SCALE:
        box = (0, max(top, 0), WIDTH * SCALE, HEIGHT * SCALE)
        canvas.paste(Image.blend(canvas.crop(box), empty.crop(box), 0.82), box)


def _draw_body(draw: ImageDraw.ImageDraw, look: Looks, view: View, frame: int, points: np.ndarray) -> None:
    at = view.pixels(frame, points) * SCALE
    depth = view.depth(points)
    depth = depth - depth.mean()
    scale = view.zoom[frame] * SCALE * look.size * look.girth
    colours = {"skin": look.skin, "suit": look.suit, "trunk": look.suit if look.full_suit else look.skin}
    parts: list[tuple[float, tuple[int, int, float, str] | None]] = [(depth[body.HEAD], None)]
    parts += [((depth[limb[0]] + depth[limb[1]]) / 2 - OVER * (limb[3] == "suit"), limb) for limb in LIMBS]
    for far, limb in sorted(parts, key=lambda part: -part[0]):
        shade = 0.9 - 0.5 * float(np.clip(far, -0.3, 0.3))
        if limb is None:
            _draw_head(draw, look, at, scale / look.girth, shade)
        else:
            begin, end, width, part = limb
            _capsule(draw, at[begin], at[end], width * scale, _shaded(colours[part], shade))


def _draw_head(draw: ImageDraw.ImageDraw, look: Looks, at: np.ndarray, scale: float, shade: float) -> None:
    neck, top = at[body.NECK], at[body.HEAD]
    _capsule(draw, at[body.THORAX], neck, 0.11 * scale, _shaded(look.skin, shade * 0.92))
    face, crown = neck + 0.5 * (top - neck), neck + 0.66 * (top - neck)
    _disc(draw, face, 0.105 * scale, _shaded(look.skin, shade))
    _disc(draw, crown, 0.1 * scale, _shaded(look.hair, shade))


def _capsule(draw: ImageDraw.ImageDraw, a: np.ndarray, b: np.ndarray, width: float, colour: Colour) -> None:
    draw.line([*a, *b], fill=colour, width=max(2, round(width)))
    for end in (a, b):
        _disc(draw, end, width / 2, colour)


def _disc(draw: ImageDraw.ImageDraw, at: np.ndarray, radius: float, colour: Colour) -> None:
    draw.ellipse([at[0] - radius, at[1] - radius, at[0] + radius, at[1] + radius], fill=colour)


def _shaded(colour: Colour, shade: float) -> Colour:
    r, g, b = (min(255, round(c * shade)) for c in colour)
    return r, g, b


def _expose(canvas: Image.Image, look: Looks, flicker: float, rng: np.random.Generator) -> np.ndarray:
    """Reduce to the picture's size; light, warmth and the sensor's noise."""
    gain = look.light * flicker * np.array([1 + look.warmth, 1.0, 1 - look.warmth], np.float32)
    picture = np.asarray(canvas.reduce(SCALE), np.float32) * gain.astype(np.float32)
    picture += look.noise * rng.standard_normal(picture.shape, np.float32)
    return np.clip(picture, 0, 255).astype(np.uint8)
