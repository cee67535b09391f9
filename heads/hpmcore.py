"""`hpmcore`: hierarchical pose-guided multi-stage contrastive regression (Qi et al., Action Quality Assessment via
Hierarchical Pose-guided Multi-stage Contrastive Regression, IEEE TIP 2025): clips, frames and poses of three stages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..catalog.phases import FRAMES
from ..catalog.skeletons import normalised, of_joints
from .base import FeatureSet, Ragged
from .config import demand
from .gcn import KEPT
from .layers import LinearCopies, interpolate_clips, resample_clips
from .noise import Noise
from .segment import Segmenter, segmentation_loss
from .skeleton_gcn import HierarchicalGcn
from .stages import STAGES, Decoder, Staged, TokenRegressor, stage_tokens
from .torch_head import Published, Spec, Units

TOKENS, HEADS, LAYERS = 10, 2, 4
TEMPERATURE, WEIGHT = 0.1, 10.0  # of the contrast
FAINT, BIAS = 0.01, 1e-3  # of poses before their layer, and of what they add to the attention at first


def inclusive(at: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """First and last row [B, 3] of the stages [0, st], [st, ed] and [ed - 1, end] by transitions `at` [B, 2] among 96
    frames, on a sequence of `rows` rows. Of 9, the published clips, frame t is in row t // 10; else in proportion."""
    row = at.div(10, rounding_mode="floor") if rows == 9 else (at * rows).div(FRAMES, rounding_mode="floor")
    st, ed = row.unbind(1)
    zero = torch.zeros_like(st)
    first = torch.stack([zero, st, (ed - 1).clamp(min=0)], dim=1)
    last = torch.stack([st, ed, zero + rows - 1], dim=1)
    return first.clamp(max=rows - 1), last.clamp(max=rows - 1)


