"""Where the frames of a data set lie: folders of images and videos, in the layouts that people have.

A layout is a template of paths without a suffix. What it names may be a folder of images or, as its twin, a video of
the same name: image n (counted from 1) of the folder is frame n of the video.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..errors import AnnotationError, VideoError
from .files import bases

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".gif")


def images(folder: Path) -> tuple[str, ...]:
    """Names of the images in `folder`, sorted by name: the order in which frames are counted, from 0.

    Hidden files (macOS leaves `._00001.jpg`) are no images. Kept per folder until the folder changes: a whole
    competition of MTL-AQA is one folder of 100 000 images that a hundred samples share. Raises VideoError.
    """
    try:
        return _images(os.fspath(folder), folder.stat().st_mtime_ns)
    except OSError as error:
        raise VideoError(f"the frame folder cannot be read: {error.strerror}", file=folder) from error


@lru_cache(maxsize=512)
def _images(folder: str, _changed: int) -> tuple[str, ...]:
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if not e.name.startswith(".")]
    return tuple(sorted(name for name in names if name[name.rfind(".") :].lower() in IMAGE_SUFFIXES))


def number(name: str) -> int | None:
    """The number at the end of a file's name, before its suffix: 7 for "img_00007.jpg"."""
    match = re.search(r"(\d+)$", Path(name).stem)
    return None if match is None else int(match.group(1))


@dataclass(frozen=True, slots=True)
class Layout:
    """`template`: path below a base, without suffix, with the fields of a key: "new/{video:02d}"."""

    name: str
    template: str


@dataclass(frozen=True, slots=True)
class Found:
    """The layout taken and a path per key, in order; keys that have no file get the path where it should be."""

    layout: Layout
    paths: tuple[Path, ...]
    present: int


def media_bases(where: Sequence[Path], media: str | Path | None, *below: str) -> Sequence[Path]:
    """`where`, or the bases of the folder `media` if one is given. Raises AnnotationError if it does not exist."""
    if media is None:
        return where
    folder = Path(media).expanduser()
    if not folder.is_dir():
        raise AnnotationError("there is no such folder of frames or videos", file=folder, field="media")
    return bases(folder, *below)


def find_media(
    where: Sequence[Path], layouts: Sequence[Layout], keys: Sequence[Mapping[str, int | str]], *, required: bool = False
) -> Found | None:
    """The layout by which most keys have a folder or a video, and the path of each key; None if no key has any.

    Raises AnnotationError instead of returning None if `required`, naming the layouts looked for.
    """
    listings: dict[Path, tuple[set[str], dict[str, str]]] = {}
    best: tuple[int, Layout, list[tuple[Path, Path | None]]] | None = None
    for base in where:
        for layout in layouts:
            wanted = [base / layout.template.format(**key) for key in keys]
            hits = [(path, _there(path, listings)) for path in wanted]
            present = sum(hit is not None for _, hit in hits)
            if present > (best[0] if best else 0):
                best = (present, layout, hits)
    if best is None:
        if required:
            looked = ", ".join(dict.fromkeys(layout.template for layout in layouts))
            hint = "each may be a folder of images or a video of that name"
            raise AnnotationError(f"no frames or videos: looked for {looked}", file=where[0], hint=hint)
        return None
    present, layout, hits = best
    some = next(hit for _, hit in hits if hit is not None)
    suffix = some.suffix if some.suffix.lower() in VIDEO_SUFFIXES else ""
    paths = tuple(hit if hit is not None else path.with_name(path.name + suffix) for path, hit in hits)
    return Found(layout, paths, present)


def _there(path: Path, listings: dict[Path, tuple[set[str], dict[str, str]]]) -> Path | None:
    if path.parent not in listings:
        listings[path.parent] = _listing(path.parent)
    folders, videos = listings[path.parent]
    name = path.name if path.name in folders else videos.get(path.name)
    return None if name is None else path.parent / name


def _listing(folder: Path) -> tuple[set[str], dict[str, str]]:
    """Names of the folders in `folder`, and stem -> name of its videos (the first by the order of the suffixes)."""
    try:
        with os.scandir(folder) as entries:
            known = [(e.name, e.is_dir()) for e in entries if not e.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return set(), {}
    except OSError as error:
        raise AnnotationError(f"the folder cannot be read: {error.strerror}", file=folder) from error
    videos: dict[str, str] = {}
    for suffix in VIDEO_SUFFIXES:
        for name, is_folder in sorted(known):
            if not is_folder and name.lower().endswith(suffix):
                videos.setdefault(name[: -len(suffix)], name)
    return {name for name, is_folder in known if is_folder}, videos
