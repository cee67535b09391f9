"""The hierarchical skeleton encoder of HP-MCoRe (Qi et al., arXiv 2501.03674), a variant of HD-GCN (Lee et al., ICCV
2023): [B, T, J, C] -> [B, T, D]."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..catalog.skeletons import Skeleton
from .layers import LinearCopies, MaskedBatchNorm
from .skeleton_graph import hierarchy, members
from .skeleton_layers import (
    JointsEncoder,
    Projection,
    Residual,
    TimeConv,
    highest_of_three,
    max_frames,
    mean_frames,
    present,
)

NEIGHBOURS, LEAK = 5, 0.2
FAINT = 1e-6  # scale of the last normalisation of a graph convolution at first: a unit begins as its residual
BRANCHES = 4  # of a graph convolution (three subsets, edges) and of a temporal one


class EdgeConv(nn.Module):
    """Each joint compared with its five nearest in feature space, itself among them, layer by layer (Wang et al.,
    Dynamic Graph CNN, TOG 2019): max over j of ``leaky(norm(W [x_j - x_i, x_i]))``."""

    def __init__(self, layers: int, width: int) -> None:
        super().__init__()
        self.compare = LinearCopies(layers, width, width, bias=False)
        self.own = LinearCopies(layers, width, width, bias=False)
        self.norm = MaskedBatchNorm(layers * width)

    def forward(self, x: Tensor) -> Tensor:
        """[H, B, J, I] -> [J, B, H, I]."""
        layers, batch, joints, width = x.shape
        apart = (x[:, :, :, None] - x[:, :, None]).square().sum(dim=-1)
        nearest = apart.topk(min(NEIGHBOURS, joints), dim=-1, largest=False).indices  # [H, B, J, k]
        # As a product with rows of 0 and 1: the gradient of an index is a sum in any order on a GPU.
        picks = (nearest[..., None] == torch.arange(joints, device=x.device)).to(x.dtype)
        compared, own = (part(x.flatten(1, 2)).view_as(x) for part in (self.compare, self.own))
        edges = (picks.flatten(2, 3) @ compared).view(layers, batch, joints, -1, width) + (own - compared)[..., None, :]
        edges = self.norm(edges.permute(2, 1, 3, 0, 4).flatten(3), None)  # [J, B, k, H I]
        return F.leaky_relu(edges, LEAK).amax(dim=2).unflatten(2, (layers, width))


class HierarchyAttention(nn.Module):
    """How much each layer of the hierarchy counts, channel by channel, of what is highest over time in its joints.

    HP-MCoRe compares each layer with its one nearest, which is itself: the difference is 0, and what remains is a linear
    layer. Its groups are those of the graph here; the released code takes joint n - 1 in the place of n.
    """

    members: Tensor

    def __init__(self, rows: Tensor, channels: int) -> None:
        super().__init__()
        self.register_buffer("members", rows.clone())  # [H, J]; each module its own: shared ones are saved once
        narrow = channels // BRANCHES
        self.down, self.own = Projection(channels, narrow), Projection(narrow, narrow)
        self.up = nn.Linear(narrow, channels)

    def forward(self, peaks: Tensor) -> Tensor:
        """[J, B, H, C] -> [B, H, C] from 0 to 1."""
        h = torch.einsum("hj,jbhc->bhc", self.members, self.down(peaks, None).relu())
        return torch.sigmoid(self.up(F.leaky_relu(self.own(h, None), LEAK)))


class HierarchicalConv(nn.Module):
    """The graph convolution of a unit. In each layer h of the hierarchy: a 1x1 convolution to a quarter of the channels;
    three subsets of the graph and an `EdgeConv` on the mean over time, side by side; then the sum over the layers."""

    def __init__(self, graph: Tensor, attended: Tensor | None, inputs: int, outputs: int) -> None:
        super().__init__()
        layers, subsets = graph.shape[:2]
        narrow = outputs // BRANCHES
        self.graph = nn.Parameter(graph.clone())  # [H, 3, J, J]
        self.down = Projection(inputs, layers * narrow)
        self.mix = LinearCopies(layers * subsets, narrow, narrow, bias=False)
        self.mix_norm = MaskedBatchNorm(layers * subsets * narrow)
        self.edges = EdgeConv(layers, narrow)
        self.attention = None if attended is None else HierarchyAttention(attended, outputs)
        self.norm = MaskedBatchNorm(outputs)
        nn.init.constant_(self.norm.weight, FAINT)
        self.residual = Residual(inputs, outputs)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        layers, subsets, joints = self.graph.shape[:3]
        h = self.down(x, mask).relu()  # [J, B, T, H I]
        parts = h.unflatten(3, (layers, -1)).permute(3, 0, 1, 2, 4)  # [H, J, B, T, I]
        spread = self.graph.flatten(1, 2) @ parts.flatten(2)  # [H, 3 J, B T I]
        mixed = self.mix(spread.view(layers * subsets, -1, parts.shape[-1]))  # [3 H, J B T, I]
        mixed = mixed.view(layers, subsets, *parts.shape[1:]).permute(2, 3, 4, 0, 1, 5).flatten(3)
        mixed = self.mix_norm(mixed, mask).unflatten(3, (layers, -1))  # [J, B, T, H, 3 I]
        edges = self.edges(mean_frames(h, mask).unflatten(2, (layers, -1)).permute(2, 1, 0, 3))  # [J, B, H, I]
        if self.attention is not None:
            peaks = max_frames(mixed.flatten(3), mask).view(*edges.shape[:3], -1)
            weights = self.attention(torch.cat([peaks, edges], dim=3))  # [B, H, C]
            of_mixed, of_edges = weights.split((mixed.shape[4], edges.shape[3]), dim=2)
            mixed, edges = mixed * of_mixed[:, None], edges * of_edges
        frames = edges.sum(dim=2)[:, :, None].expand(-1, -1, x.shape[2], -1)
        out = torch.cat([mixed.sum(dim=3), frames], dim=3)
        return (self.norm(out, mask) + self.residual(x, mask)).relu()


class Branches(nn.Module):
    """The temporal convolution of a unit, in four quarters of the channels: five frames, five frames at distances of
    two, the highest of three, and the frame itself."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.quarter = channels // BRANCHES
        self.down = Projection(channels, channels)
        self.near, self.far = (TimeConv(self.quarter, self.quarter, 5, dilation) for dilation in (1, 2))
        self.norm = MaskedBatchNorm(3 * self.quarter)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        h, plain = self.down(x, mask).split((3 * self.quarter, self.quarter), dim=3)
        near, far, top = present(h.relu(), mask).split(self.quarter, dim=3)
        # A frame that is not there is 0, and no number is below 0 here: it is never the highest.
        h = torch.cat([self.near(near), self.far(far), highest_of_three(top)], dim=3)
        return torch.cat([self.norm(h, mask), plain], dim=3)


