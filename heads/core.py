"""`core`: contrastive regression with a group-aware tree (Yu et al., Group-aware Contrastive Regression for Action
Quality Assessment, ICCV 2021): how much better is this than a train sample whose score is known?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from .base import FeatureSet, Needs
from .batches import Batch, exemplars_of, only
from .compared import Compared
from .config import demand
from .exemplars import Bank
from .layers import LinearCopies, mean_clips
from .noise import Noise
from .torch_head import Published, Spec, Step, Units

DEPTH, WIDTH = 4, 256  # splits from the root to a leaf; numbers per node
LEAVES = 2**DEPTH


class Leaves(nn.Module):
    """16 leaves: leaf k has the differences of marks from `low[k]` to `low[k] + width[k]`.

    A network over them says what it keeps of a sample's clips (`seen`), and what follows from that of an exemplar, that
    of a query and the exemplar's mark [R] (`forward`): log-probabilities of the leaves [R, 16], and what each says, [R,
    16, per_leaf], the position inside of it.
    """

    low: Tensor
    width: Tensor
    units: Units

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.units = Units(spec)
        upper = torch.tensor(spec.constants["boundaries"], dtype=torch.get_default_dtype())
        edges = torch.cat([-upper.flip(0), upper[1:]])
        widths = edges.diff()
        self.register_buffer("low", edges[:-1].clone())
        self.register_buffer("width", torch.where(widths > 0, widths, 1.0))  # 1: an empty leaf, between equal bounds

    def members(self, delta: Tensor) -> Tensor:
        """One-hot [R, 16] of differences [R]: the leaf with low <= |delta| < high on the side of its sign, 0 on the
        positive one; the outermost leaves take everything beyond them."""
        inner = self.low[LEAVES // 2 + 1 :]
        step = (delta.abs()[:, None] >= inner).sum(dim=1)
        leaf = torch.where(delta >= 0, LEAVES // 2 + step, LEAVES // 2 - 1 - step)
        return leaf[:, None] == torch.arange(LEAVES, device=delta.device)


class CoreNet(Leaves):
    """[exemplar, query, exemplar's mark] -> 256 -> a binary tree -> 16 leaves. 2,510,382 parameters with D = 1024.

    The nodes of a level are one batched product (the released code has grouped convolutions): each node gives the
    logits of its two children and their features.
    """

    def __init__(self, spec: Spec, per_leaf: int = 1) -> None:
        super().__init__(spec)
        self.first = nn.Linear(2 * spec.width + 1, WIDTH)
        self.nodes = nn.ModuleList(LinearCopies(2**d, WIDTH, 2 + 2 * WIDTH) for d in range(DEPTH))
        self.leaf = LinearCopies(LEAVES, WIDTH, per_leaf)

    def seen(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, T, D], mask [B, T] -> [B, D]."""
        return mean_clips(x, mask)

    def forward(self, exemplar: Tensor, query: Tensor, mark: Tensor) -> tuple[Tensor, Tensor]:
        """Features [R, D] twice and the exemplar's mark [R] -> as `Leaves` says."""
        units = self.units
        place = (mark - units.low) / (units.high - units.low)
        h = self.first(torch.cat([exemplar, query, place[:, None]], dim=1)).relu()[None]  # [nodes, R, 256]
        logs = torch.zeros_like(place)[None]  # [nodes, R]
        for nodes in self.nodes:
            out = nodes(h)
            split = out[..., :2].log_softmax(dim=-1) + logs[..., None]
            logs = split.transpose(1, 2).flatten(0, 1)
            h = out[..., 2:].relu().unflatten(-1, (2, WIDTH)).transpose(1, 2).flatten(0, 1)
        return logs.mT, self.leaf(h).transpose(0, 1)


@dataclass(frozen=True)
class Core(Compared):
    """Every sample is paired with a random other one of its group and judged in both directions; a test sample is
    compared with `votes` train samples, and the score is the mean of what they say (spread: their standard deviation,
    which is how much they disagree and not how wrong they are).

    Where the score is a mark times a known difficulty, marks are compared and the result is multiplied back
    (`use_difficulty`). `by`: exemplars of the same difficulty (the paper's MTL-AQA), of the same kind (its option with
    dive numbers), or any (AQA-7); auto takes the first for which all labels are there. `theta`: the largest mark, 30 in
    the paper's MTL-AQA; by default the range of the target, or 1.1 times the highest mark of train.

    `lr`, `weight_decay`, `batch` (in pairs), `epochs`: the AQA benchmark's. The paper trains the tree beside its
    backbone: 1e-3, none, 1 or 2 pairs with the gradients of two steps added, 200.
    """

    name = "core"
    needs = Needs(exemplars=True, together=True, validates=True, gives=("spread",))
    pool = "mean"
    published: ClassVar[Published] = {
        # Adam does not tell the sum of two steps' gradients from the mean of a batch that is twice as large.
        "": {
            "lr": 1e-3,
            "weight_decay": 0.0,
            "batch": 2,
            "epochs": 200,
            "scale": "none",
            "select": "test",
        },
        "mtl-aqa": {"theta": 30.0},
        "aqa-7": {"batch": 4},
    }

    batch: int = 4
    weight_decay: float = 1e-5
    theta: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self, "theta", self.theta is None or self.theta > 0, "a number above 0, or none")

    def mark_range(self, train: FeatureSet, marks: np.ndarray) -> tuple[float, float]:
        low, high = super().mark_range(train, marks)
        return (low, high) if self.theta is None else (low, low + self.theta)

    def constants(self, train: FeatureSet, marks: np.ndarray, width: float) -> dict[str, Any]:
        groups = Bank.of(train, self.grouping(train), 1).groups()
        return {"boundaries": leaf_boundaries(marks, groups, width).tolist()}

    def build(self, spec: Spec) -> Leaves:
        return CoreNet(spec)

    def loss(self, net: Any, batch: Batch, noise: Noise, step: Step) -> Tensor:
        query, other = net.seen(*only(batch)), net.seen(*only(exemplars_of(batch)))
        return self.compared(net, batch, query, other, noise, step)

    def compared(self, net: Any, batch: Batch, query: Tensor, other: Tensor, noise: Noise, step: Step) -> Tensor:
        """Of the leaf and the position in it, in both directions; `query`, `other`: what was seen of the samples and of
        their exemplars, [B, ...]."""
        mark, known = net.units.mark(batch), net.units.mark(exemplars_of(batch))
        delta = torch.cat([mark - known, known - mark])
        logs, said = net(torch.cat([other, query]), torch.cat([query, other]), torch.cat([known, mark]))
        member = net.members(delta).to(delta.dtype)
        target = (delta[:, None] - net.low) / net.width
        wrong = (self.missed(said, target, noise, step) * member).unflatten(0, (2, -1))  # [direction, B, leaf]
        count = member.unflatten(0, (2, -1)).sum(dim=1)
        inside = (wrong.sum(dim=1) / count.clamp(min=1)).sum()
        return inside - (logs * member).sum() / len(mark)

    def missed(self, said: Tensor, target: Tensor, noise: Noise, step: Step) -> Tensor:  # noqa: ARG002
        """[R, 16]: by how much the leaves, which say [R, 16, per_leaf], miss the positions `target` [R, 16]."""
        return (said[..., 0] - target).square()

    def judge(self, net: Any, batch: Batch) -> dict[str, Tensor]:
        marks, _, _ = votes_of(net, batch)
        said = net.units.points(marks, batch)
        return {"score": said.mean(dim=1), "spread": said.std(dim=1, correction=0)}


