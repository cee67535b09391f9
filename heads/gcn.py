"""`gcn`: a score from the pose alone, by graph convolutions over joints and frames. `hgcn` is another paper's, on clips."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..catalog.skeletons import Skeleton, normalised, of_joints, to_mpii
from .base import FeatureSet, Needs, Ragged
from .batches import Batch, only
from .config import demand
from .layers import resample_clips
from .noise import Noise
from .skeleton_gcn import HierarchicalGcn
from .skeleton_layers import mean_frames
from .stgcn import StGcn
from .torch_head import MarkHead, OneNumber, Spec, Step

ENCODERS = {"hierarchical": HierarchicalGcn, "st": StGcn}
# What a step keeps, in numbers per sample, frame, joint and channel of `hidden`: counted with `saved_tensors_hooks`.
KEPT = {"hierarchical": 175, "st": 60}


class GcnNet(OneNumber):
    """The mean over joints and frames of a skeleton encoder -> Linear 1."""

    mirror: Tensor
    sign: Tensor

    def __init__(self, spec: Spec, encoder: str, hidden: int, frames: int, *, flip: bool) -> None:
        super().__init__(spec)
        ((joints, inputs),) = spec.streams.values()
        layout = of_joints(joints)
        self.frames, self.flip = frames, flip
        self.encoder = ENCODERS[encoder](layout, inputs, hidden)
        self.regress = nn.Linear(2 * hidden, 1)
        self.register_buffer("mirror", torch.tensor(layout.mirror))
        self.register_buffer("sign", torch.tensor([-1.0, 1.0, 1.0][:inputs], dtype=torch.get_default_dtype()))

    def forward(self, x: Tensor, mask: Tensor, noise: Noise | None = None) -> Tensor:
        """Poses [B, T, J, C], mask [B, T] -> [B]."""
        there: Tensor | None = mask
        if self.frames:
            x, there = resample_clips(x.flatten(2), mask, self.frames).unflatten(2, x.shape[2:]), None
        if self.flip and noise is not None:
            turned = noise.uniform(len(x)) < 0.5
            x = torch.where(turned[:, None, None, None], x.index_select(2, self.mirror) * self.sign, x)
        return self.regress(mean_frames(self.encoder(x, there), there))[:, 0]


@dataclass(frozen=True)
class Gcn(MarkHead):
    """Squared error of the score, in standard deviations of train; for a binary target cross-entropy.

    `encoder`: the hierarchical one of HP-MCoRe, or ST-GCN; both have five units of `hidden` channels, the last of twice
    as many (HP-MCoRe). `frames`: every sample is resampled to so many, the nearest there are (HP-MCoRe); 0: as it is.
    `normalise`: places around the pelvis in torso lengths, or in pixels. `confidence`: the third number is an input too,
    where it is a confidence; a depth always is. `convert`: to MPII's joints first. `flip`: half of the samples of a step
    are seen in a mirror. `use_difficulty`: model score / difficulty and multiply back, where scores are made so.

    HP-MCoRe trains its encoder with Adam, 5e-4 and batches of 8, as part of a larger network.
    """

    name = "gcn"
    needs = Needs(shape=2, targets=("score", "binary"), together=True, validates=True)

    lr: float = 5e-4
    scale: Literal["none"] = "none"  # the first layer standardises, and mirrors and confidences stay what they are
    encoder: Literal["hierarchical", "st"] = "hierarchical"
    hidden: int = 64
    frames: int = 96
    normalise: Literal["pelvis", "pixel"] = "pelvis"
    confidence: bool = False
    convert: Literal["none", "mpii-16"] = "none"
    flip: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "hidden", self.hidden >= 4 and self.hidden % 4 == 0, "a multiple of 4")
        demand(self, "frames", self.frames >= 0, "a number of frames, or 0 for all")
        known = self.normalise == "pelvis" or not self.flip
        demand(self, "flip", known, "no with normalise=pixel: pixels do not say how wide the picture is")

    def prepared(self, data: FeatureSet) -> FeatureSet:
        """Poses with their gaps closed, normalised, with the numbers per joint that are looked at."""
        ((name, stream),) = data.streams.items()
        layout = of_joints(stream.shape[0])
        values = np.concatenate([self._pose(stream[i], layout) for i in range(len(stream))])
        return replace(data, streams={name: Ragged(values, stream.offsets - stream.offsets[0])})

    def _pose(self, pose: np.ndarray, layout: Skeleton) -> np.ndarray:
        pose = normalised(pose, layout, self.normalise)
        if self.convert != "none":
            pose = to_mpii(pose, layout)
        return pose if self.confidence or layout.third == "z" else pose[..., :2]

    def kept(self, spec: Spec) -> int:
        joints = next(iter(spec.streams.values()))[0]
        return self.batch * (self.frames or spec.clips) * joints * self.hidden * KEPT[self.encoder]

    def build(self, spec: Spec) -> GcnNet:
        return GcnNet(spec, self.encoder, self.hidden, self.frames, flip=self.flip)

    def loss(self, net: Any, batch: Batch, noise: Noise, step: Step) -> Tensor:  # noqa: ARG002
        return net.loss(net(*only(batch), noise), batch)

    def judge(self, net: Any, batch: Batch) -> dict[str, Tensor]:
        return {"score": net.score(net(*only(batch)), batch)}
