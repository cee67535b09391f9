"""Batches of clips as uint8, decoded in worker processes while the network computes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..catalog.base import Media
from ..errors import AqaError, VideoError
from .augment import View, corner
from .clip_cache import ClipCache, decoded
from .frames import Shifts, cut
from .live import ClipSpec


class Ask(NamedTuple):
    """A sample, by its `row` in the list of media, and how it is to be seen. `place`, `sample`: where in its batch and
    where in train it stands, for whoever asks."""

    row: int
    view: View = View()
    place: int = 0
    sample: int = -1


class Clips(NamedTuple):
    """What was asked for, in that order; samples of which nothing could be read are left out and told in `failed`.

    `streams`: name -> uint8 [B, T, L, H, W, C]; `zeros`: name -> bool [B, T, L], frames that are to be zeros in the
    network's input. `asks`: those that are there.
    """

    asks: tuple[Ask, ...]
    streams: dict[str, Tensor]
    zeros: dict[str, Tensor]
    failed: tuple[tuple[int, AqaError], ...] = ()


@dataclass(frozen=True)
class Videos(Dataset):
    """Samples by place: id and media, and how they become clips. `shifts`: all that views may ask for."""

    samples: tuple[tuple[str, Media], ...]
    streams: tuple[ClipSpec, ...]
    shifts: Shifts = (0, 0)
    cache: ClipCache | None = None

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, ask: Ask) -> tuple[Ask, dict[str, tuple[Tensor, Tensor]] | AqaError]:
        sample, media = self.samples[ask.row]
        try:
            loaded = decoded(self.cache, sample, media, self.streams, self.shifts)
        except (VideoError, MemoryError) as error:
            found = error if isinstance(error, AqaError) else VideoError("it takes too much memory", file=media.path)
            found.sample = sample
            return ask, found
        clips = {}
        for stream in self.streams:
            one, size = loaded[stream.name], stream.pixels.crop
            top, left = corner(ask.view, (one.frames.shape[1], one.frames.shape[2]), size)
            clips[stream.name] = cut(one, ask.view.shift - self.shifts[0], top, left, size, ask.view.flip)
        return ask, clips


@dataclass
class _Batches:
    """The sampler: batches that are put in before an epoch begins."""

    now: Sequence[Sequence[Ask]] = ()

    def __iter__(self) -> Iterator[list[Ask]]:
        return iter([list(batch) for batch in self.now])

    def __len__(self) -> int:
        return len(self.now)


class Loader:
    """Gives batch after batch. `workers` decode in processes of their own, which live as long as the loader; 0: here.

    A worker that dies ends the loading with an error, as the frames on their way would be lost with it.
    """

    def __init__(self, videos: Videos, *, workers: int, pin: bool) -> None:
        self._batches, self.samples = _Batches(), videos.samples
        self._loader = DataLoader(
            videos,
            batch_sampler=self._batches,  # pyright: ignore[reportArgumentType]
            num_workers=workers,
            collate_fn=_Collated(tuple(stream.name for stream in videos.streams)),
            pin_memory=pin,
            persistent_workers=workers > 0,
            multiprocessing_context="spawn" if workers else None,
            worker_init_fn=_one_thread if workers else None,
        )

    def __call__(self, batches: Sequence[Sequence[Ask]]) -> Iterator[Clips]:
        """The clips of each batch, in order.

        Raises AqaError if a worker dies.
        """
        self._batches.now = batches
        try:
            yield from self._loader
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            hint = "give it more memory, fewer --workers, or --workers 0 to see what happens"
            raise AqaError("a decoding process died", hint=hint) from error


@dataclass(frozen=True)
class _Collated:
    names: tuple[str, ...]

    def __call__(self, items: list[tuple[Ask, dict[str, tuple[Tensor, Tensor]] | AqaError]]) -> Clips:
        good = [(ask, clips) for ask, clips in items if not isinstance(clips, AqaError)]
        failed = tuple((ask.row, error) for ask, error in items if isinstance(error, AqaError))
        streams, zeros = (
            {name: torch.stack([clips[name][k] for _, clips in good]) for name in self.names if good} for k in range(2)
        )
        return Clips(tuple(ask for ask, _ in good), streams, zeros, failed)


def _one_thread(worker: int) -> None:  # noqa: ARG001
    torch.set_num_threads(1)