def votes_of(net: Any, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Each sample compared with its exemplars: the marks [B, votes] that come of it by the likeliest leaf, the width of
    that leaf [B, votes], and what it says [B, votes, per_leaf]."""
    exemplars = exemplars_of(batch)
    query, other = net.seen(*only(batch)), net.seen(*only(exemplars))
    votes, known = len(other) // len(query), net.units.mark(exemplars)
    logs, said = net(other, query.repeat_interleave(votes, dim=0), known)
    leaf = logs.argmax(dim=1, keepdim=True)
    low, width = (edge.expand_as(logs).gather(1, leaf)[:, 0] for edge in (net.low, net.width))
    chosen = said.gather(1, leaf[..., None].expand(-1, -1, said.shape[2]))[:, 0]
    marks = known + low + width * chosen[:, 0]
    shape = (len(query), votes)
    return marks.unflatten(0, shape), width.unflatten(0, shape), chosen.unflatten(0, shape)


def leaf_boundaries(marks: np.ndarray, groups: np.ndarray, top: float) -> np.ndarray:
    """float64 [9]: bounds of the leaves of positive differences, from 0 to `top`; the negative leaves mirror them.

    Quantiles of |mark_i - mark_j| over the pairs of train samples that are in the same group. Without a pair the bounds
    are even. A `top` that is not above the others gives way to the largest difference.
    """
    half = LEAVES // 2
    differences = [_differences(marks[groups == group]) for group in np.unique(groups)]
    ordered = np.sort(np.concatenate(differences))
    if len(ordered) == 0:
        return np.linspace(0.0, top, half + 1)
    bounds = ordered[[int(k / half * (len(ordered) - 1)) for k in range(half + 1)]]
    bounds[0] = 0.0
    if top > bounds[half - 1]:
        bounds[half] = top
    return bounds


def _differences(marks: np.ndarray) -> np.ndarray:
    """|a - b| of all pairs of [N], [N (N - 1) / 2]."""
    first, second = np.triu_indices(len(marks), k=1)
    return np.abs(marks[first] - marks[second])
