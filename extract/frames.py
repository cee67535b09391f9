"""What decoding gives: frames as uint8 planes, many at once, with their numbers and times."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

MAX_PIXELS = 2**26  # of one frame; 8192 x 8192. A header that claims more is damaged or an attack
CHUNK_BYTES = 2**24


@dataclass(frozen=True)
class Layout:
    """How the planes of a frame lie, and what they mean.

    kind "yuv420": Y [height, width], U and V [height/2, width/2], of colour `matrix` and `full` or limited range, as
    the decoder gave them. "rgb": one plane [height, width, 3]. "flow": horizontal and vertical flow [height, width].
    `turns`: quarter turns counter-clockwise by which a player turns the frame before it shows it.
    """

    kind: Literal["yuv420", "rgb", "flow"]
    height: int
    width: int
    matrix: Literal["bt601", "bt709"] = "bt601"
    full: bool = False
    turns: int = 0

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        h, w = self.height, self.width
        if self.kind == "yuv420":
            return (h, w), (h // 2, w // 2), (h // 2, w // 2)
        return ((h, w, 3),) if self.kind == "rgb" else ((h, w), (h, w))

    @property
    def shown(self) -> tuple[int, int]:
        """Height and width as a player shows the frame."""
        return (self.width, self.height) if self.turns % 2 else (self.height, self.width)

    @property
    def nbytes(self) -> int:
        return sum(int(np.prod(shape)) for shape in self.shapes)

    def planes(self, buffer: np.ndarray, capacity: int) -> tuple[np.ndarray, ...]:
        """Views into `buffer` (flat uint8) that hold `capacity` frames: per plane [capacity, *shape]."""
        views, at = [], 0
        for shape in self.shapes:
            size = capacity * int(np.prod(shape))
            views.append(buffer[at : at + size].reshape(capacity, *shape))
            at += size
        return tuple(views)


@dataclass(frozen=True)
class Picture:
    """One decoded frame. `write` copies its planes into arrays of the layout's shapes."""

    number: int
    time: float  # seconds on the video's clock; NaN where there is none
    layout: Layout
    write: Callable[[tuple[np.ndarray, ...]], None]


@dataclass(frozen=True)
class Chunk:
    """F frames of one layout, in order: `numbers` int64 [F], `times` float64 [F], `planes` uint8 [F, *shape] each.

    `capacity`: the frames for which the buffer below the planes was laid out.
    """

    layout: Layout
    numbers: np.ndarray
    times: np.ndarray
    planes: tuple[np.ndarray, ...]
    capacity: int


@dataclass
class Tally:
    """`decoded`: frames that the decoder gave, images opened. `end`: one more than the last frame, once it is known."""

    decoded: int = 0
    used: int = 0
    end: int | None = None


def fresh_room(limit: int = CHUNK_BYTES) -> np.ndarray:
    """A new buffer for the planes of one chunk."""
    return np.empty(limit, np.uint8)


def chunks(pictures: Iterable[Picture], tally: Tally, room: Callable[[], np.ndarray] = fresh_room) -> Iterator[Chunk]:
    """Puts pictures together. `room` gives the buffer (flat uint8) of the next chunk; a frame that is larger than this
    gets a buffer of its own. A chunk ends where the buffer is full or the layout changes."""
    layout, planes, capacity = None, (), 0
    numbers: list[int] = []
    times: list[float] = []

    def finished() -> Chunk:
        assert layout is not None
        n = len(numbers)
        return Chunk(layout, np.array(numbers, np.int64), np.array(times), tuple(p[:n] for p in planes), capacity)

    for picture in pictures:
        if layout != picture.layout or len(numbers) == capacity:
            if numbers:
                yield finished()
            layout, numbers, times = picture.layout, [], []
            buffer = room()
            if layout.nbytes > buffer.size:
                buffer = fresh_room(layout.nbytes)
            capacity = buffer.size // layout.nbytes
            planes = layout.planes(buffer, capacity)
        picture.write(tuple(plane[len(numbers)] for plane in planes))
        numbers.append(picture.number)
        times.append(picture.time)
        tally.used += 1
    if numbers:
        yield finished()
