"""Clip plans: which frames of a sample make up which clip, as data with a name.

======================  =====================================================================================
``10x16@103``           10 clips of 16 frames in the first 103: starts 0, 10, ..., 80 and 87 (MUSDL, DAE)
``10x16@103-86``        the same with the last start at 86 (CoRe)
``6x16@103``            starts 0, 16, ..., 80 (C3D-AVG); ``8x16@103``: 0, 12, ..., 84; ``20x8@103``: 0, 5, ..., 95
``10x16of160``          the whole range resampled to 160 frames, then 10 clips of 16 (MUSDL on JIGSAWS)
``96x1of96``            96 single frames over the whole range (TSA, MCoRe, HP-MCoRe); ``dense:1:1``: every frame
``16of103``             one clip of 16 frames spread over the first 103, every 6.5th (MSCADC)
``dense:16:8``          clips of 16 at every 8th frame, and one that ends with the last frame
======================  =====================================================================================
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ..errors import BadParameter, VideoError

Short = Literal["edge", "loop", "zero", "refuse"]

_FORMS = "10x16@103, 10x16@103-86, 10x16of160, 16of103 and dense:16:8"
_SPREAD = re.compile(r"(?P<clips>\d{1,6})x(?P<length>\d{1,6})(?P<how>@|of)(?P<window>\d{1,6})(?:-(?P<last>\d{1,6}))?")
_SINGLE = re.compile(r"(?P<length>\d{1,6})of(?P<window>\d{1,6})")
_DENSE = re.compile(r"dense:(?P<length>\d{1,6}):(?P<stride>\d{1,6})")


@dataclass(frozen=True)
class ClipPlan:
    """Clips of `length` frames. Made by `parse_plan`, which checks that the parts fit.

    `starts`: first frame of each clip inside the window; empty for a dense plan. `step`: frames between the frames of
    a clip. `window`: frames the starts refer to; None for a dense plan. `resample`: the whole range is first brought
    to `window` frames. `short`: what is done where the sample has fewer frames than the window (a dense plan: than one
    clip): repeat the last frame (edge), begin again (loop), zeros (zero), VideoError (refuse). A resampling plan
    repeats frames whatever `short` says, unless it refuses.
    """

    name: str
    short: Short
    length: int
    starts: tuple[int, ...] = ()
    step: float = 1.0
    window: int | None = None
    resample: bool = False
    stride: int = 0

    @property
    def needs(self) -> int:
        """Frames that a sample must have not to be short."""
        return self.length if self.window is None else self.window

    @property
    def open_ended(self) -> bool:
        """Whether the clips depend on how many frames there are, even if there are enough."""
        return self.window is None or self.resample

    def indexes(self, n: int) -> np.ndarray:
        """Frames of each clip of a sample of `n` frames: int64 [T, length] in 0..n-1, -1 for a frame of zeros.

        Raises VideoError if there are no frames, or too few for a plan that refuses short samples.
        """
        if n < 1:
            raise VideoError("there are no frames", field="frames")
        if n < self.needs and self.short == "refuse":
            hint = "take another clip plan, or say what to do with short samples: edge, loop or zero"
            raise VideoError(f"{n} frames, and {self.name} needs {self.needs}", field="frames", hint=hint)
        starts = np.array(self.starts if self.window is not None else self._dense_starts(n), dtype=np.int64)
        clips = starts[:, None] + np.floor(np.arange(self.length) * self.step).astype(np.int64)
        if self.resample:
            return np.linspace(0, n - 1, self.needs).astype(np.int64)[clips]
        if self.short == "loop":
            return clips % n
        return np.where(clips < n, clips, -1) if self.short == "zero" else np.minimum(clips, n - 1)

    def _dense_starts(self, n: int) -> list[int]:
        last = max(n - self.length, 0)
        starts = list(range(0, last + 1, self.stride))
        return starts if starts[-1] == last else [*starts, last]


def parse_plan(name: str, short: str = "edge") -> ClipPlan:
    """The plan called `name`. Raises BadParameter for a name of no known form and for numbers that cannot be met.

    Clips are spread over the window at the nearest whole stride, without gaps (at most a clip's length apart), and a
    start behind the last whole clip is moved back to it. That gives the start frames of the released codes:
    MUSDL, CoRe, C3D-AVG, TPT and T2CR.
    """
    policy: Short | None = next((known for known in get_args(Short) if known == short), None)
    if policy is None:
        raise BadParameter(f"short={short!r} is not one of {', '.join(get_args(Short))}", field="short")
    if match := _SPREAD.fullmatch(name):
        return _spread(name, policy, match)
    if match := _SINGLE.fullmatch(name):
        return _single(name, policy, int(match["length"]), int(match["window"]))
    if match := _DENSE.fullmatch(name):
        length, stride = int(match["length"]), int(match["stride"])
        if length < 1 or stride < 1:
            raise BadParameter("length and stride of a dense plan are at least 1", field=name)
        return ClipPlan(name, policy, length, stride=stride)
    raise BadParameter(f"there is no clip plan '{name}'", field="plan", hint=f"plans are written like {_FORMS}")


def _spread(name: str, short: Short, match: re.Match[str]) -> ClipPlan:
    clips, length, window = int(match["clips"]), int(match["length"]), int(match["window"])
    if clips < 1 or length < 1 or length > window:
        raise BadParameter(f"{clips} clips of {length} do not fit into {window} frames", field=name)
    free = window - length
    stride = 0 if clips == 1 else min(length, int(free / (clips - 1) + 0.5))
    starts = [min(i * stride, free) for i in range(clips)]
    if match["last"] is not None:
        starts[-1] = int(match["last"])
        if starts[-1] > free:
            raise BadParameter(f"a clip of {length} from frame {starts[-1]} ends behind {window}", field=name)
    if any(b <= a for a, b in itertools.pairwise(starts)):
        raise BadParameter(f"{clips} different clips of {length} do not fit into {window} frames", field=name)
    return ClipPlan(name, short, length, tuple(starts), window=window, resample=match["how"] == "of")


def _single(name: str, short: Short, length: int, window: int) -> ClipPlan:
    if not 2 <= length <= window:
        raise BadParameter(f"{length} frames cannot be spread over {window}", field=name)
    step = (2 * (window - 1) // (length - 1)) / 2  # the widest half step: 6.5 for 16 of 103
    return ClipPlan(name, short, length, (0,), step=step, window=window)