class StageMlp(nn.Module):
    """Layers of its own for each stage, ReLU after each; [B, 3, L, widths[0]] -> [B, 3, L, widths[-1]]."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(LinearCopies(STAGES, *pair) for pair in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        rows = x.transpose(0, 1).flatten(1, 2)
        for layer in self.layers:
            rows = layer(rows).relu()
        return rows.unflatten(1, (len(x), -1)).transpose(0, 1)


class PoseBlock(nn.Module):
    """A pre-norm transformer layer over the tokens of a stage, where tokens of alike poses attend to each other more:
    the logits gain ``w E E^T / 64`` with E a layer of 0.01 times the pose."""

    def __init__(self, width: int, poses: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.inputs = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width)
        self.inner, self.outer = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.embed = nn.Linear(poses, width)
        self.weight = nn.Parameter(torch.full((1,), BIAS))

    def forward(self, x: Tensor, poses: Tensor) -> Tensor:
        """x [B, L, width], poses [B, L, P] -> as x."""
        q, k, v = (y.unflatten(2, (HEADS, -1)).transpose(1, 2) for y in self.inputs(self.norms[0](x)).chunk(3, dim=2))
        embedded = self.embed(FAINT * poses)
        alike = (self.weight * (embedded @ embedded.mT) / 64)[:, None]
        mixed = (q @ k.mT / math.sqrt(q.shape[-1]) + alike).softmax(dim=-1) @ v
        x = x + self.output(mixed.transpose(1, 2).flatten(2))
        return x + self.outer(F.gelu(self.inner(self.norms[1](x))))


class HpMcoreNet(nn.Module):
    """Clips, frames and poses -> tokens of the stages; poses steer the attention among those of the clips. 16,106,458
    parameters with 1024 numbers per clip, 368 per frame and 16 joints."""

    def __init__(self, spec: Spec, hidden: int, width: int, gcn: int, dropout: float) -> None:
        super().__init__()
        self.units = Units(spec)
        self.names = tuple(spec.constants["roles"])  # dynamic, static, skeleton
        self.clips = spec.constants["clips"]
        dynamic, static, (joints, inputs) = (spec.streams[name] for name in self.names)
        self.narrow = nn.Identity() if math.prod(static) == hidden else nn.Linear(math.prod(static), hidden)
        self.segmenter = Segmenter(hidden, hidden, dropout)
        self.gcn = HierarchicalGcn(of_joints(joints), inputs, gcn)
        wide = math.prod(dynamic)
        self.dynamic = StageMlp(wide, wide + 128, width)
        self.static = StageMlp(hidden, hidden + 128, width)
        self.fuse = nn.ModuleList(PoseBlock(width, 2 * gcn) for _ in range(STAGES))
        self.decoders = nn.ModuleList(Decoder(width, HEADS, LAYERS) for _ in range(2))
        self.regressors = nn.ModuleList(TokenRegressor(width) for _ in range(2))
        self.stages = nn.Parameter(torch.full((STAGES,), math.log(2.0)))

    def seen(
        self, streams: Mapping[str, Tensor], masks: Mapping[str, Tensor], noise: Noise | None
    ) -> dict[str, Tensor]:
        """`clips` [R, T, D], `frames` [R, 96, hidden] and their `logits` [R, 96, 2], `poses` [R, 96, 128]."""
        dynamic, static, skeleton = self.names
        places = {name: masks[name].sum(dim=1) - 1 for name in self.names}

        def resample(x: Tensor) -> Tensor:
            return interpolate_clips(x, places[static] * 0, places[static], FRAMES)

        x = self.narrow(streams[static].flatten(2))
        clips = streams[dynamic].flatten(2)
        joints = resample_clips(streams[skeleton].flatten(2), masks[skeleton], FRAMES)
        return {
            "clips": interpolate_clips(clips, places[dynamic] * 0, places[dynamic], self.clips),
            "frames": resample(x),
            "logits": self.segmenter(x, noise, resample),
            "poses": self.gcn(joints.unflatten(2, streams[skeleton].shape[2:]), None),
        }

    def staged(self, seen: Mapping[str, Tensor], at: Tensor) -> dict[str, Tensor]:
        """`fused` and `static` [R, 3, 10, 256]."""
        of_clips, of_frames = inclusive(at, self.clips), inclusive(at, FRAMES)
        dynamic = self.dynamic(stage_tokens(seen["clips"], *of_clips, TOKENS))
        poses = stage_tokens(seen["poses"], *of_frames, TOKENS)
        fused = [block(dynamic[:, k], poses[:, k]) for k, block in enumerate(self.fuse)]
        static = self.static(stage_tokens(seen["frames"], *of_frames, TOKENS))
        return {"fused": torch.stack(fused, dim=1), "static": static}

    def better(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> Tensor:
        """[R, 3]: what each stage says, the mean of both streams, times its weight among the stages."""
        parts = zip(("fused", "static"), self.decoders, self.regressors, strict=True)
        said = torch.stack([regressor(decoder(one[name], other[name])) for name, decoder, regressor in parts])
        return said.mean(dim=0) * self.stages.softmax(dim=0)  # exp(p_k) over their sum


def stage_contrast(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """[B]: of the mean of each stage, [B, 3, L, d] twice, how badly it is told to belong to the same stage of the other
    sample, among the other stages of both: cross-entropy of cosines over `temperature`, the mean over stages and both
    directions."""
    one, other = (F.normalize(x.mean(dim=2), dim=-1) for x in (one, other))
    itself = torch.eye(STAGES, dtype=torch.bool, device=one.device)
    within = [(x @ x.mT / temperature).masked_fill(itself, -math.inf) for x in (one, other)]
    across = one @ other.mT / temperature
    same = across.diagonal(dim1=1, dim2=2)
    missed = [
        torch.cat([inside, between], dim=2).logsumexp(dim=2) - same
        for inside, between in zip(within, (across, across.mT), strict=True)
    ]
    return torch.stack(missed).mean(dim=(0, 2))


@dataclass(frozen=True)
class HpMcore(Staged):
    """Three streams: joints [J, 3], and of the two others the one of more clips is static (a row per frame), the other
    dynamic (clips); of as many clips the first is dynamic. Poses are taken around the pelvis, in torso lengths.

    `hidden`: numbers per frame of the static stream; one of another width is projected. `dropout`: of the segmenter.
    `channels`: numbers per token; `gcn`: channels of the skeleton encoder. All, `lr`, `batch` (in pairs) and `votes`:
    the released code's.
    """

    name = "hpmcore"
    records = (
        False  # .31 s an update instead of .36 (hidden, channels 64, gcn 16), and 13 s to record each size of batch
    )
    needs = replace(Staged.needs, streams=3, shapes=(1, 1, 2))
    published: ClassVar[Published] = {
        "": {"epochs": 201, "schedule": "cosine", "scale": "none", "select": "test", "use_difficulty": False},
        "finediving": {"by": "kind"},
    }

    lr: float = 5e-4
    hidden: int = 368
    channels: int = 256
    gcn: int = 64
    dropout: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "hidden", self.hidden >= 1, "1 or more")
        demand(self, "channels", self.channels >= 1 and self.channels % HEADS == 0, f"a multiple of {HEADS}")
        demand(self, "gcn", self.gcn >= 4 and self.gcn % 4 == 0, "a multiple of 4")
        demand(self, "dropout", 0 <= self.dropout < 1, "a number from 0 to below 1")

    def prepared(self, data: FeatureSet) -> FeatureSet:
        """x and y of normalised poses with their gaps closed; of layouts with a depth, that too."""
        streams = dict(data.streams)
        for name, stream in data.streams.items():
            if len(stream.shape) == 2 and len(stream):
                layout = of_joints(stream.shape[0])
                values = np.concatenate([normalised(stream[i], layout) for i in range(len(stream))])
                values = values if layout.third == "z" else values[..., :2]
                streams[name] = Ragged(values, stream.offsets - stream.offsets[0])
        return replace(data, streams=streams)

    def constants(self, train: FeatureSet, marks: np.ndarray, width: float) -> dict[str, Any]:  # noqa: ARG002
        """`roles`: the names of the dynamic, static and skeleton stream. `clips`: of the longest dynamic sample."""
        longest = {name: int(stream.lengths.max()) for name, stream in train.streams.items()}
        (skeleton,) = (name for name, stream in train.streams.items() if len(stream.shape) == 2)
        dynamic, static = sorted((name for name in longest if name != skeleton), key=longest.__getitem__)
        return {"roles": [dynamic, static, skeleton], "clips": longest[dynamic]}

    def kept(self, spec: Spec) -> int:
        joints = spec.streams[spec.constants["roles"][2]][0]
        return 2 * self.batch * FRAMES * joints * self.gcn * KEPT["hierarchical"]

    def describe(self, spec: Spec) -> dict[str, Any]:
        return dict(zip(("dynamic", "static", "skeleton"), spec.constants["roles"], strict=True))

    def build(self, spec: Spec) -> HpMcoreNet:
        return HpMcoreNet(spec, self.hidden, self.channels, self.gcn, self.dropout)

    def phase_loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        return segmentation_loss(logits, truth)

    def contrast(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> Tensor:
        fused, static = (stage_contrast(one[name], other[name], TEMPERATURE) for name in ("fused", "static"))
        return WEIGHT * (fused + static)
