"""`tsa`: temporal segmentation attention (Xu et al., FineDiving: A Fine-grained Dataset for Procedure-aware Action
Quality Assessment, CVPR 2022): the steps of a dive attend to the maps of the same steps of an exemplar."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .config import demand
from .layers import interpolate_clips
from .noise import Noise
from .psnet import ProcedureNet, transition_loss
from .stages import STAGES, Decoder, Staged, TokenRegressor, apart, stage_tokens
from .torch_head import Published, Spec, Units

TOKENS, WIDTH, HEADS, LAYERS = 5, 64, 8, 3


class TsaNet(nn.Module):
    """Clips -> procedure segmentation network, on the mean over places and on every place of the maps -> steps of five
    tokens -> attention from a sample's to the maps of an exemplar's. 311,759 parameters with 9 clips of 1024 channels.

    `done` counts updates, of which the first `told` are taught by the true transitions.
    """

    done: Tensor

    def __init__(self, spec: Spec, hidden: int, told: int) -> None:
        super().__init__()
        self.units = Units(spec)
        (shape,) = spec.streams.values()
        self.channels = shape[0] if len(shape) == 3 else spec.width
        self.clips, self.told = spec.clips, told
        self.procedure = ProcedureNet(self.clips, self.channels, hidden)
        left = math.ceil(self.channels / 16)
        self.widen = nn.Identity() if left == WIDTH else nn.Linear(left, WIDTH)
        self.decoder = Decoder(WIDTH, HEADS, LAYERS)
        self.regressor = TokenRegressor(WIDTH)
        self.register_buffer("done", torch.zeros(()))

    def seen(
        self,
        streams: Mapping[str, Tensor],
        masks: Mapping[str, Tensor],
        noise: Noise | None,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """`frames` [R, 96, 64], their `logits` [R, 96, 2], and `maps` [R, 96, places, 64]."""
        (x,), (mask,) = streams.values(), masks.values()
        last = mask.sum(dim=1) - 1
        x = interpolate_clips(x.flatten(2), last * 0, last, self.clips)
        x = x.unflatten(2, (self.channels, -1))  # [R, clips, C, places]
        mean = self.procedure.frames(x.mean(dim=3))
        frames = self.widen(mean)
        if x.shape[3] == 1:
            maps = frames[:, :, None]
        else:
            places = self.procedure.frames(x.permute(0, 3, 1, 2).flatten(0, 1))
            maps = self.widen(places).unflatten(0, (len(x), -1)).transpose(1, 2)
        return {"frames": frames, "logits": self.procedure.transitions(mean), "maps": maps}

    def staged(self, seen: Mapping[str, Tensor], at: Tensor) -> dict[str, Tensor]:
        """`tokens` [R, 3, 5, 64] and `maps` [R, 3, 5 places, 64]."""
        ends = apart(at)
        maps = stage_tokens(seen["maps"].flatten(2), *ends, TOKENS)
        maps = maps.unflatten(3, (-1, WIDTH)).flatten(2, 3)
        return {"tokens": stage_tokens(seen["frames"], *ends, TOKENS), "maps": maps}

    def better(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> Tensor:
        """[R, 3], a third of what each step says: their sum is the mean of all 15 tokens."""
        return self.regressor(self.decoder(one["tokens"], other["maps"])) / STAGES


@dataclass(frozen=True)
class Tsa(Staged):
    """Maps of clips [C, H, W]; other shapes are flattened to maps of one place. Three steps of five tokens.

    `hidden`: of the transition head. `told`: the share of the epochs in which the true transitions cut, not the found.
    `lr`, `batch` (in pairs), `votes`, `hidden` and `told`: the released code's.
    """

    name = "tsa"
    published: ClassVar[Published] = {
        "": {"epochs": 200, "scale": "none", "select": "test", "use_difficulty": False},
        "finediving": {"by": "kind"},
    }

    lr: float = 1e-3
    hidden: int = 128
    told: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "hidden", self.hidden >= 2, "2 or more")
        demand(self, "told", 0 <= self.told <= 1, "a number from 0 to 1")

    def build(self, spec: Spec) -> TsaNet:
        return TsaNet(spec, self.hidden, told_updates(self.told, self.epochs, spec.updates))

    def after_step(self, leaves: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> None:  # noqa: ARG002
        buffers["net.done"].add_(1)

    def cuts_truly(self, net: Any) -> Tensor:
        return net.done < net.told

    def phase_loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        return transition_loss(logits, truth)


def told_updates(share: float, epochs: int, updates: int) -> int:
    """Updates in the epochs of which, counted from 0, epoch / epochs is at most `share`; none for a share of 0."""
    return updates * min(int(share * epochs) + 1, epochs) if share else 0
