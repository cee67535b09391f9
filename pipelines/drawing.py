"""The picture of what was measured: the skeleton in the frames that decided, the angles drawn and named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..catalog.skeletons import skeleton
from ..heads import joint_angles as joints
from ..heads.measures import Dive, Measured

TILE, WORDS, GAP, LINE = 232, 300, 14, 22  # pixels: side of a picture, width of the words, space, height of a line
MOST = 4  # pictures of one measure
FINE = 3  # everything is drawn this much larger, and then reduced

INK, FAINT, PAPER, GROUND = (28, 32, 38), (110, 116, 124), (255, 255, 255), (236, 238, 241)
RIGHT, LEFT, MIDDLE, MARK, EDGE = (226, 122, 32), (38, 120, 196), (120, 126, 134), (214, 28, 92), (20, 22, 26)

Point = np.ndarray  # x, y in pixels of the drawing


@dataclass(frozen=True)
class Angle:
    """Drawn at `at`, from the direction of `first` to that of `second`; `dotted` is a direction, not a limb."""

    at: Point
    first: Point
    second: Point
    dotted: bool = False


@dataclass(frozen=True)
class Stretch:
    begin: Point
    end: Point


Marks = Sequence[Angle | Stretch]


def _hip(xy: np.ndarray) -> Marks:
    thighs = [xy[knee] - xy[hip] for hip, knee, _ in joints.LEGS if np.isfinite(xy[[hip, knee]]).all()]
    pelvis = xy[joints.PELVIS]
    return [Angle(pelvis, xy[joints.THORAX], pelvis + np.mean(thighs, axis=0))]


def _knees(xy: np.ndarray) -> list[Angle]:
    legs = [leg for leg in joints.LEGS if np.isfinite(xy[list(leg)]).all()]
    return [Angle(xy[knee], xy[hip], xy[ankle]) for hip, knee, ankle in legs]


def _knee_bends(xy: np.ndarray) -> Marks:
    return [Angle(mark.at, 2 * mark.at - mark.first, mark.second, dotted=True) for mark in _knees(xy)]


def _line(xy: np.ndarray) -> Marks:
    pelvis = xy[joints.PELVIS]
    return [Angle(pelvis, 2 * pelvis - xy[joints.THORAX], joints.feet(xy[None])[0], dotted=True)]


def _tilt(xy: np.ndarray) -> Marks:
    feet, thorax = joints.feet(xy[None])[0], xy[joints.THORAX]
    upright = np.array([0.0, np.sign(thorax[1] - feet[1]) * np.linalg.norm(thorax - feet)])
    return [Angle(feet, feet + upright, thorax, dotted=True)]


def _feet(xy: np.ndarray) -> Marks:
    return [Stretch(xy[joints.R_ANKLE], xy[joints.L_ANKLE])]


def _rise(first: np.ndarray, xy: np.ndarray) -> Marks:
    begin, end = joints.centre_of_mass(np.stack([first, xy]))
    return [Stretch(np.array([end[0], begin[1]]), end)]


def _way(first: np.ndarray, xy: np.ndarray) -> Marks:
    begin, end = joints.centre_of_mass(np.stack([first, xy]))
    return [Stretch(begin, np.array([end[0], begin[1]]))]


MARKS: dict[str, Callable[[np.ndarray], Marks]] = {
    "somersault_hip": _hip,
    "somersault_knee": _knees,
    "knee_bend": _knee_bends,
    "twist_bend": _line,
    "entry_tilt": _tilt,
    "feet_apart": _feet,
}
PATHS: dict[str, Callable[[np.ndarray, np.ndarray], Marks]] = {"height": _rise, "distance": _way}  # of two frames


def frames_to_draw(one: Measured) -> list[int]:
    """At most `MOST` of the frames that decided, evenly chosen; of a path the last, on which the first is drawn too."""
    if one.name in PATHS:
        return list(one.frames[-1:])
    count = min(MOST, len(one.frames))
    return [one.frames[i] for i in np.linspace(0, len(one.frames) - 1, count).round().astype(int)] if count else []


def draw(
    dive: Dive,
    measured: Sequence[Measured],
    words: Mapping[str, Sequence[str]],
    *,
    title: Sequence[str],
    pictures: Mapping[int, np.ndarray],
    first: int = 0,
) -> Image.Image:
    """A row of pictures for every measure that has a value, and a line for every one that has none.

    `words`: name -> lines beside its pictures (below them for what is not measured). `pictures`: row of the pose ->
    uint8 [H, W, 3], of `frames_to_draw`; without one the ground is blank. `first`: what the first row is called.
    """
    rows = [one for one in measured if one.value is not None]
    missing = [one for one in measured if one.value is None]
    wide = WORDS + MOST * (TILE + GAP) + 2 * GAP
    lines = [line for one in missing for line in _wrapped(": ".join(words[one.name]), wide - 2 * GAP)]
    head = GAP + LINE * (len(title) + 1)
    high = head + len(rows) * (TILE + LINE + GAP) + (LINE * (len(lines) + 2) if lines else 0) + GAP
    sheet = Image.new("RGB", (wide, high), PAPER)
    pen = ImageDraw.Draw(sheet)
    for k, line in enumerate(title):
        pen.text((GAP, GAP + k * LINE), line, INK if k == 0 else FAINT, _font(17 if k == 0 else 13))
    for k, one in enumerate(rows):
        top = head + k * (TILE + LINE + GAP)
        _beside(pen, words[one.name], top)
        side = _side(dive, one)
        for n, frame in enumerate(frames_to_draw(one)):
            left = GAP + WORDS + n * (TILE + GAP)
            sheet.paste(_tile(dive, one, frame, side, pictures.get(frame)), (left, top))
            pen.text((left, top + TILE + 3), _under(dive, one, frame, first), FAINT, _font(12))
    top = head + len(rows) * (TILE + LINE + GAP)
    if lines:
        pen.text((GAP, top + LINE // 2), "Not measured", INK, _font(14))
    for k, line in enumerate(lines):
        pen.text((GAP, top + LINE * (k + 1) + LINE // 2), line, FAINT, _font(13))
    return sheet


def _beside(pen: ImageDraw.ImageDraw, words: Sequence[str], top: int) -> None:
    y = top + 4
    for k, text in enumerate(words):
        size = (15, 20, 13)[min(k, 2)]
        for line in _wrapped(text, WORDS - GAP, size):
            pen.text((GAP, y), line, FAINT if k > 1 else INK, _font(size))
            y += round(1.4 * size)
        y += 4


def _under(dive: Dive, one: Measured, frame: int, first: int) -> str:
    """The frame, and what is seen in it, in words."""
    if one.name in PATHS:
        return f"frames {one.frames[0] + first} and {frame + first}: {one.value:.2f} {one.unit}"
    label = _label_of(MARKS[one.name](dive.xy[frame]))
    if label is not None:
        return f"frame {frame + first}: {label[0].replace('°', ' degrees')}"
    return f"frame {frame + first}: {joints.ankle_distance(dive.xy[frame][None])[0] / dive.torso:.2f} {one.unit}"


def _bodies(dive: Dive, one: Measured, frame: int) -> np.ndarray:
    """[1 or 2, 16, 2]: what is drawn in the picture of a frame."""
    return dive.xy[[one.frames[0], frame] if one.name in PATHS else [frame]]


def _side(dive: Dive, one: Measured) -> float:
    """Side of the square in pixels of the video that a picture shows: the same in a row."""
    spans = [np.ptp(_seen(_bodies(dive, one, frame)), axis=0).max() for frame in frames_to_draw(one)]
    return 1.3 * float(max(spans)) or 1.0


def _seen(xy: np.ndarray) -> np.ndarray:
    return xy[np.isfinite(xy).all(-1)]


def _tile(dive: Dive, one: Measured, frame: int, side: float, picture: np.ndarray | None) -> Image.Image:
    bodies = _bodies(dive, one, frame)
    seen = _seen(bodies)
    corner = (seen.min(0) + seen.max(0)) / 2 - side / 2
    size = TILE * FINE
    if picture is None:
        tile = Image.new("RGB", (size, size), GROUND)
    else:
        box = (*corner, *(corner + side))
        tile = Image.fromarray(picture).transform(
            (size, size), Image.Transform.EXTENT, box, Image.Resampling.BICUBIC, fillcolor=GROUND
        )
    at = (bodies - corner) * (size / side)
    pen = ImageDraw.Draw(tile, "RGBA")
    marks = PATHS[one.name](*at) if one.name in PATHS else MARKS[one.name](at[0])
    for mark in marks:
        if isinstance(mark, Angle):
            _wedge(pen, mark)
    for body, opacity in zip(at[::-1], (255, 80), strict=False):
        _bones(pen, body, opacity)
    for mark in marks:
        _mark(pen, mark)
    tile = tile.resize((TILE, TILE), Image.Resampling.LANCZOS)
    label = _label_of(marks)
    if label is not None:
        _label(ImageDraw.Draw(tile), label[0], label[1] / FINE)
    return tile


def _bones(pen: ImageDraw.ImageDraw, at: np.ndarray, opacity: int) -> None:
    layout = skeleton("mpii-16")
    names = layout.joints
    for outline in (True, False):
        for a, b in layout.bones:
            if np.isfinite(at[[a, b]]).all():
                sides = {names[a].partition("_")[0], names[b].partition("_")[0]}
                colour = EDGE if outline else RIGHT if "right" in sides else LEFT if "left" in sides else MIDDLE
                _lines(pen, [at[a], at[b]], FINE * (5 if outline else 3), (*colour, opacity))
        for point in _seen(at):
            _disc(pen, point, FINE * (3.4 if outline else 2.4), (*(EDGE if outline else PAPER), opacity))


def _wedge(pen: ImageDraw.ImageDraw, mark: Angle) -> None:
    radius = _radius(mark)
    start, turn = _directions(mark)
    way = [mark.at, *(mark.at + radius * _ray(start + turn * k / 24) for k in range(25))]
    pen.polygon([(float(x), float(y)) for x, y in way], (*MARK, 90))


def _mark(pen: ImageDraw.ImageDraw, mark: Angle | Stretch) -> None:
    for colour, more in ((PAPER, 2 * FINE), (MARK, 0)):  # a light edge, for dark pictures
        if isinstance(mark, Stretch):
            _lines(pen, [mark.begin, mark.end], 3 * FINE + more, colour)
            for end in (mark.begin, mark.end):
                _disc(pen, end, 5 * FINE + more / 2, colour)
            continue
        start, turn = _directions(mark)
        arc = [mark.at + _radius(mark) * _ray(start + turn * k / 24) for k in range(25)]
        _lines(pen, arc, 2 * FINE + more, colour)
        _lines(pen, [mark.at, mark.second], 3 * FINE + more, colour)
        for k in range(0, 20, 2 if mark.dotted else 20):
            way = [mark.at + (mark.first - mark.at) * n / 20 for n in (k, k + (1 if mark.dotted else 20))]
            _lines(pen, way, 3 * FINE + more, colour)


def _lines(pen: ImageDraw.ImageDraw, way: Sequence[Point], width: int, colour: tuple[int, ...]) -> None:
    pen.line([(float(x), float(y)) for x, y in way], colour, width)


def _label_of(marks: Marks) -> tuple[str, Point] | None:
    """What is written beside the angles of a picture, their mean, and where its middle goes."""
    angles = [mark for mark in marks if isinstance(mark, Angle)]
    if not angles:
        return None
    shown, places = [], []
    for mark in angles:
        start, turn = _directions(mark)
        shown.append(abs(np.degrees(turn)))
        places.append(mark.at + (_radius(mark) + 18 * FINE) * _ray(start + turn / 2))
    return f"{np.mean(shown):.0f}°", np.mean(places, axis=0)


def _directions(mark: Angle) -> tuple[float, float]:
    """The direction of the first side and the turn to the second, at most half of one, rad."""
    first, second = mark.first - mark.at, mark.second - mark.at
    start = float(np.arctan2(first[1], first[0]))
    turn = float(np.arctan2(second[1], second[0])) - start
    return start, (turn + np.pi) % (2 * np.pi) - np.pi


def _radius(mark: Angle) -> float:
    sides = [float(np.linalg.norm(end - mark.at)) for end in (mark.first, mark.second)]
    return min(0.45 * min(sides), 30.0 * FINE) if not mark.dotted else 0.6 * min(sides)


def _ray(angle: float) -> Point:
    return np.array([np.cos(angle), np.sin(angle)])


def _disc(pen: ImageDraw.ImageDraw, at: Point, radius: float, colour: tuple[int, ...]) -> None:
    pen.ellipse([*(at - radius), *(at + radius)], fill=colour)


def _label(pen: ImageDraw.ImageDraw, text: str, middle: Point) -> None:
    font = _font(14)
    left, top, right, bottom = pen.textbbox((0, 0), text, font)
    half = np.array([right - left, bottom - top]) / 2 + 3
    middle = np.clip(middle, half + 2, TILE - half - 2)
    pen.rounded_rectangle([*(middle - half), *(middle + half)], 3, fill=PAPER, outline=MARK)
    pen.text(tuple(middle - half + 3 - (left, top)), text, MARK, font)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _wrapped(text: str, width: int, size: int = 13) -> list[str]:
    """`text` in lines of at most `width` pixels."""
    font, lines = _font(size), [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
