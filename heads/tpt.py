"""`tpt`: temporal parsing transformer (Bai et al., Action Quality Assessment with Temporal Parsing Transformer, ECCV
2022): a performance is taken apart by learned queries, and its parts are compared with those of train samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from .base import Needs
from .batches import Batch, exemplars_of, only
from .config import demand
from .core import LEAVES, Core, Leaves
from .layers import Attention
from .noise import Noise
from .torch_head import Published, Spec, Step

LAYERS, HEADS, NARROW = 2, 8, 128
TEMPERATURE = 0.07
PLAN = 20  # clips of the paper: centres and deviations are told in these
OWN_RATE = ("pair.", "leaf.", "place.")


class TimeAttention(Attention):
    """Parts look at clips with one head. The products are divided by the width and by a learned temperature, whose
    logarithm is learned: it stays above 0."""

    def __init__(self, width: int) -> None:
        super().__init__(width, 1)
        self.temperature = nn.Parameter(torch.full((1,), TEMPERATURE).log())

    def scale(self, width: int) -> Tensor:
        return width * self.temperature.exp()


class PartLayer(nn.Module):
    """Parts look at each other (`among`, in the first layer alone), then at the clips; feed-forward; a residual and a
    layer normalisation around each."""

    def __init__(self, width: int, *, among: bool) -> None:
        super().__init__()
        self.among = Attention(width, HEADS) if among else None
        self.time = TimeAttention(width)
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 + among))

    def forward(self, parts: Tensor, clips: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """parts [B, K, d] or [1, K, d], clips [B, T, d], mask [B, T] -> parts [B, K, d], and how much each looked at
        every clip, [B, K, T]."""
        *first, second, last = self.norms
        if self.among is not None:
            parts = first[0](parts + self.among(parts, parts))
        found, looks = self.time.look(parts, clips, mask)
        parts = second(parts + found)
        return last(parts + self.outer(self.inner(parts).relu())), looks[:, 0]


class TptNet(Leaves):
    """Clips -> `parts` parts. Those of an exemplar and of a query go in pairs through one network, and their mean over
    the parts says which leaf, and where in it. 5,657,890 parameters with D = 1024, five parts and width 512."""

    def __init__(self, spec: Spec, parts: int, width: int) -> None:
        super().__init__(spec)
        self.input = nn.Linear(spec.width, width)
        self.queries = nn.Parameter(torch.randn(parts, width))
        self.layers = nn.ModuleList(PartLayer(width, among=k == 0) for k in range(LAYERS))
        self.pair = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.leaf, self.place = (
            nn.Sequential(nn.Linear(width, NARROW), nn.ReLU(), nn.Linear(NARROW, LEAVES)) for _ in range(2)
        )

    def parsed(self, x: Tensor, mask: Tensor) -> tuple[Tensor, list[Tensor]]:
        """x [B, T, D], mask [B, T] -> parts [B, K, width], and of every layer how much each part looked at every clip,
        [B, K, T], 0 where there is none."""
        # One row for all samples until they see their clips: the self-attention of the first layer is taken once.
        clips, parts, looks = self.input(x), self.queries[None], []
        for layer in self.layers:
            parts, look = layer(parts, clips, mask)
            looks.append(look)
        return parts, looks

    def seen(self, x: Tensor, mask: Tensor) -> Tensor:
        """The parts alone."""
        return self.parsed(x, mask)[0]

    def forward(self, exemplar: Tensor, query: Tensor, mark: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """Parts [R, K, width] twice -> as `Leaves` says. The exemplar's mark is not looked at."""
        h = self.pair(torch.cat([exemplar, query], dim=2)).mean(dim=1)
        return self.leaf(h).log_softmax(dim=1), self.place(h).sigmoid()[..., None]


@dataclass(frozen=True)
class Tpt(Core):
    """`core` on parts of a performance: the same exemplars, leaves, losses and votes, with a part-wise comparison in
    the place of the tree, and two losses on what the parts look at.

    `ranking` times hinges that keep the centres of what the parts look at in order and `margin` apart, from each other
    and from both ends; `sparsity` times the mean distance of what a part looks at from its centre. Both are in clips,
    where every sample counts as 20 clips long, as all of the paper's are.

    `hidden`: numbers per part. `lr` is for the transformer, `comparing_lr` for what compares the parts. Both, `batch`,
    `margin`, `sparsity` and `votes`: the paper's and its code's; 250 epochs there.
    """

    name = "tpt"
    pool = "none"
    needs = Needs(exemplars=True, together=True, validates=True, gives=("spread",))
    published: ClassVar[Published] = {
        "": {"epochs": 250, "scale": "none", "select": "test"},
        "mtl-aqa": {"theta": 30.0},
    }

    batch: int = 24
    weight_decay: float = 0.0
    comparing_lr: float = 1e-3
    parts: int = 5
    hidden: int = 512
    margin: float = 3.2
    ranking: float = 1.0
    sparsity: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "comparing_lr", self.comparing_lr > 0, "a number above 0")
        demand(self, "parts", self.parts >= 1, "1 or more")
        demand(self, "hidden", self.hidden >= 1 and self.hidden % HEADS == 0, f"a multiple of {HEADS}")
        for name in ("margin", "ranking", "sparsity"):
            demand(self, name, getattr(self, name) >= 0, "0 or more")

    def build(self, spec: Spec) -> TptNet:
        return TptNet(spec, self.parts, self.hidden)

    def rate(self, parameter: str) -> float:
        return self.comparing_lr if parameter.startswith(OWN_RATE) else self.lr

    def loss(self, net: Any, batch: Batch, noise: Noise, step: Step) -> Tensor:
        parsed, beside = [], []
        for clips, mask in (only(batch), only(exemplars_of(batch))):
            parts, looks = net.parsed(clips, mask)
            parsed.append(parts)
            for look in looks:
                centre, distance = focus(look, mask)
                beside.append(self.ranking * hinges(centre, self.margin) + self.sparsity * distance.sum(dim=1))
        query, other = parsed
        # Summed over the layers, the mean over samples and exemplars.
        return self.compared(net, batch, query, other, noise, step) + LAYERS * torch.stack(beside).mean()


def focus(looks: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Centre of what each part looks at and the mean distance from it, [B, K] each; looks [B, K, T], mask [B, T].

    The clips that are there stand evenly from 1 to 20: of 20 clips each at its number, of a single one at 1.
    """
    between = (mask.sum(dim=1) - 1).clamp(min=1).to(looks.dtype)
    steps = torch.arange(mask.shape[1], device=mask.device, dtype=looks.dtype)
    where = 1 + (PLAN - 1) * steps / between[:, None, None]  # [B, 1, T]
    centre = (looks * where).sum(dim=2)
    return centre, (looks * (where - centre[..., None]).abs()).sum(dim=2)


def hinges(centre: Tensor, margin: float) -> Tensor:
    """[B]: how far the centres [B, K] are from being in order, at least `margin` apart from each other, the first from
    the first clip (1), and the last from the last (20)."""
    first = torch.ones_like(centre[:, :1])
    whole = torch.cat([first, centre, PLAN * first], dim=1)
    return (margin - whole.diff(dim=1)).relu().sum(dim=1)
