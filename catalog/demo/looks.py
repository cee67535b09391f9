"""What tells one film from another without telling the score: venue, camera, body, colours, light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .programme import LOOKS, SEED, Dive

Colour = tuple[int, int, int]

SKINS: tuple[Colour, ...] = (
    (226, 186, 154), (222, 178, 144), (217, 171, 135), (213, 164, 127), (208, 157, 120), (203, 150, 113),
)  # fmt: skip


@dataclass(frozen=True)
class Venue:
    """A pool, the same for all dives of an event."""

    wall: Colour
    accent: Colour
    water: Colour
    tower: Colour
    style: int  # of the background: tiles, panels, crowd, windows
    texture: int  # seed of the background's details


@dataclass(frozen=True)
class Looks:
    """One film. Lengths in m, angles in radians, `zoom` in pixels per m, `quality` is the encoder's (larger: worse)."""

    venue: Venue
    size: float
    girth: float
    skin: Colour
    suit: Colour
    hair: Colour
    full_suit: bool
    azimuth: float
    zoom: float
    drift: float  # relative change of the zoom over the film
    follow: float  # how closely the camera follows, 0 to 1
    lag: float  # frames by which it follows
    aim: tuple[float, float]
    shake: float
    light: float
    warmth: float
    noise: float
    quality: int
    seed: int  # of what happens frame by frame


def looks(dive: Dive) -> Looks:
    """How `dive` is filmed: the venue goes with the event, body and suit with the subject, the rest is its own."""
    body = np.random.Generator(np.random.PCG64([SEED, LOOKS, 1, dive.subject]))
    film = np.random.Generator(np.random.PCG64([SEED, LOOKS, 2, dive.index]))
    suit = _near(body, (150, 112, 112), 26)
    return Looks(
        venue=_venue(dive.event),
        size=body.uniform(0.95, 1.04),
        girth=body.uniform(0.94, 1.1),
        skin=SKINS[body.integers(len(SKINS))],
        suit=suit,
        hair=suit if body.random() < 0.3 else _near(body, (60, 48, 40), 22),
        full_suit=bool(body.random() < 0.5),
        azimuth=film.uniform(-0.3, 0.3),
        zoom=film.uniform(32.0, 35.0),
        drift=film.uniform(-0.04, 0.04),
        follow=film.uniform(0.985, 1.0),
        lag=film.uniform(0.0, 0.3),
        aim=(film.uniform(-0.03, 0.03), film.uniform(-0.02, 0.02)),
        shake=film.uniform(0.0, 0.015),
        light=film.uniform(0.975, 1.025),
        warmth=film.uniform(-0.015, 0.015),
        noise=film.uniform(1.0, 3.0),
        quality=int(film.integers(18, 25)),
        seed=int(film.integers(2**31)),
    )


def _venue(event: int) -> Venue:
    draw = np.random.Generator(np.random.PCG64([SEED, LOOKS, 0, event]))
    return Venue(
        wall=_near(draw, (84, 98, 110), 3),
        accent=_near(draw, (100, 105, 115), 35),
        water=_near(draw, (62, 110, 138), 3),
        tower=_near(draw, (118, 122, 126), 5),
        style=event % 4,
        texture=int(draw.integers(2**31)),
    )


def _near(draw: np.random.Generator, colour: tuple[int, int, int], spread: int) -> Colour:
    r, g, b = (int(np.clip(c + d, 0, 255)) for c, d in zip(colour, draw.integers(-spread, spread + 1, 3), strict=True))
    return r, g, b
