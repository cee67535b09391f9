"""Fixtures that every room's tests may use."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

import av
import numpy as np
import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in its background deaf to Ctrl-C, and the processes that tests interrupt inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # every core has a worker already

ROOT = Path(__file__).resolve().parent.parent


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """As many as there are processors that this process may use; each takes a gigabyte or two."""
    from aqa.extract.precision import cores

    return min(8, cores())


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real clips, annotations, features and weights; tests that need it skip without it."""
    folder = Path(os.environ.get("AQA_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set AQA_SHARED)")
    return folder


def write_film(path: Path, pictures: Iterable[np.ndarray]) -> None:
    """An MPEG-4 video of pictures [H, W, 3], uint8, 25 a second."""
    every = list(pictures)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width = every[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in every:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.fixture(scope="session")
def film() -> Callable[[Path, Iterable[np.ndarray]], None]:
    return write_film
