"""What heads share that find the phases of a performance: decoding, and the way in which they learn nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ..catalog.phases import FRAMES, overlap, transitions_of
from .base import FeatureSet, Judgement, Log, Needs
from .batches import Batch, only
from .layers import interpolate_clips
from .noise import Noise
from .torch_head import Spec, Step, TorchHead

Resample = Callable[[Tensor], Tensor]  # [B, T, D] -> [B, clips, D]
HALF = FRAMES // 2
EQUAL = 1e-4  # logits of one clip alone hardly change from frame to frame


def decode(z: Tensor) -> Tensor:
    """Transitions int64 [B, 2] from logits [B, 96, 2]: st is the best frame of the first half, ed that of the second
    (TSA, MCoRe, HP-MCoRe). Of equal ones the first, and equal is what rounding may have made unlike.

    A st of 0 becomes 1, so that none of [0, st), [st, ed) and [ed, 96) is empty; the last has a frame even with ed 95.
    """
    st, ed = _best(z[:, :HALF, 0]).clamp(min=1), HALF + _best(z[:, HALF:, 1])
    return torch.stack([st, ed], dim=1)


def _best(z: Tensor) -> Tensor:
    return (z >= z.amax(dim=1, keepdim=True) - EQUAL).to(z.dtype).argmax(dim=1)


class PhaseNet(nn.Module):
    """A segmenter over `clips` clips, to which every sample is resampled; and the train mean, which is its score."""

    mean: Tensor

    def __init__(self, spec: Spec, clips: int, segmenter: nn.Module) -> None:
        super().__init__()
        self.clips, self.segmenter = clips, segmenter
        self.register_buffer("mean", torch.tensor(spec.mean, dtype=torch.get_default_dtype()))

    def forward(self, x: Tensor, mask: Tensor, noise: Noise | None = None) -> Tensor:
        """x [B, T, *shape], mask [B, T] -> logits [B, 96, 2] of each frame: is it st, is it ed?"""
        last = mask.sum(dim=1) - 1
        return self.segmenter(x.flatten(2), noise, lambda clips: interpolate_clips(clips, last * 0, last, self.clips))


@dataclass(frozen=True)
class PhaseHead(TorchHead):
    """Learns where phases begin and nothing of the score, for which it says the mean of train. The epoch that is kept
    is the one with the highest mean tIoU on the held-out part. Train samples without phases are looked at and not
    learned from."""

    needs: ClassVar[Needs] = Needs(
        shape=None, targets=("score", "binary"), phases=True, together=True, validates=True, gives=("phases",)
    )

    def phase_loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """One number, of logits [B, 96, 2] against transitions [B, 2], -1 unknown."""
        raise NotImplementedError

    def labels(self, spec: Spec, train: FeatureSet) -> dict[str, np.ndarray]:  # noqa: ARG002
        return {"transitions": transitions_of(train.phases)}

    def loss(self, net: Any, batch: Batch, noise: Noise, step: Step) -> Tensor:  # noqa: ARG002
        return self.phase_loss(net(*only(batch), noise), batch.targets["transitions"])

    def judge(self, net: Any, batch: Batch) -> dict[str, Tensor]:
        logits = net(*only(batch))
        return {"score": net.mean.expand(len(logits)), "phases": decode(logits).mT}

    def judgement(self, spec: Spec, said: Mapping[str, Any]) -> Judgement:
        return replace(super().judgement(spec, said), phases=said["phases"].T.astype(np.int64))

    def quality(self, said: Mapping[str, np.ndarray], val: FeatureSet) -> dict[str, np.ndarray]:
        truth = transitions_of(val.phases)
        known = truth[:, 0] >= 0
        found, truth = said["phases"].swapaxes(1, 2)[:, known], truth[known]
        return {"val_tiou": overlap(found, truth).mean(axis=1), "val_frames": np.abs(found - truth).mean(axis=(1, 2))}

    def fit(
        self,
        train: FeatureSet,
        val: FeatureSet | None = None,
        *,
        seeds: Sequence[int],
        device: str = "cpu",
        log: Log | None = None,
    ) -> list[Any]:
        """As every `TorchHead`; held-out samples without phases choose nothing."""
        if val is not None:
            val = val.take(np.flatnonzero(transitions_of(val.phases)[:, 0] >= 0))
        return super().fit(train, val, seeds=seeds, device=device, log=log)
