"""A stream that is made while training: which network, on which clips of which pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from ..errors import UsageError
from ..extract.backbones import Resolved
from ..extract.backbones.base import Pixels
from ..extract.frames import Layout
from ..extract.pixels import resized
from ..extract.plan import ClipPlan


@dataclass(frozen=True)
class ClipSpec:
    """What decoding needs to know of a stream; goes to other processes."""

    name: str
    plan: ClipPlan
    pixels: Pixels

    @property
    def channels(self) -> int:
        return 2 if self.pixels.channels == "flow" else 3

    def loaded(self, layout: Layout) -> Pixels:
        """The pixels of whole resized frames, from which a crop is cut later."""
        return replace(self.pixels, crop=resized(self.pixels, *layout.shown))


@dataclass(frozen=True)
class Live:
    """`name`: the stream's, "c3d.tuned:pool5". `net` is trained from the weights of `resolved`."""

    name: str
    resolved: Resolved
    plan: ClipPlan

    @property
    def clips(self) -> int:
        """Per sample."""
        return len(self.plan.starts)

    @property
    def by_frame(self) -> bool:
        """Whether each frame of a clip is a row of the stream; else the clip is one."""
        return self.resolved.backbone.rows

    @property
    def rows(self) -> int:
        """Per sample."""
        return self.clips * (self.plan.length if self.by_frame else 1)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""
        return self.resolved.kept(self.plan.length, *self.resolved.pixels.crop)

    @property
    def net(self) -> nn.Module:
        return self.resolved.net

    @property
    def spec(self) -> ClipSpec:
        return ClipSpec(self.name, self.plan, self.resolved.pixels)


def seen_at(resolved: Resolved, resize: tuple[int, ...], size: tuple[int, ...]) -> Resolved:
    """`resolved` on frames resized to `resize` (height, width) of which `size` is cut; () leaves its own."""
    if not resize:
        return resolved
    pixels = replace(resolved.pixels, resize=(resize[0], resize[1]), crop=(size[0], size[1]))
    return replace(resolved, weights=replace(resolved.weights, pixels=pixels))


def live(resolved: Resolved, plan: ClipPlan) -> Live:
    """The stream of `resolved` on the clips of `plan`, whose number is fixed, so that batches can be stacked.

    Raises UsageError for a plan without such a number, and for networks that are not trained with a head.
    """
    if plan.window is None:
        hint = "give one with a number of clips, such as --plan 6x16@103"
        raise UsageError(f"the clip plan {plan.name} has as many clips as the video is long", hint=hint)
    if resolved.finish is not None or resolved.backbone.opens is not None:
        hint = "extract it once (aqa extract) and give it with --features"
        raise UsageError(f"{resolved.name} is not trained with a head", hint=hint)
    first = resolved.backbone.layer
    layer = "" if resolved.layer == first else f":{resolved.layer}"
    return Live(f"{resolved.backbone.arch}.tuned{layer}", resolved, plan)
