"""Decoded frames on disk, up to a bound: epochs after the first map them into memory instead of decoding again."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ..cache.files import whole_folder
from ..catalog.base import Media
from ..errors import StoreError
from .frames import Loaded, Shifts, load_frames, size_of
from .live import ClipSpec


@dataclass(frozen=True)
class ClipCache:
    """One folder per sample inside `folder`, named by all that decides the bytes; written whole or not at all, so that
    any number of processes may fill it. `limit`: bytes; what would go beyond is decoded every time.

    Frames are kept as uint8 [F, H, W, C] in .npy files, the places of the clips beside them.
    """

    folder: Path
    limit: int

    def load(self, sample: str, media: Media, streams: Sequence[ClipSpec], shifts: Shifts) -> dict[str, Loaded]:
        """As `load_frames`, from the disk if it is there. Raises VideoError."""
        place = self.folder / _key(sample, media, streams, shifts)
        if place.is_dir():
            return {stream.name: _mapped(place, k) for k, stream in enumerate(streams)}
        loaded = load_frames(media, streams, shifts)
        if self.used() + size_of(loaded) <= self.limit:
            self._write(place, [loaded[stream.name] for stream in streams])
        return loaded

    def used(self) -> int:
        """Bytes in the folder, of finished samples."""
        total = 0
        with suppress(FileNotFoundError):
            for sample in os.scandir(self.folder):
                with suppress(FileNotFoundError, NotADirectoryError):
                    total += sum(file.stat().st_size for file in os.scandir(sample))
        return total

    def _write(self, place: Path, loaded: Sequence[Loaded]) -> None:
        try:
            with whole_folder(place) as folder:
                for k, one in enumerate(loaded):
                    np.save(folder / f"frames-{k}.npy", one.frames.numpy())
                    np.save(folder / f"places-{k}.npy", one.places)
        except OSError as error:
            hint = "free some space, take another --clip-cache folder, or go without"
            raise StoreError(f"cannot write: {error.strerror or error}", file=place, hint=hint) from error


def _mapped(place: Path, k: int) -> Loaded:
    frames = np.load(place / f"frames-{k}.npy", mmap_mode="c")  # torch takes no arrays that cannot be written to
    return Loaded(torch.from_numpy(frames), np.load(place / f"places-{k}.npy"))


def _key(sample: str, media: Media, streams: Sequence[ClipSpec], shifts: Shifts) -> str:
    """A name that changes with the file, the frames, the pixels and the plans."""
    stat = media.path.stat()
    wanted = [[asdict(s.pixels), asdict(s.plan)] for s in streams]
    parts = [
        sample,
        str(media.path.absolute()),
        stat.st_size,
        stat.st_mtime_ns,
        media.start,
        media.stop,
        shifts,
        wanted,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:20]


def decoded(
    cache: ClipCache | None, sample: str, media: Media, streams: Sequence[ClipSpec], shifts: Shifts
) -> Mapping[str, Loaded]:
    """The frames of a sample, by the cache if there is one. Raises VideoError."""
    if cache is None or not media.path.exists():
        return load_frames(media, streams, shifts)
    return cache.load(sample, media, streams, shifts)
