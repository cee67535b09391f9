"""`segment`: the procedure segmenter of MCoRe (An et al., ICASSP 2024) and HP-MCoRe (Qi et al., Action Quality
Assessment via Hierarchical Pose-guided Multi-stage Contrastive Regression, IEEE TIP 2025), learned by itself."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..catalog.phases import FRAMES
from .config import demand
from .noise import Noise, dropout
from .phases import PhaseHead, PhaseNet, Resample
from .recurrent import BiGru
from .torch_head import Spec


class Segmenter(nn.Module):
    """A bidirectional GRU over frames, dropout, and a linear layer: is this frame st, is it ed?

    1,630,978 parameters with D = hidden = 368, 3,079,426 with D = 1024.
    """

    def __init__(self, inputs: int, hidden: int, p: float) -> None:
        super().__init__()
        self.p = p
        self.gru = BiGru(inputs, hidden)
        self.out = nn.Linear(2 * hidden, 2)

    def forward(self, x: Tensor, noise: Noise | None = None, resample: Resample | None = None) -> Tensor:
        """x [B, 96, D], or what `resample` makes 96 frames of -> logits [B, 96, 2]."""
        return self.out(dropout(self.gru(x, resample), self.p, noise))


def segmentation_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy over the FRAMES of each channel, ed weighing twice: the mean over samples and the two channels.

    logits [B, 96, 2]; truth int64 [B, 2]. Samples whose transitions are -1, unknown, do not count; 0 without any other.
    """
    known = truth[:, 0] >= 0
    picked = logits.log_softmax(dim=1).gather(1, truth.clamp(min=0)[:, None])[:, 0]
    weighted = picked[:, 0] + 2 * picked[:, 1]
    return -(weighted * known).sum() / (2 * known.sum().clamp(min=1))


@dataclass(frozen=True)
class Segment(PhaseHead):
    """`segmentation_loss` of a bidirectional GRU on the clips, resampled to 96 by linear interpolation.

    `hidden`, `dropout`, `lr`, `batch`: the released code's, where it is trained together with the score; `hidden` is
    the width of its frames' features there, and 368 here whatever the stream's.
    """

    name = "segment"
    records = False  # 96 steps in time are 4000 operations: recorded 64 ms an update, not recorded 15 (hidden = 32)

    lr: float = 5e-4
    hidden: int = 368
    dropout: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "hidden", self.hidden >= 1, "1 or more")
        demand(self, "dropout", 0 <= self.dropout < 1, "a number from 0 to below 1")

    def build(self, spec: Spec) -> PhaseNet:
        return PhaseNet(spec, FRAMES, Segmenter(spec.width, self.hidden, self.dropout))

    def phase_loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        return segmentation_loss(logits, truth)
