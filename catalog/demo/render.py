"""Makes the films: every dive drawn, really encoded, and put in place whole; and the poses of all of them."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path

import av
import av.error
import joblib
import numpy as np

from ...errors import StoreError
from . import scene
from .looks import looks
from .programme import RATE, Dive, dives

Progress = Callable[[int, int], None]

REPEATABLE = "threads=1:rc-lookahead=0:mbtree=0:weightp=0"  # x264 looking ahead gives other bytes every few runs
ABANDONED = 600.0  # s after which an unfinished file is nobody's: a film takes less than one


def make(root: Path, *, progress: Progress | None = None, workers: int | None = None) -> Path:
    """Render what is missing under `root`: ``videos/<id>.mp4`` and ``poses.npz``. Returns `root`.

    A film appears whole or not at all, so a run that was stopped is continued by the next, and two runs at once do
    no harm. `progress` is told (films there, films in all); `workers` are processes, by default one per processor.

    Raises:
        StoreError: the folder cannot be written, the disk is full, a worker was killed; what was finished stays.
    """
    root = Path(root)
    return render(dives(), root, progress=progress, workers=workers)


def render(wanted: Sequence[Dive], root: Path, *, progress: Progress | None = None, workers: int | None = None) -> Path:
    """`make` for some of the dives; the poses are always those of all."""
    try:
        (root / "videos").mkdir(parents=True, exist_ok=True)
        sweep(root)
        missing = [dive for dive in wanted if not film(root, dive.id).is_file()]
        done = len(wanted) - len(missing)
        if progress:
            progress(done, len(wanted))
        count = min(workers or joblib.cpu_count(), max(1, len(missing)))
        parallel = joblib.Parallel(n_jobs=count, return_as="generator")
        for _ in parallel(joblib.delayed(render_film)(dive, film(root, dive.id)) for dive in missing):
            done += 1
            if progress:
                progress(done, len(wanted))
        if not (root / "poses.npz").is_file():
            write_poses(root / "poses.npz")
    except (OSError, av.error.FFmpegError, BrokenProcessPool) as error:
        hint = "free some space or give another folder, then run it again: what is finished is kept"
        raise StoreError(f"the synthetic dives cannot be written: {error}", file=root, hint=hint) from error
    return root


def sweep(root: Path) -> None:
    """Remove what killed runs left unfinished; what is younger may belong to another run."""
    for part in (*root.glob(".*.part"), *root.glob("videos/.*.part")):
        with suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > ABANDONED:
                part.unlink()


def film(root: Path, name: str) -> Path:
    """Where the film of the dive with this id lies."""
    return root / "videos" / f"{name}.mp4"


def render_film(dive: Dive, path: Path) -> None:
    """Draw and encode one dive: H.264 (MPEG-4 where FFmpeg lacks x264), 4:2:0, 160x120, 25 frames per second."""
    with whole(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        quality = looks(dive).quality
        if "libx264" in av.codecs_available:
            options = {"crf": str(quality), "preset": "veryfast", "x264-params": REPEATABLE}
            stream = container.add_stream("libx264", rate=RATE, options=options)
        else:
            stream = container.add_stream("mpeg4", rate=RATE)
            stream.codec_context.qmin = stream.codec_context.qmax = max(2, quality - 19)
        stream.width, stream.height, stream.pix_fmt = scene.WIDTH, scene.HEIGHT, "yuv420p"
        stream.codec_context.thread_count = 1
        container.metadata["comment"] = "synthetic: rendered by aqa, no real dive"
        for picture in scene.frames(dive):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def write_poses(path: Path) -> None:
    """All poses in one file: `ids` [N], `offsets` [N + 1], `poses` float32 [sum of frames, 16, 2] in pixels (x, y)."""
    poses = [scene.joints(dive) for dive in dives()]
    offsets = np.concatenate([[0], np.cumsum([len(p) for p in poses])]).astype(np.int64)
    with whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, ids=np.array([dive.id for dive in dives()]), offsets=offsets, poses=np.concatenate(poses))


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place when all went well, and goes away when not."""
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=".part", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
