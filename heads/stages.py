"""What heads share that find the stages of a performance and compare it with an exemplar stage by stage: take-off,
flight and entry, between the transitions of catalog/phases.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ..catalog.phases import FRAMES, transitions_of
from .base import FeatureSet, Judgement, Needs
from .batches import Batch, Exemplars, exemplars_of
from .compared import Compared
from .layers import interpolate_clips
from .noise import Noise
from .phases import decode
from .t2cr_blocks import CrossBlock
from .torch_head import Spec, Step

STAGES = 3
POINTS = 15.25  # deviation of FineDiving's scores, in whose squares the papers' losses are weighed


class Decoder(nn.Module):
    """Pre-norm layers of attention from the tokens of one sample to those of another, which stay as they are."""

    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(CrossBlock(width, heads) for _ in range(layers))

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """tokens [R, 3, L, d], memory [R, 3, M, d] -> as tokens; stages see themselves alone."""
        x, memory = tokens.flatten(0, 1), memory.flatten(0, 1)
        for block in self.blocks:
            x = block(x, memory)
        return x.unflatten(0, (-1, STAGES))


class TokenRegressor(nn.Sequential):
    """What every token says, the mean of each stage: width -> 256 -> 64 -> 1, ReLU between."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(width, 256), nn.ReLU(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002, as in torch
        """[R, 3, L, width] -> [R, 3]."""
        return super().forward(input)[..., 0].mean(dim=2)


def apart(at: Tensor) -> tuple[Tensor, Tensor]:
    """First and last frame [B, 3] of the stages [0, st), [st, ed) and [ed, 96) by transitions `at` [B, 2]."""
    first = torch.cat([torch.zeros_like(at[:, :1]), at], dim=1)
    return first, torch.cat([at - 1, torch.full_like(at[:, :1], FRAMES - 1)], dim=1)


def stage_tokens(x: Tensor, first: Tensor, last: Tensor, tokens: int) -> Tensor:
    """[B, 3, tokens, D]: places at even distances from the first to the last row [B, 3] of each stage of x [B, T, D],
    by linear interpolation (`align_corners`)."""
    stages = zip(first.unbind(1), last.unbind(1), strict=True)
    return torch.stack([interpolate_clips(x, low, high, tokens) for low, high in stages], dim=1)


@dataclass(frozen=True)
class Staged(Compared):
    """A sample and its exemplar are cut into three stages each, and compared stage by stage in both directions.

    In training the true transitions cut; where they are unknown those found do, and neither the segmentation nor the
    contrast of the stages is learned from the sample. In judging all transitions are found, the exemplars' too.

    A network has `units`; `seen(streams, masks, noise)`, row by row what it keeps of samples, with the `logits` [R, 96,
    2] of transitions; `staged(seen, at)`, the tokens of their stages by transitions [R, 2]; and `better(tokens,
    others)` [R, 3], by how much each stage makes a sample's mark higher than the other's, in deviations of train.
    """

    needs: ClassVar[Needs] = Needs(
        shape=None, phases=True, exemplars=True, together=True, validates=True, gives=("phases", "parts")
    )

    def phase_loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """One number, of logits [B, 96, 2] against transitions [B, 2], -1 unknown."""
        raise NotImplementedError

    def contrast(
        self,
        one: Mapping[str, Tensor],  # noqa: ARG002
        other: Mapping[str, Tensor],  # noqa: ARG002
    ) -> Tensor | None:
        """[B]: how little the stages of two samples are alike, in the tokens of both; None: that is not learned."""
        return None

    def cuts_truly(self, net: Any) -> Tensor | bool:  # noqa: ARG002
        """Whether the true transitions cut."""
        return True

    def labels(self, spec: Spec, train: FeatureSet) -> dict[str, np.ndarray]:  # noqa: ARG002
        return {"transitions": transitions_of(train.phases)}

    def loss(self, net: Any, batch: Batch, noise: Noise, step: Step) -> Tensor:  # noqa: ARG002
        """Squared error in both directions, in squares of 15.25 points where train deviates by that much; the papers
        weigh the other parts against FineDiving's points."""
        exemplars = exemplars_of(batch)
        streams, masks = (
            {name: torch.cat([of[name], others[name]]) for name in of}
            for of, others in ((batch.streams, exemplars.streams), (batch.masks, exemplars.masks))
        )
        seen = net.seen(streams, masks, noise)
        truth = torch.cat([batch.targets["transitions"], exemplars.targets["transitions"]])
        known = truth[:, 0] >= 0
        at = torch.where((known & self.cuts_truly(net))[:, None], truth, decode(seen["logits"].detach()))
        tokens = net.staged(seen, at)
        mark = torch.cat([net.units.mark(batch), net.units.mark(exemplars)])
        wrong = net.better(tokens, _swapped(tokens)).sum(dim=1) - (mark - _swapped(mark)) / net.units.sd
        loss = 2 * POINTS**2 * wrong.square().mean() + self.phase_loss(seen["logits"], truth)
        query, other = ({name: x.chunk(2)[k] for name, x in tokens.items()} for k in range(2))
        unlike = self.contrast(query, other)
        if unlike is None:
            return loss
        both = known.unflatten(0, (2, -1)).all(dim=0)
        return loss + (unlike * both).sum() / both.sum().clamp(min=1)

    def judge(self, net: Any, batch: Batch) -> dict[str, Tensor]:
        """`phases` [2, B]; `parts` [3, B]: by how many points each stage is better than those of the exemplars."""
        exemplars = exemplars_of(batch)
        query, at = self._parsed(net, batch)
        others = exemplars.encoded or self.encoded(net, exemplars)
        votes = len(exemplars.score) // len(at)
        query = {name: x.repeat_interleave(votes, dim=0) for name, x in query.items()}
        better = net.units.sd * net.better(query, others).unflatten(0, (-1, votes))  # [B, votes, 3]
        marks = net.units.mark(exemplars).unflatten(0, (-1, votes)) + better.sum(dim=2)
        return {
            "score": net.units.points(marks.mean(dim=1), batch),
            "phases": at.mT,
            "parts": net.units.points(better.mean(dim=1), batch).mT,
        }

    def encoded(self, net: Any, exemplars: Exemplars) -> dict[str, Tensor]:
        return self._parsed(net, exemplars)[0]

    def _parsed(self, net: Any, of: Batch | Exemplars) -> tuple[dict[str, Tensor], Tensor]:
        seen = net.seen(of.streams, of.masks, None)
        at = decode(seen["logits"])
        return net.staged(seen, at), at

    def judgement(self, spec: Spec, said: Mapping[str, Any]) -> Judgement:
        judged = super().judgement(spec, said)
        parts = dict(zip(("takeoff", "flight", "entry"), said["parts"], strict=True))
        return replace(judged, phases=said["phases"].T.astype(np.int64), parts=parts)


def _swapped(tree: Any) -> Any:
    """The first half of the rows after the second, of a tensor or of each in a dict."""
    if isinstance(tree, dict):
        return {name: _swapped(x) for name, x in tree.items()}
    return torch.cat(tree.chunk(2)[::-1])
