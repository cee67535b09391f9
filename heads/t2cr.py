"""`t2cr`: two-path target-aware contrastive regression (Ke et al., Information Sciences 2024), as the AQA benchmark
(arXiv 2412.11149) has it: two views of a video, many clips and few, that must agree; a score of its own, and one by
comparison with a train sample whose score is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from .base import FeatureSet, Needs
from .batches import Batch, Exemplars, exemplars_of
from .compared import Compared
from .config import demand
from .layers import resample_clips
from .noise import Noise
from .t2cr_blocks import ClipAttention, Decoder, Regressor, SqueezeExcite, Widen, contrast
from .torch_head import Published, Spec, Step, Units

WIDTH = 64  # numbers per token
BLOCKS = 3
TEMPERATURE = 0.1
ITSELF = 10.0  # weight of the loss of a video beside itself


class T2crNet(nn.Module):
    """Clips of the full and of the thin stream -> 64 numbers each ("tokens"); marks from them, by themselves and beside
    those of another sample. 606,781 parameters with D = 1024, 10 full and 8 thin clips."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.units = Units(spec)
        self.streams = tuple(spec.streams)
        self.full, self.thin = spec.constants["full"], spec.constants["thin"]
        (width,) = spec.streams[self.streams[0]]
        self.widen = Widen(self.thin, self.full)
        self.features = SqueezeExcite(width)
        self.clips = ClipAttention(self.full)
        self.inner, self.outer = nn.Linear(width, 256), nn.Linear(256, WIDTH)
        self.side = nn.Linear(WIDTH, 1)
        self.mix = nn.ModuleList(nn.Linear(self.full, self.full) for _ in range(2))
        self.decoder = Decoder(WIDTH, BLOCKS)
        self.regressor = Regressor(WIDTH)

    def seen(self, of: Batch | Exemplars) -> tuple[Tensor, Tensor]:
        """The full clips [R, T, D] and the thin ones [R, T', D]: of a second stream, or every other of the first."""
        clips = [(of.streams[name], of.masks[name]) for name in self.streams]
        full = resample_clips(*clips[0], self.full)
        return full, full[:, ::2] if len(clips) == 1 else resample_clips(*clips[1], self.thin)

    def tokens(self, full: Tensor, thin: Tensor) -> Tensor:
        """[R, 2, T, 64]: those of the full and of the thin clips."""
        both = torch.stack([full, self.widen(thin)], dim=1).flatten(0, 1)
        both = self.clips(self.features(both))
        return self.outer(self.inner(both).relu()).relu().unflatten(0, (-1, 2))

    def mixed(self, tokens: Tensor) -> Tensor:
        """[R, 2, T, 64]: every token a mixture of those of its stream."""
        return torch.stack([mix(tokens[:, k].mT).mT for k, mix in enumerate(self.mix)], dim=1)

    def better(self, mixed: Tensor, than: Tensor) -> Tensor:
        """[R]: the mark of a sample less that of another, from the mixed tokens of both, [R, 2, T, 64]."""
        return self.regressor(self.decoder(mixed.flatten(1, 2), than.flatten(1, 2)))

    def itself(self, mixed: Tensor) -> Tensor:
        """[R]: the mark of the full clips less that of the thin ones of the same sample, to become 0."""
        return self.regressor(self.decoder(mixed[:, 0], mixed[:, 1]))

    def marks(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """[R, 2] twice: the mark by the regressor and by one layer, from the tokens of each stream."""
        said = self.regressor(tokens.flatten(0, 1)).unflatten(0, (-1, 2))
        return said, self.side(tokens)[..., 0].mean(dim=2)


@dataclass(frozen=True)
class T2cr(Compared):
    """Every sample is paired with a random other one of its group and judged by itself and in both directions; a test
    sample is compared with `votes` train samples, and the score is the mean of what they say.

    Takes one stream, of which every other clip is the thin one, or two streams of the same backbone: the full clips,
    then the thin ones. `clips`: samples have as many clips as the longest of train, and at most so many; others are
    brought to that by repeating or leaving out clips at even distances. 68 is what the benchmark crops Rhythmic
    Gymnastics and Fis-V to.

    `lr`, `weight_decay`, `batch` (in pairs, as with cached features), `epochs`: the AQA benchmark's. The original is
    `published`: 3 pairs, 2 on FineDiving, where exemplars have the same dive number. `by`, `use_difficulty`: as `core`.
    """

    name = "t2cr"
    needs = Needs(further_streams=1, exemplars=True, together=True, validates=True)
    published: ClassVar[Published] = {
        "": {
            "lr": 1e-3,
            "weight_decay": 0.0,
            "batch": 3,
            "epochs": 200,
            "scale": "none",
            "select": "test",
        },
        "finediving": {"batch": 2, "by": "kind"},
    }

    batch: int = 4
    weight_decay: float = 1e-4
    clips: int = 68

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "clips", self.clips >= 1, "1 or more")

    def constants(self, train: FeatureSet, marks: np.ndarray, width: float) -> dict[str, Any]:  # noqa: ARG002
        """`full`, `thin`: clips of the two streams."""
        full, *thin = (min(int(stream.lengths.max()), self.clips) for stream in train.streams.values())
        return {"full": full, "thin": thin[0] if thin else (full + 1) // 2}

    def describe(self, spec: Spec) -> dict[str, Any]:
        return {"clips": spec.constants["full"], "thin_clips": spec.constants["thin"]}

    def build(self, spec: Spec) -> T2crNet:
        return T2crNet(spec)

    def loss(self, net: Any, batch: Batch, noise: Noise, step: Step) -> Tensor:  # noqa: ARG002
        """Sums over the two samples of a pair and over their streams, means over pairs; in marks."""
        exemplars = exemplars_of(batch)
        mark = torch.cat([net.units.mark(batch), net.units.mark(exemplars)])
        views = zip(net.seen(batch), net.seen(exemplars), strict=True)
        tokens = net.tokens(*(torch.cat(view) for view in views))  # first the samples, then their exemplars
        mixed, (said, side) = net.mixed(tokens), net.marks(tokens)
        swapped = [torch.cat(of.chunk(2)[::-1]) for of in (mixed, mark)]
        samples, others = tokens.mean(dim=2).chunk(2)
        return (
            2 * (tokens[:, 0] - tokens[:, 1]).square().mean()
            + contrast(samples[:, 0], samples[:, 1], TEMPERATURE)
            + contrast(others[:, 0], others[:, 1], TEMPERATURE)
            + 2 * (net.better(mixed, swapped[0]) - (mark - swapped[1])).square().mean()
            + 4 * (said - mark[:, None]).square().mean()
            + 4 * (side - mark[:, None]).square().mean()
            + 2 * ITSELF * net.itself(mixed).square().mean()
        )

    def judge(self, net: Any, batch: Batch) -> dict[str, Tensor]:
        exemplars = exemplars_of(batch)
        tokens, known = net.tokens(*net.seen(batch)), net.units.mark(exemplars).unflatten(0, (len(batch.score), -1))
        mixed, alone = net.mixed(tokens), net.regressor(tokens[:, 0])
        full, thin = (view.unflatten(0, known.shape) for view in net.seen(exemplars))
        votes = []
        for k in range(known.shape[1]):  # one at a time: the features of all exemplars are large
            other = net.mixed(net.tokens(full[:, k], thin[:, k]))
            votes.append((net.better(mixed, other) + known[:, k] + alone) / 2)
        return {"score": net.units.points(torch.stack(votes, dim=1).mean(dim=1), batch)}