class HierarchicalUnit(nn.Module):
    def __init__(self, graph: Tensor, attended: Tensor | None, inputs: int, outputs: int, *, residual: bool) -> None:
        super().__init__()
        self.graph = HierarchicalConv(graph, attended, inputs, outputs)
        self.time = Branches(outputs)
        self.residual = Residual(inputs, outputs) if residual else None

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        h = self.time(self.graph(x, mask), mask)
        return (h if self.residual is None else h + self.residual(x, mask)).relu()


class HierarchicalGcn(JointsEncoder):
    """Five units of `hidden` channels, the last of twice as many; all but the first weigh the layers by attention.

    `layout` says the graph, `inputs` how many numbers a joint has: 2 in HP-MCoRe (x, y). `hidden` is a multiple of 4.
    """

    def __init__(self, layout: Skeleton, inputs: int = 2, hidden: int = 64) -> None:
        dtype = torch.get_default_dtype()
        graph, attended = torch.tensor(hierarchy(layout), dtype=dtype), torch.tensor(members(layout), dtype=dtype)
        widths = [inputs, *[hidden] * 4, 2 * hidden]
        units = [
            HierarchicalUnit(graph, attended if k else None, widths[k], widths[k + 1], residual=k > 0) for k in range(5)
        ]
        super().__init__(len(layout.joints), inputs, units)
