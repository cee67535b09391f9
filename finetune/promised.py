"""Features that are not there yet: what heads are told of a stream before a network has made it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..heads.base import FeatureSet, Ragged
from .live import Live


class Promised(Ragged):
    """Sequences of equal length whose numbers are all one zero in memory."""

    def take(self, index: np.ndarray) -> Ragged:
        clips = int(self.lengths[0]) if len(self) else 0
        return promised(len(index), clips, self.shape)


def promised(samples: int, clips: int, shape: tuple[int, ...]) -> Ragged:
    values = np.broadcast_to(np.zeros((), np.float32), (samples * clips, *shape))
    return Promised(values, np.arange(samples + 1, dtype=np.int64) * clips)


def with_promises(data: FeatureSet, streams: tuple[Live, ...]) -> FeatureSet:
    """`data` with a place for each live stream beside the cached ones it has."""
    more = {stream.name: promised(len(data), stream.rows, stream.shape) for stream in streams}
    return replace(data, streams={**more, **data.streams})
