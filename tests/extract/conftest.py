"""Small videos whose frames carry their own number, as bars of bits, so that a test can read which frame it got."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor
from PIL import Image

from aqa.extract.frames import Chunk

BITS = 8


def bars(number: int, width: int, height: int) -> np.ndarray:
    """RGB uint8 [height, width, 3]: bit i of `number` is bar i, bright or dark; the lower quarter is coloured."""
    image = np.full((height, width, 3), 40, np.uint8)
    for bit in range(BITS):
        if number >> bit & 1:
            image[:, bit * width // BITS : (bit + 1) * width // BITS] = 215
    image[height * 3 // 4 :] = (200, 60, 90)
    return image


def read_bars(image: np.ndarray) -> int:
    """The number in a grey [height, width] or RGB [height, width, 3] picture of `bars`."""
    grey = image.mean(axis=2) if image.ndim == 3 else image
    height, width = grey.shape
    rows = grey[height // 8 : height // 2]
    centres = [(2 * bit + 1) * width // (2 * BITS) for bit in range(BITS)]
    return sum((rows[:, c].mean() > 128) << bit for bit, c in enumerate(centres))


def write_movie(
    path: Path,
    frames: int = 20,
    size: tuple[int, int] = (64, 48),
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    times: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    fps: int = 25,
) -> Path:
    """`times`: presentation time of each frame in frames of 1/fps; by default 0, 1, 2, ..."""
    if codec == "libx264":
        options = {"preset": "ultrafast", "x264-params": "keyint=8:min-keyint=8:bframes=2:b-adapt=0", **(options or {})}
    with av.open(str(path), "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=fps, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(bars(i, *size), format="rgb24")
            frame = frame.reformat(format=stream.pix_fmt)
            frame.pts = i if times is None else times[i]
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def write_image(path: Path, image: np.ndarray) -> Path:
    """JPEG as ffmpeg and Pillow write them (4:2:0, full range), or what the suffix says."""
    Image.fromarray(image).save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))
    return path


def numbers_in(chunks: Sequence[Chunk]) -> list[int]:
    """The numbers that the pictures show: of luma, or of RGB."""
    return [read_bars(image) for chunk in chunks for image in chunk.planes[0]]


@pytest.fixture
def movie() -> Callable[..., Path]:
    return write_movie


@pytest.fixture
def image() -> Callable[..., Path]:
    return write_image


@pytest.fixture
def picture() -> Callable[[int, int, int], np.ndarray]:
    return bars


@pytest.fixture
def shown() -> Callable[[Sequence[Chunk]], list[int]]:
    return numbers_in


@pytest.fixture
def frame_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of JPEG images 00001.jpg, ... that show 0, 1, 2, ..."""

    def make(frames: int = 20, size: tuple[int, int] = (64, 48), name: str = "frames", prefix: str = "") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for i in range(frames):
            write_image(folder / f"{prefix}{i + 1:05d}.jpg", bars(i, *size))
        return folder

    return make


@pytest.fixture(scope="module", autouse=True)
def no_idle_processes() -> None:
    """joblib keeps its workers for later calls; the tests here count processes."""
    get_reusable_executor().shutdown(wait=True)
